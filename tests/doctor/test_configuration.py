from __future__ import annotations

from typing import Any

import pytest

from newsletters.doctor.configuration import sending, site
from newsletters.doctor.findings import Level, Terms
from tests.doctor.visit import by_code, fault

SOUND: dict[str, Any] = {
    "DEBUG": False,
    "BASE_URL": "https://news.gazette.org",
    "ALLOWED_HOSTS": ["news.gazette.org"],
    "TRUSTED_PROXY_COUNT": 1,
    "ALLOW_TEST_ADDRESSES": False,
    "RECIPIENT_ALLOW_LIST": (),
    "RETRY_SCALE_PERCENT": 100,
    "SMTP_PATIENCE_PERCENT": 100,
    "DELIVERY_LEASE_SECONDS": 60,
    "DELIVERY_RETENTION_DAYS": 0,
    "BOUNCE_ADDRESS": "bounces@gazette.org",
    "UNSUBSCRIBE_MAILBOX": "leave@gazette.org",
    "EMAIL_HOST": "relay.gazette.org",
    "EMAIL_HOST_USER": "courant",
    "EMAIL_USE_TLS": True,
    "EMAIL_USE_SSL": False,
}


@pytest.fixture(autouse=True)
def sound(settings: Any) -> None:
    for name, value in SOUND.items():
        setattr(settings, name, value)


def test_sound_settings_have_nothing_but_good_findings() -> None:
    assert {one.level for one in [*site(Terms()), *sending(Terms())]} == {Level.OK}


@pytest.mark.parametrize(
    ("changed", "code", "level", "remedy"),
    [
        ({"DEBUG": True}, "debug_on", Level.ERROR, "DEBUG=0"),
        ({"BASE_URL": "http://news.gazette.org"}, "base_url_plain", Level.WARNING, "BASE_URL=https://news.gazette.org"),
        ({"ALLOWED_HOSTS": ["*"]}, "any_host", Level.WARNING, "ALLOWED_HOSTS=news.gazette.org"),
        ({"ALLOWED_HOSTS": ["other.org"]}, "host_not_allowed", Level.ERROR, "ALLOWED_HOSTS=other.org,news.gazette.org"),
        ({"TRUSTED_PROXY_COUNT": 0}, "no_trusted_proxy", Level.WARNING, "TRUSTED_PROXY_COUNT=1"),
        ({"RECIPIENT_ALLOW_LIST": ("a.org",)}, "allow_list", Level.WARNING, "RECIPIENT_ALLOW_LIST"),
        ({"ALLOW_TEST_ADDRESSES": True}, "test_addresses", Level.WARNING, "ALLOW_TEST_ADDRESSES=0"),
        ({"RETRY_SCALE_PERCENT": 99}, "retries_hurried", Level.WARNING, "RETRY_SCALE_PERCENT=100"),
        ({"SMTP_PATIENCE_PERCENT": 99}, "replies_hurried", Level.WARNING, "SMTP_PATIENCE_PERCENT=100"),
        ({"DELIVERY_LEASE_SECONDS": 14}, "lease_odd", Level.WARNING, "DELIVERY_LEASE_SECONDS=60"),
        ({"DELIVERY_LEASE_SECONDS": 601}, "lease_odd", Level.WARNING, "DELIVERY_LEASE_SECONDS=60"),
        ({"DELIVERY_RETENTION_DAYS": 89}, "retention_short", Level.WARNING, "DELIVERY_RETENTION_DAYS=90"),
        ({"BOUNCE_ADDRESS": ""}, "no_bounce_address", Level.NOTE, "BOUNCE_ADDRESS"),
        ({"UNSUBSCRIBE_MAILBOX": ""}, "no_unsubscribe_mailbox", Level.NOTE, "UNSUBSCRIBE_MAILBOX"),
        ({"EMAIL_USE_TLS": False}, "mail_password_plain", Level.WARNING, "smtp+tls://"),
    ],
)
def test_each_odd_setting_is_found_with_its_remedy(
    settings: Any, changed: dict[str, Any], code: str, level: Level, remedy: str
) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    found = [*site(Terms()), *sending(Terms())]
    assert remedy in fault(found, f"configuration.{code}", level).remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_password_in_plain_text_on_this_machine_is_nothing_to_worry_about(settings: Any, host: str) -> None:
    settings.EMAIL_USE_TLS, settings.EMAIL_HOST = False, host
    assert "configuration.mail_password_plain" not in by_code(sending(Terms()))


def test_a_site_for_this_machine_only_needs_no_certificate(settings: Any) -> None:
    settings.BASE_URL, settings.ALLOWED_HOSTS = "http://127.0.0.1:8000", ["127.0.0.1"]
    assert {one.level for one in site(Terms())} == {Level.NOTE}
