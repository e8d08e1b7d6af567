"""How a connection to the relay is made ready, and that nothing asked for is ever left out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from newsletters.delivery import smtp
from newsletters.delivery.replies import Outcome, Phase, Suppress, Verdict
from newsletters.delivery.smtp import Relay, RelayFaultError, connect
from newsletters.delivery.transaction import SmtpConnection
from tests.delivery.authority import server_context, trust
from tests.delivery.links import MAIL, PIPELINED, STARTTLS, TLS, attempt, make_relay, run
from tests.delivery.scripted_relay import CUT, RESET, SILENT, ScriptedRelay

CREDENTIALS = {"username": "courant", "password": "sésame"}
PLAIN = base64.b64encode(b"\0courant\0" + "sésame".encode()).decode()
# Non-ASCII in the local part: the domain would be written in A-labels.
UTF8_MAIL = dataclasses.replace(MAIL, recipient="zoë@example.org")


@pytest.fixture
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    trust(monkeypatch)


def reach(relay: ScriptedRelay, **terms: Any) -> Outcome:
    """Connect on these terms and attempt one mail. Raises RelayFaultError."""

    async def main() -> Outcome:
        async with relay.running():
            connection = await connect(Relay(terms.pop("host", relay.host), relay.port, **terms))
            try:
                return await connection.send(MAIL)
            finally:
                connection.close()
                await asyncio.sleep(0.01)

    return asyncio.run(main())


def fault(relay: ScriptedRelay, **terms: Any) -> Outcome:
    with pytest.raises(RelayFaultError) as caught:
        reach(relay, **terms)
    return caught.value.outcome


# --- TLS -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(("link", "terms"), [(STARTTLS, {"use_starttls": True}), (TLS, {"use_tls": True})])
def test_a_relay_with_a_valid_certificate_is_spoken_to_in_tls(link: str, terms: dict[str, bool], host: str) -> None:
    relay = make_relay(link)
    assert reach(relay, host=host, **terms).verdict is Verdict.SENT
    assert ("STARTTLS" in relay.commands) is (link == STARTTLS)


@pytest.mark.parametrize(("link", "terms"), [(STARTTLS, {"use_starttls": True}), (TLS, {"use_tls": True})])
def test_a_certificate_of_an_unknown_authority_is_refused(link: str, terms: dict[str, bool]) -> None:
    smtp._tls_context.cache_clear()
    relay = make_relay(link)
    outcome = fault(relay, **terms, **CREDENTIALS)
    assert (outcome.reason, outcome.permanent) == ("certificate_not_trusted", True)
    assert not any(line.startswith(("AUTH", "MAIL")) for line in relay.commands)


@pytest.mark.usefixtures("_trusted")
def test_a_certificate_for_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = asyncio.BaseEventLoop.getaddrinfo

    async def anywhere(loop: Any, host: str, port: int, **terms: Any) -> Any:
        return await lookup(loop, "127.0.0.1", port, **terms)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", anywhere)
    outcome = fault(make_relay(TLS), host="relay.example.org", use_tls=True)
    assert (outcome.reason, outcome.permanent) == ("certificate_not_trusted", True)


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize(("link", "terms"), [(STARTTLS, {"use_starttls": True}), (TLS, {"use_tls": True})])
def test_an_expired_certificate_is_refused_for_now(link: str, terms: dict[str, bool]) -> None:
    relay = make_relay(link)
    relay.tls = server_context(days=-1)
    outcome = fault(relay, **terms, **CREDENTIALS)
    assert (outcome.reason, outcome.permanent) == ("certificate_out_of_date", False)
    assert not any(line.startswith(("AUTH", "MAIL")) for line in relay.commands)


@pytest.mark.parametrize(("code", "permanent"), [(9, False), (10, False), (18, True), (20, True), (62, True)])
def test_only_a_certificate_that_is_out_of_date_is_a_temporary_fault(code: int, permanent: bool) -> None:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code = code
    assert smtp._unreached(error).permanent is permanent


def test_a_relay_stripped_of_starttls_gets_neither_password_nor_mail_in_plain_text() -> None:
    relay = ScriptedRelay(extensions=("AUTH PLAIN LOGIN",))
    outcome = fault(relay, use_starttls=True, **CREDENTIALS)
    assert (outcome.reason, outcome.permanent) == ("starttls_not_offered", True)
    assert [line.split()[0] for line in relay.commands] == ["EHLO"]


@pytest.mark.parametrize(
    ("answer", "permanent"), [("454 4.7.0 not now", False), ("502 5.5.1 what", True), (CUT, False), ("hello", False)]
)
def test_a_relay_that_offers_starttls_and_refuses_it_gets_nothing_in_plain_text(answer: str, permanent: bool) -> None:
    relay = make_relay(STARTTLS, {"starttls": answer})
    assert fault(relay, use_starttls=True, **CREDENTIALS).permanent is permanent
    assert [line.split()[0] for line in relay.commands][:2] == ["EHLO", "STARTTLS"]
    assert not any(line.startswith(("AUTH", "MAIL")) for line in relay.commands)


@pytest.mark.usefixtures("_trusted")
def test_words_slipped_in_before_the_handshake_are_never_heard() -> None:
    injected = "220 go ahead\r\n250-relay\r\n250-SMTPUTF8\r\n250 AUTH PLAIN"
    relay = make_relay(STARTTLS, {"starttls": injected})
    outcome, _ = run(relay, attempt_utf8)
    assert outcome.reason == "smtputf8_not_offered"
    assert relay.commands.count("EHLO " + relay.commands[0].split()[1]) == 2


@pytest.mark.usefixtures("_trusted")
def test_what_was_offered_before_tls_counts_no_more() -> None:
    relay = make_relay(STARTTLS)
    greet = relay._greet

    async def offer_less_in_tls(writer: asyncio.StreamWriter) -> None:
        relay.pipelining = writer.get_extra_info("ssl_object") is None
        await greet(writer)

    relay._greet = offer_less_in_tls  # type: ignore[method-assign]

    async def pipelines(connection: SmtpConnection) -> bool:
        return connection._pipelining

    assert run(relay, pipelines) is False


# --- AUTH -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize(
    ("link", "terms"), [(PIPELINED, {}), (STARTTLS, {"use_starttls": True}), (TLS, {"use_tls": True})]
)
def test_credentials_are_shown_before_the_first_mail(link: str, terms: dict[str, bool]) -> None:
    relay = make_relay(link)
    relay.extensions = ("AUTH PLAIN LOGIN",)
    assert reach(relay, **terms, **CREDENTIALS).verdict is Verdict.SENT
    assert relay.commands[-5:-3] == [f"AUTH PLAIN {PLAIN}", "MAIL FROM:<bounces+x@gazette.example>"]


@pytest.mark.parametrize(("answer", "permanent"), [("535 5.7.8 wrong", True), ("454 4.7.0 later", False), (CUT, False)])
def test_refused_credentials_are_a_relay_fault(answer: str, permanent: bool) -> None:
    relay = ScriptedRelay({"auth": answer}, extensions=("AUTH PLAIN",))
    outcome = fault(relay, **CREDENTIALS)
    assert (outcome.verdict, outcome.permanent) == (Verdict.RELAY_FAULT, permanent)
    assert not any(line.startswith("MAIL") for line in relay.commands)


def test_credentials_that_the_relay_does_not_want_are_a_fault_that_says_so() -> None:
    outcome = fault(ScriptedRelay(), **CREDENTIALS)
    assert (outcome.reason, outcome.permanent) == ("auth_not_offered", True)


# --- what the relay is ------------------------------------------------------------------------------------


def test_a_relay_that_only_knows_helo_gets_its_mail_command_by_command() -> None:
    relay = ScriptedRelay(helo_only=True)
    assert reach(relay).verdict is Verdict.SENT
    assert [line.split()[0] for line in relay.commands[:3]] == ["EHLO", "HELO", "MAIL"]


def test_a_relay_that_says_nothing_is_given_up() -> None:
    outcome = fault(ScriptedRelay({"banner": SILENT}), connect_seconds=0.05)
    assert (outcome.verdict, outcome.permanent, outcome.phase) == (Verdict.RELAY_FAULT, False, Phase.CONNECT)


@pytest.mark.parametrize("act", [CUT, RESET])
def test_a_relay_that_hangs_up_at_once_is_a_temporary_fault(act: str) -> None:
    outcome = fault(ScriptedRelay({"banner": act}))
    assert (outcome.verdict, outcome.permanent, outcome.phase) == (Verdict.RELAY_FAULT, False, Phase.CONNECT)


def test_a_handshake_that_hangs_is_given_up() -> None:
    # It speaks no TLS, and waits for a line.
    outcome = fault(ScriptedRelay({"banner": SILENT}), connect_seconds=0.2, use_tls=True)
    assert (outcome.verdict, outcome.permanent, outcome.phase) == (Verdict.RELAY_FAULT, False, Phase.CONNECT)


def test_a_name_that_does_not_resolve_is_a_temporary_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_arguments: Any, **_terms: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    relay = ScriptedRelay()
    lookup = asyncio.BaseEventLoop.getaddrinfo

    async def anywhere(loop: Any, host: str, port: int, **terms: Any) -> Any:
        return await (unknown() if host == "relay.invalid" else lookup(loop, host, port, **terms))

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", anywhere)
    outcome = fault(relay, host="relay.invalid")
    assert (outcome.verdict, outcome.permanent, outcome.phase) == (Verdict.RELAY_FAULT, False, Phase.CONNECT)


def ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize(("link", "terms"), [(PIPELINED, {}), (TLS, {"use_tls": True})])
def test_a_relay_is_reached_by_its_ipv6_address(link: str, terms: dict[str, bool]) -> None:
    relay = make_relay(link)
    relay.host = "::1"
    assert reach(relay, **terms).verdict is Verdict.SENT


@contextlib.contextmanager
def silent_address(*, listens: bool) -> Iterator[int]:
    """A port at which 127.0.0.2 refuses connections, or with `listens` leaves them hanging."""
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.2", 0))
        if listens:
            taken.listen(0)
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(taken.getsockname())
        yield taken.getsockname()[1]


@pytest.mark.parametrize("listens", [False, True], ids=["refuses", "hangs"])
def test_of_a_name_with_several_addresses_the_one_that_answers_is_used(
    listens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = asyncio.BaseEventLoop.getaddrinfo

    async def both(loop: Any, host: str, port: int, **terms: Any) -> Any:
        if host != "relay.example.org":
            return await lookup(loop, host, port, **terms)
        return [*await lookup(loop, "127.0.0.2", port, **terms), *await lookup(loop, "127.0.0.1", port, **terms)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", both)
    with silent_address(listens=listens) as port:
        relay = ScriptedRelay(port=port)
        assert reach(relay, host="relay.example.org", connect_seconds=10).verdict is Verdict.SENT


# --- SMTPUTF8 ---------------------------------------------------------------------------------------------


async def attempt_utf8(connection: SmtpConnection) -> tuple[Outcome, bool]:
    return await connection.send(UTF8_MAIL), connection.usable


@pytest.mark.parametrize("pipelining", [True, False])
def test_an_address_beyond_ascii_goes_out_when_the_relay_offers_smtputf8(pipelining: bool) -> None:
    relay = ScriptedRelay(pipelining=pipelining, extensions=("8BITMIME", "SMTPUTF8"))
    outcome, usable = run(relay, attempt_utf8)
    assert (outcome.verdict, usable) == (Verdict.SENT, True)
    assert relay.commands[1:3] == ["MAIL FROM:<bounces+x@gazette.example> SMTPUTF8", "RCPT TO:<zoë@example.org>"]


def test_an_address_beyond_ascii_bounces_unsent_when_the_relay_does_not_offer_smtputf8() -> None:
    relay = ScriptedRelay()
    outcome, usable = run(relay, attempt_utf8)
    assert (outcome.verdict, outcome.reason, outcome.suppress) == (
        Verdict.BOUNCED,
        "smtputf8_not_offered",
        Suppress.NEVER,
    )
    assert usable
    assert [line.split()[0] for line in relay.commands] == ["EHLO", "QUIT"]


def test_an_ascii_address_never_asks_for_smtputf8() -> None:
    relay = ScriptedRelay(extensions=("SMTPUTF8",))
    run(relay, attempt)
    assert relay.commands[1] == "MAIL FROM:<bounces+x@gazette.example>"
