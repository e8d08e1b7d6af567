"""What an operator writes in the environment is what a lane connects with."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from config.environment import parse_email_url
from newsletters.delivery.configured import DJANGO_SMTP, open_connection
from newsletters.delivery.smtp import Relay


def read(settings: Any, url: str) -> Relay:
    """Return the relay that lanes connect to under this EMAIL_URL."""
    found = parse_email_url(url)
    settings.EMAIL_BACKEND = DJANGO_SMTP
    settings.EMAIL_HOST, settings.EMAIL_PORT = found["EMAIL_HOST"], found["EMAIL_PORT"]
    settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = found.get("EMAIL_USE_TLS"), found.get("EMAIL_USE_SSL")
    opening = open_connection()
    assert isinstance(opening, functools.partial)
    relay = opening.args[0]
    assert isinstance(relay, Relay)
    return relay


@pytest.mark.parametrize(
    ("url", "address", "starttls", "tls"),
    [
        ("smtp://[::1]:2525", ("::1", 2525), False, False),
        ("smtp://relay.example.org", ("relay.example.org", 25), False, False),
        ("smtp+tls://u:p@[2001:db8::25]:587", ("2001:db8::25", 587), True, False),
        ("smtps://u:p@relay.example.org", ("relay.example.org", 465), False, True),
    ],
)
def test_the_url_says_where_the_relay_is_and_how_it_is_spoken_to(
    settings: Any, url: str, address: tuple[str, int], starttls: bool, tls: bool
) -> None:
    relay = read(settings, url)
    assert (relay.host, relay.port) == address
    assert (bool(relay.use_starttls), bool(relay.use_tls)) == (starttls, tls)


def test_the_limits_of_a_connection_are_the_operators(settings: Any) -> None:
    settings.EMAIL_TIMEOUT, settings.EMAIL_CONNECTION_MAILS, settings.EMAIL_CONNECTION_SECONDS = 7, 50, 60
    relay = read(settings, "smtp://127.0.0.1:25")
    assert (relay.connect_seconds, relay.most_mails, relay.most_seconds) == (7, 50, 60)


def test_replies_to_a_mail_are_awaited_as_long_as_rfc_5321_says_except_in_tests(settings: Any) -> None:
    assert read(settings, "smtp://127.0.0.1:25").patience == 1
    settings.SMTP_PATIENCE_PERCENT = 1
    assert read(settings, "smtp://127.0.0.1:25").patience == 0.01
