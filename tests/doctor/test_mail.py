from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from newsletters.delivery import smtp
from newsletters.doctor import mail, self_test
from newsletters.doctor.findings import Finding, Level, Terms
from tests.delivery.authority import server_context, trust
from tests.delivery.scripted_relay import CUT, SILENT, ScriptedRelay
from tests.services.processes import free_port
from tests.services.sinks import SmtpSink

TO = "operator@gazette.org"
PASSWORD = "p@ss/w0rd-of-the-relay"
AUTH = ("AUTH PLAIN LOGIN", "ENHANCEDSTATUSCODES", "SMTPUTF8", "SIZE 1000000")


@pytest.fixture(autouse=True)
def site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_TIMEOUT = 60
    settings.RECIPIENT_ALLOW_LIST = ()


@contextmanager
def running(settings: Any, relay: ScriptedRelay) -> Iterator[ScriptedRelay]:
    """Run a relay on a loop of its own, since the checks bring theirs, and point the settings to it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    held = relay.running()
    try:
        asyncio.run_coroutine_threadsafe(held.__aenter__(), loop).result(120)
        settings.EMAIL_PORT = relay.port
        yield relay
    finally:
        asyncio.run_coroutine_threadsafe(held.__aexit__(None, None, None), loop).result(120)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def look(terms: Terms | None = None) -> dict[str, Finding]:
    return {finding.code: finding for finding in mail.relay(terms or Terms())}


def only(found: dict[str, Finding], code: str) -> Finding:
    """Return the one finding that there is, which is an error with a remedy and without the password."""
    [finding] = found.values()
    assert finding.code == code
    assert finding.level is Level.ERROR
    assert finding.remedy
    assert PASSWORD not in finding.seen + finding.remedy
    return finding


def test_a_relay_that_takes_us_in_is_described_and_gets_no_mail(settings: Any) -> None:
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "courant", PASSWORD
    with running(settings, ScriptedRelay(extensions=AUTH)) as relay:
        found = look()
    assert {finding.level for finding in found.values()} == {Level.OK}, found
    assert "PIPELINING" in found["mail.extensions"].seen
    assert any(command.startswith("AUTH") for command in relay.commands)
    assert not any(command.startswith("MAIL") for command in relay.commands)


def test_a_relay_without_pipelining_is_worth_a_note(settings: Any) -> None:
    with running(settings, ScriptedRelay(pipelining=False)):
        found = look()
    assert found["mail.no_pipelining"].level is Level.NOTE


def test_a_port_where_nobody_listens(settings: Any) -> None:
    settings.EMAIL_PORT = free_port()
    assert "EMAIL_URL" in only(look(), "mail.port_closed").remedy


def test_a_relay_that_says_nothing(settings: Any) -> None:
    settings.EMAIL_TIMEOUT = 1
    with running(settings, ScriptedRelay(answers={"banner": SILENT})):
        only(look(), "mail.no_answer")


def test_a_relay_that_hangs_up(settings: Any) -> None:
    with running(settings, ScriptedRelay(answers={"banner": CUT})):
        only(look(), "mail.cut")


def test_a_relay_that_refuses_this_machine_is_quoted(settings: Any) -> None:
    with running(settings, ScriptedRelay(answers={"banner": "554 5.7.1 your address is on our list"})):
        assert "on our list" in only(look(), "mail.refused").seen


def test_a_wrong_password_is_told_without_the_password(settings: Any) -> None:
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "courant", PASSWORD
    refusal = f"535 5.7.8 {PASSWORD} is not the password"
    with running(settings, ScriptedRelay(answers={"auth": refusal}, extensions=("AUTH PLAIN",))):
        finding = only(look(), "mail.wrong_password")
    assert "535 5.7.8" in finding.seen
    assert "EMAIL_URL" in finding.remedy


def test_a_relay_that_takes_no_password(settings: Any) -> None:
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "courant", PASSWORD
    with running(settings, ScriptedRelay()):
        only(look(), "mail.no_auth")


def test_a_relay_without_starttls_is_not_spoken_to_in_plain_text(settings: Any) -> None:
    settings.EMAIL_USE_TLS = True
    with running(settings, ScriptedRelay()):
        only(look(), "mail.no_starttls")


def test_a_certificate_of_nobody_we_trust(settings: Any) -> None:
    settings.EMAIL_USE_SSL = True
    smtp._tls_context.cache_clear()
    with running(settings, ScriptedRelay(tls=server_context())):
        assert "SSL_CERT_FILE" in only(look(), "mail.certificate_untrusted").remedy


@pytest.mark.parametrize("starttls", [True, False])
def test_a_certificate_that_ends_soon(settings: Any, monkeypatch: pytest.MonkeyPatch, starttls: bool) -> None:
    trust(monkeypatch)
    settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = starttls, not starttls
    with running(settings, ScriptedRelay(tls=server_context(), starttls=starttls)):
        found = look()
    smtp._tls_context.cache_clear()
    # The throwaway authority's certificates last two days.
    assert found["mail.certificate_ends_soon"].level is Level.ERROR
    assert "1 day" in found["mail.certificate_ends_soon"].seen


def test_plain_text_where_tls_is_spoken(settings: Any) -> None:
    settings.EMAIL_USE_SSL = True
    with running(settings, ScriptedRelay()):
        assert "EMAIL_URL" in only(look(), "mail.tls_failed").remedy


def test_another_backend_is_said_not_to_have_been_asked(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert look()["mail.backend"].level is Level.NOTE
    settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
    settings.ANYMAIL = {}
    only(look(), "mail.backend_misconfigured")


def test_a_test_mail_goes_through_the_code_that_delivers(settings: Any, smtp_sink: SmtpSink) -> None:
    settings.EMAIL_PORT = smtp_sink.port
    settings.BOUNCE_ADDRESS = "bounces@gazette.org"
    [finding] = self_test.send(Terms(mail_to=TO))
    [taken] = smtp_sink.mails()
    assert (finding.code, finding.level) == ("mail.test_sent", Level.OK)
    assert "250 2.0.0 taken" in finding.seen
    assert (taken.sender, taken.recipient) == ("bounces@gazette.org", TO)
    assert taken.message_id in finding.seen
    assert not taken.bare_newlines


def test_no_test_mail_goes_out_unasked_or_to_somebody_who_is_not_on_the_list(
    settings: Any, smtp_sink: SmtpSink
) -> None:
    settings.EMAIL_PORT = smtp_sink.port
    assert list(self_test.send(Terms())) == []
    settings.RECIPIENT_ALLOW_LIST = ("somebody@gazette.org",)
    [finding] = self_test.send(Terms(mail_to=TO))
    assert (finding.code, finding.level) == ("mail.test_not_allowed", Level.ERROR)
    assert smtp_sink.count() == 0


@pytest.mark.parametrize(
    ("answers", "code", "level"),
    [
        ({"rcpt": "550 5.1.1 no such mailbox"}, "mail.test_refused", Level.ERROR),
        ({"mail": "550 5.7.1 not from you"}, "mail.test_refused", Level.ERROR),
        ({"dot": "554 5.7.1 not with us"}, "mail.test_refused", Level.ERROR),
        ({"rcpt": "450 4.7.1 grey-listed"}, "mail.test_deferred", Level.WARNING),
        ({"dot": CUT}, "mail.test_uncertain", Level.WARNING),
    ],
)
def test_what_the_relay_says_to_the_test_mail_is_shown(
    settings: Any, answers: dict[str, str], code: str, level: Level
) -> None:
    with running(settings, ScriptedRelay(answers=answers)):
        [finding] = self_test.send(Terms(mail_to=TO))
    assert (finding.code, finding.level) == (code, level)
    assert finding.remedy
    words = next(iter(answers.values()))
    assert words == CUT or words in finding.seen
