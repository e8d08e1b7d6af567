from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from tests.services.processes import wait_until
from tests.services.site import Site

PLACES = 8


@pytest.fixture
def site(make_site: Any) -> Site:
    made: Site = make_site("embedded", WEB_THREADS=str(PLACES))
    made.start_web()
    return made


@pytest.mark.parametrize("part", ["headers", "body"])
def test_clients_that_fall_silent_are_given_up_on(site: Site, part: str) -> None:
    """J33: as many as there are threads; others are answered once the silence has lasted its 15 s."""
    own = f"Host: 127.0.0.1:{site.port}\r\nAuthorization: Bearer {site.key}\r\nContent-Type: application/json\r\n"
    begun = f"POST /api/v1/newsletters HTTP/1.1\r\n{own}Content-Length: 500\r\n\r\n{{"
    with contextlib.ExitStack() as held:
        for _ in range(PLACES):
            link = held.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=600))
            link.sendall(begun.encode() if part == "body" else b"GET /api/v1/newsletters HTTP/1.1\r\nHo")

        def answered() -> bool:
            with contextlib.suppress(OSError):
                return site.call("GET", "/newsletters").status == 200
            return False

        wait_until(answered, "others are answered", seconds=600, pause=0.5)
