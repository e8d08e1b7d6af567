from __future__ import annotations

import base64
from typing import Any

import dns.rcode
import pytest

from newsletters.doctor.dns_records import domains_of_senders, domains_of_settings
from newsletters.doctor.findings import Finding, Level, Terms
from tests.cast import make_publisher, make_sender
from tests.doctor.name_server import NameServer, Records

pytestmark = pytest.mark.django_db

DOMAIN = "gazette.org"
# Nobody is asked at this address: only its name is looked up.
ADDRESS, REVERSE = "9.9.9.10", "10.9.9.9.in-addr.arpa"
SOUND: dict[tuple[str, str], list[str]] = {
    (DOMAIN, "MX"): ["10 mx.gazette.org."],
    (DOMAIN, "TXT"): ["some-other-verification=1", "v=spf1 ip4:9.9.9.10 -all"],
    ("_dmarc.gazette.org", "TXT"): ["v=DMARC1; p=reject; rua=mailto:dmarc@gazette.org"],
    ("relay.gazette.org", "A"): [ADDRESS],
    (REVERSE, "PTR"): ["relay.gazette.org."],
}


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.DEFAULT_FROM_EMAIL = f"courant@{DOMAIN}"
    settings.BOUNCE_ADDRESS = ""
    settings.VERIFIED_SENDER_DOMAINS = ()
    settings.EMAIL_HOST = "relay.gazette.org"


def every(terms: Terms) -> list[Finding]:
    return domains_of_settings(terms) + domains_of_senders(terms)


def look(records: Records, *, selectors: tuple[str, ...] = (), **faults: Any) -> dict[str, Finding]:
    with NameServer(records, **faults) as server:
        found = every(Terms(resolver=server.address, dkim_selectors=selectors))
    return {finding.code: finding for finding in found}


def spf(record: str) -> Records:
    return SOUND | {(DOMAIN, "TXT"): [record]}


def test_a_sound_domain_has_nothing_but_good_findings() -> None:
    found = look(SOUND, selectors=())
    assert {code for code, one in found.items() if one.level is Level.OK} == {
        "dns.mx",
        "dns.spf",
        "dns.dmarc",
        "dns.ptr",
    }
    assert {code for code, one in found.items() if one.level is not Level.OK} == {"dns.dkim_not_checked"}


@pytest.mark.parametrize(
    ("change", "code", "level", "remedy"),
    [
        ({(DOMAIN, "MX"): ["0 ."]}, "dns.null_mx", Level.ERROR, "MX"),
        ({(DOMAIN, "MX"): []}, "dns.no_mail_server", Level.WARNING, "MX"),
        ({(DOMAIN, "TXT"): []}, "dns.spf_missing", Level.WARNING, "v=spf1"),
        ({(DOMAIN, "TXT"): ["v=spf1 -all", "v=spf1 a -all"]}, "dns.spf_many", Level.ERROR, DOMAIN),
        ({(DOMAIN, "TXT"): ["v=spf1 mx +all"]}, "dns.spf_everybody", Level.ERROR, "~all"),
        ({(DOMAIN, "TXT"): ["v=spf1 all"]}, "dns.spf_everybody", Level.ERROR, "~all"),
        ({(DOMAIN, "TXT"): ["v=spf1 mx ?all"]}, "dns.spf_neutral", Level.NOTE, "~all"),
        ({(DOMAIN, "TXT"): ["v=spf1 include:nobody.org -all"]}, "dns.spf_broken", Level.ERROR, "include"),
        ({(DOMAIN, "TXT"): [f"v=spf1 include:{DOMAIN} -all"]}, "dns.spf_broken", Level.ERROR, "include"),
        ({("_dmarc.gazette.org", "TXT"): []}, "dns.dmarc_missing", Level.WARNING, "v=DMARC1"),
        ({("_dmarc.gazette.org", "TXT"): ["v=DMARC1; p=none"]}, "dns.dmarc_none", Level.NOTE, "quarantine"),
        ({("_dmarc.gazette.org", "TXT"): ["v=DMARC1; rua=mailto:a@b.c"]}, "dns.dmarc_invalid", Level.ERROR, "p=none"),
        (
            {("_dmarc.gazette.org", "TXT"): ["v=DMARC1; p=none"] * 2 + ["v=DMARC1;p=reject"]},
            "dns.dmarc_many",
            Level.ERROR,
            "one",
        ),
        ({(REVERSE, "PTR"): []}, "dns.no_ptr", Level.WARNING, ADDRESS),
        ({(REVERSE, "PTR"): ["mx.elsewhere.org."]}, "dns.ptr_not_confirmed", Level.WARNING, ADDRESS),
    ],
)
def test_each_defect_is_found_with_its_remedy(change: Records, code: str, level: Level, remedy: str) -> None:
    found = look({key: values for key, values in {**SOUND, **change}.items() if values})
    assert code in found, found
    assert found[code].level is (level)
    assert remedy in found[code].remedy
    assert found[code].remedy


def test_eleven_look_ups_are_one_too_many_and_ten_are_not() -> None:
    parts = {(f"part-{number}.org", "TXT"): ["v=spf1 a -all"] for number in range(5)}
    ten = "v=spf1 " + " ".join(f"include:part-{number}.org" for number in range(5)) + " -all"
    assert "dns.spf" in look({**spf(ten), **parts})
    assert "dns.spf_too_many_lookups" in look({**spf(f"{ten.removesuffix(' -all')} mx -all"), **parts})


def test_a_redirect_is_followed_and_a_macro_is_not() -> None:
    elsewhere = {("elsewhere.org", "TXT"): ["v=spf1 -all"]}
    assert "dns.spf" in look({**spf("v=spf1 redirect=elsewhere.org"), **elsewhere})
    assert "dns.spf_broken" in look(spf("v=spf1 redirect=elsewhere.org"))
    assert "dns.spf" in look(spf("v=spf1 exists:%{i}.spf.gazette.org include:%{d}.spf.gazette.org -all"))


@pytest.mark.parametrize(
    ("length", "record", "code"),
    [
        (294, "v=DKIM1; k=rsa; p={key}", "dns.dkim"),
        (162, "v=DKIM1; p={key}", "dns.dkim_short"),
        (94, "v=DKIM1; p={key}", "dns.dkim_weak"),
        (32, "v=DKIM1; k=ed25519; p={key}", "dns.dkim"),
        (294, "v=DKIM1; t=y; p={key}", "dns.dkim_testing"),
        (0, "v=DKIM1; p=", "dns.dkim_revoked"),
        (0, "v=DKIM1; p=not base64!", "dns.dkim_broken"),
    ],
)
def test_a_dkim_key_is_looked_at_under_its_selector(length: int, record: str, code: str) -> None:
    text = record.format(key=base64.b64encode(bytes(length)).decode())
    found = look({**SOUND, ("s1._domainkey.gazette.org", "TXT"): [text]}, selectors=("s1",))
    assert code in found, found
    assert "dns.dkim_not_checked" not in found


def test_a_selector_without_a_key_is_an_error() -> None:
    found = look(SOUND, selectors=("s2",))
    assert found["dns.dkim_missing"].level is Level.ERROR
    assert "s2._domainkey.gazette.org" in found["dns.dkim_missing"].remedy


def test_a_domain_that_does_not_exist_is_told_apart_from_one_that_nobody_answers_for() -> None:
    assert look({("elsewhere.org", "MX"): ["10 mx.elsewhere.org."]})["dns.no_such_domain"].level is Level.WARNING
    for fault in ({"failing": dns.rcode.SERVFAIL}, {"failing": dns.rcode.REFUSED}, {"silent": True}):
        found = look(SOUND, **fault)
        assert {one.level for one in found.values()} == {Level.NOTE}, found
        assert "dns.no_answer" in found


def test_the_domain_above_gives_its_dmarc_policy() -> None:
    above = {("news.gazette.org", kind): SOUND[DOMAIN, kind] for kind in ("MX", "TXT")}
    publisher = make_publisher()
    make_sender(publisher, address="weekly@news.gazette.org")
    with NameServer({**SOUND, **above}) as server:
        found = every(Terms(resolver=server.address))
    assert [one.seen for one in found if one.code == "dns.dmarc"] == [
        "The DMARC policy of gazette.org is reject.",
        "The DMARC policy of news.gazette.org is reject.",
    ]


def test_only_verified_senders_are_looked_at_and_reserved_names_never() -> None:
    publisher = make_publisher()
    make_sender(publisher, address="news@gazette.example")
    make_sender(publisher, address="news@stranger.org", verified=False)
    with NameServer(SOUND) as server:
        every(Terms(resolver=server.address))
    asked = {name for name, _ in server.asked}
    assert DOMAIN in asked
    assert not {name for name in asked if name.endswith((".example", "stranger.org"))}


def test_with_a_mailbox_for_bounces_the_senders_own_spf_is_only_worth_a_note(settings: Any) -> None:
    settings.BOUNCE_ADDRESS = "bounces@mail.gazette.org"
    settings.DEFAULT_FROM_EMAIL = "courant@gazette.example"
    make_sender(make_publisher(), address=f"news@{DOMAIN}")
    bounces = {("mail.gazette.org", kind): SOUND[DOMAIN, kind] for kind in ("MX", "TXT")}
    records = {key: values for key, values in {**SOUND, **bounces}.items() if key != (DOMAIN, "TXT")}
    found = look(records)
    assert found["dns.spf_missing"].level is Level.NOTE
    assert "mail.gazette.org" in found["dns.spf"].seen


def test_a_private_relay_has_no_name_to_look_up(settings: Any) -> None:
    settings.EMAIL_HOST = "127.0.0.1"
    assert look(SOUND)["dns.relay_private"].level is Level.NOTE
