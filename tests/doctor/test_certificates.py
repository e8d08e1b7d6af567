"""Certificates that are not what they should be, a handshake that never ends, and a relay that takes little."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from newsletters.delivery import smtp
from newsletters.doctor import mail
from newsletters.doctor.findings import Level, Terms
from newsletters.models import Edition
from tests.cast import make_issue, make_newsletter
from tests.delivery.authority import _openssl, authority_file, server_context, trust
from tests.delivery.scripted_relay import ScriptedRelay
from tests.doctor.test_mail import running
from tests.doctor.visit import by_code, fault


@pytest.fixture(autouse=True)
def site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_HOST_USER, settings.EMAIL_TIMEOUT = "127.0.0.1", "", 2
    settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = False, True
    trust(monkeypatch)
    yield
    smtp._tls_context.cache_clear()


def context_of(folder: Path, *, names: str, days: str) -> ssl.SSLContext:
    """Return what a relay speaks TLS with whose certificate the trusted authority signed for these names and days."""
    authority = authority_file()
    key, request, extensions, made = (folder / name for name in ("key", "request", "extensions", "made"))
    extensions.write_text(f"subjectAltName={names}")
    _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=relay", "-keyout", key, "-out", request)
    signed = ("-CA", authority, "-CAkey", authority.with_name("ca.key"), "-CAcreateserial", "-days", days)
    _openssl("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context


def test_a_certificate_that_has_ended(settings: Any, tmp_path: Path) -> None:
    ended = context_of(tmp_path, names="IP:127.0.0.1", days="-1")
    with running(settings, ScriptedRelay(tls=ended)):
        assert "renew" in fault(mail.relay(Terms()), "mail.certificate_expired", Level.ERROR).remedy


def test_a_certificate_for_another_name(settings: Any, tmp_path: Path) -> None:
    other = context_of(tmp_path, names="DNS:relay.example.org", days="2")
    with running(settings, ScriptedRelay(tls=other)):
        assert "EMAIL_URL" in fault(mail.relay(Terms()), "mail.certificate_wrong_name", Level.ERROR).remedy


def test_a_handshake_that_never_ends(settings: Any) -> None:
    settings.EMAIL_TIMEOUT = 1
    # The kernel takes the connection and nobody ever reads from it.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_PORT = silent.getsockname()[1]
        fault(mail.relay(Terms()), "mail.no_answer", Level.ERROR)


def test_a_relay_that_resets_the_connection(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMAIL_USE_SSL = False
    reset = ScriptedRelay()

    async def abort(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    monkeypatch.setattr(reset, "_serve", abort)
    with running(settings, reset):
        fault(mail.relay(Terms()), "mail.cut", Level.ERROR)


def test_a_relay_whose_name_nobody_knows(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: Any, **_terms: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    settings.EMAIL_HOST = "relay.invalid"
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "EMAIL_URL" in fault(mail.relay(Terms()), "mail.host_unknown", Level.ERROR).remedy


@pytest.mark.django_db
@pytest.mark.dialects
@pytest.mark.parametrize(("limit", "code"), [("1000", "mail.too_small"), ("9000", "mail.size")])
def test_the_largest_issue_is_compared_with_what_the_relay_takes(settings: Any, limit: str, code: str) -> None:
    issue = make_issue(make_newsletter())
    Edition.objects.create(issue=issue, template=bytes(5000), sha256=bytes(32))
    with running(settings, ScriptedRelay(tls=server_context(), extensions=(f"SIZE {limit}",))):
        found = by_code(mail.size(Terms()))
    assert set(found) == {code}
    assert "5 KiB" in found[code].seen
