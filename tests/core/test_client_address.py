"""The address of a client is what trusted proxies say, never what the client says."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from core.client_address import client_address


def seen(peer: str, forwarded: str | None = None) -> str | None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", None),
        ("192.0.2.1:443", None),
        ("[2001:db8::1]", None),
        ("unix:", None),
        ("", None),
    ],
)
def test_without_a_proxy_the_other_end_of_the_connection_counts(
    settings: Settings, peer: str, address: str | None
) -> None:
    settings.TRUSTED_PROXY_COUNT = 0
    assert seen(peer, "203.0.113.9") == address


@pytest.mark.parametrize(
    ("count", "forwarded", "address"),
    [
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.9,198.51.100.7 , 10.0.0.1", "198.51.100.7"),
        (2, "198.51.100.7", None),
        (1, None, None),
        (1, "", None),
        (1, "198.51.100.7,", None),
        (1, "unknown", None),
        (1, "fe80::1%eth0", None),
        (1, "1; drop table", None),
    ],
)
def test_behind_proxies_the_entry_of_the_outermost_counts(
    settings: Settings, count: int, forwarded: str | None, address: str | None
) -> None:
    settings.TRUSTED_PROXY_COUNT = count
    assert seen("10.0.0.1", forwarded) == address
