"""What the settings say, without asking anybody."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host

from newsletters.doctor.findings import Finding, Terms, error, note, ok, warning

SHORTEST_LEASE, LONGEST_LEASE = 15, 600
LEAST_RETENTION_DAYS = 90


def site(_terms: Terms) -> Iterator[Finding]:
    """Look at what the site is called and who is believed about it."""
    if settings.DEBUG:
        yield error("configuration.debug_on", "DEBUG is on: errors show settings to everybody.", "Set DEBUG=0.")
    yield _base_url()
    host = urlsplit(settings.BASE_URL).hostname or ""
    if "*" in settings.ALLOWED_HOSTS:
        yield warning(
            "configuration.any_host",
            "ALLOWED_HOSTS takes any host name.",
            f"Set ALLOWED_HOSTS={host}",
        )
    elif not validate_host(host, settings.ALLOWED_HOSTS):
        yield error(
            "configuration.host_not_allowed",
            f"The site refuses its own name: {host} is not in ALLOWED_HOSTS, so every link in a mail answers 400.",
            f"Set ALLOWED_HOSTS={','.join([*settings.ALLOWED_HOSTS, host])}",
        )
    if settings.BASE_URL.startswith("https://") and not settings.TRUSTED_PROXY_COUNT:
        yield warning(
            "configuration.no_trusted_proxy",
            "BASE_URL is https, but no proxy is trusted to say that a request came by https: the redirect never ends.",
            "Set TRUSTED_PROXY_COUNT=1 behind one proxy or load balancer.",
        )


def _base_url() -> Finding:
    parts = urlsplit(settings.BASE_URL)
    if parts.scheme == "https":
        return ok("configuration.base_url", f"Links begin with {settings.BASE_URL}.")
    if is_own_machine(parts.hostname or ""):
        return note(
            "configuration.base_url_local", f"Links begin with {settings.BASE_URL}: only this machine opens them."
        )
    return warning(
        "configuration.base_url_plain",
        f"Links begin with {settings.BASE_URL}: passwords and sessions travel in plain text.",
        f"Give the site a certificate and set BASE_URL=https://{parts.netloc} and TRUSTED_PROXY_COUNT=1.",
    )


def sending(_terms: Terms) -> Iterator[Finding]:
    """Look at what is for staging sites and tests only, and at what most sites want."""
    if settings.RECIPIENT_ALLOW_LIST:
        yield warning(
            "configuration.allow_list",
            f"Only {len(settings.RECIPIENT_ALLOW_LIST)} address(es) or domain(s) get mail; all others are suppressed.",
            "Unless this is a staging site, unset RECIPIENT_ALLOW_LIST.",
        )
    if settings.ALLOW_TEST_ADDRESSES and not settings.DEBUG:
        yield warning(
            "configuration.test_addresses",
            "Addresses below .test and .example, which no mail can reach, are taken as readers.",
            "Set ALLOW_TEST_ADDRESSES=0.",
        )
    if settings.RETRY_SCALE_PERCENT < 100:  # noqa: PLR2004  # percent
        yield warning(
            "configuration.retries_hurried",
            f"Retries come after {settings.RETRY_SCALE_PERCENT} % of the usual time: grey-listed readers may expire.",
            "Set RETRY_SCALE_PERCENT=100.",
        )
    if settings.SMTP_PATIENCE_PERCENT < 100:  # noqa: PLR2004  # percent
        yield warning(
            "configuration.replies_hurried",
            f"Replies are awaited for {settings.SMTP_PATIENCE_PERCENT} % of the usual time: readers get copies.",
            "Set SMTP_PATIENCE_PERCENT=100.",
        )
    seconds = settings.DELIVERY_LEASE_SECONDS
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        harm = "a pause of a worker makes duplicates" if seconds < SHORTEST_LEASE else "a dead worker's mails wait long"
        yield warning(
            "configuration.lease_odd",
            f"DELIVERY_LEASE_SECONDS is {seconds}: {harm}.",
            f"Set DELIVERY_LEASE_SECONDS=60, or any from {SHORTEST_LEASE} to {LONGEST_LEASE}.",
        )
    if 0 < settings.DELIVERY_RETENTION_DAYS < LEAST_RETENTION_DAYS:
        yield warning(
            "configuration.retention_short",
            f"Delivery rows are kept for {settings.DELIVERY_RETENTION_DAYS} days: bounces that come late find no row.",
            f"Set DELIVERY_RETENTION_DAYS={LEAST_RETENTION_DAYS} or more.",
        )
    yield from _mailboxes()
    yield from _plain_password()


def _mailboxes() -> Iterator[Finding]:
    if settings.BOUNCE_ADDRESS:
        yield ok("configuration.bounce_address", f"Bounces go to {settings.BOUNCE_ADDRESS}.")
    else:
        yield note(
            "configuration.no_bounce_address",
            "Bounces go to each newsletter's From address.",
            "Set BOUNCE_ADDRESS to a mailbox that takes tagged addresses (bounces+tag@…).",
        )
    if not settings.UNSUBSCRIBE_MAILBOX:
        yield note(
            "configuration.no_unsubscribe_mailbox",
            "Readers unsubscribe by link only, not by mail.",
            "Where somebody reads such a mailbox, set UNSUBSCRIBE_MAILBOX.",
        )


def _plain_password() -> Iterator[Finding]:
    encrypted = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
    if settings.EMAIL_HOST_USER and not encrypted and not is_own_machine(settings.EMAIL_HOST):
        yield warning(
            "configuration.mail_password_plain",
            f"The relay's password goes to {settings.EMAIL_HOST} in plain text.",
            "Begin EMAIL_URL with smtp+tls:// (port 587) or smtps:// (port 465).",
        )


def is_own_machine(host: str) -> bool:
    """Tell whether a host name or address is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
