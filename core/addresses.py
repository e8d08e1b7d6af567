"""The one place that decides what an address is and when two addresses are the same reader."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from django.conf import settings
from email_validator import EmailNotValidError, validate_email

from core.errors import invalid_field
from core.tokens import address_digest

MAX_LENGTH = 254
MAX_LOCAL_LENGTH = 64
# RFC 5322 dot-atom in ASCII: no quoted local parts, no comments, no SMTPUTF8.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
# Names that nobody can register (RFC 2606, RFC 9476, ICANN's .internal); the validator refuses the others by itself.
_TEST_DOMAINS = (".test", ".example", ".alt", ".internal")


class Address(NamedTuple):
    """One canonical address.

    `address` is what mail is sent to: ASCII, the domain lower-cased and in A-labels (RFC 5890), the
    local part as typed. `key` is its identity, wholly lower-cased; `digest` is the 32-byte HMAC of `key`.
    """

    address: str
    key: str
    digest: bytes


class _UnusableError(Exception):
    """Carries one sentence about what is wrong with an address."""


def canonical(address: str) -> Address:
    """Return the canonical form of an address.

    Raises InvalidError `invalid_address`, pointing at "/address", for everything that is not one
    plain mailbox on a public domain. Names ending in .test, .example, .alt or .internal pass only
    while ALLOW_TEST_ADDRESSES is on.
    """
    try:
        checked = _checked(address)
    except _UnusableError as error:
        raise invalid_field("/address", "invalid_address", str(error)) from None
    key = checked.lower()
    return Address(address=checked, key=key, digest=address_digest(key))


def canonical_reader(address: str) -> Address:
    """Return the canonical form of a reader's address.

    Raises InvalidError as `canonical` does, and for the mailboxes that take bounces and unsubscriptions:
    mail to them comes back to us.
    """
    who = canonical(address)
    own = (settings.BOUNCE_ADDRESS.lower(), settings.UNSUBSCRIBE_MAILBOX.lower())
    # Almost every address ends here: the rest is worth looking at only on the site's own domains.
    if not who.key.endswith(_domains(own)):
        return who
    local, _, domain = who.key.rpartition("@")
    if f"{local.partition('+')[0]}@{domain}" in own:
        raise invalid_field("/address", "invalid_address", "This mailbox is the site's own and reads no newsletters.")
    return who


@functools.lru_cache(maxsize=4)
def _domains(mailboxes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("@" + mailbox.rpartition("@")[2] for mailbox in mailboxes if mailbox)


def _checked(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise _UnusableError("An e-mail address has the form name@example.org.")
    if len(address) > MAX_LENGTH or len(local) > MAX_LOCAL_LENGTH:
        raise _UnusableError(f"The address is longer than {MAX_LENGTH} characters, or its name part than 64.")
    if not _LOCAL_PART.match(local):
        raise _UnusableError("The part before the @ has a character that is not taken, or a dot in a wrong place.")
    # An encoded word (RFC 2047) would be decoded by mail readers into something else.
    if "=?" in local:
        raise _UnusableError('The part before the @ must not contain "=?".')
    ascii_domain = _ascii_domain(domain)
    if len(local) + 1 + len(ascii_domain) > MAX_LENGTH:
        raise _UnusableError(f"The address is longer than {MAX_LENGTH} characters.")
    if ascii_domain.endswith(_TEST_DOMAINS) and not settings.ALLOW_TEST_ADDRESSES:
        raise _UnusableError("The domain is reserved; no mail can reach it.")
    return f"{local}@{ascii_domain}"


# The validator takes 45 µs for an address, and a list of readers has far fewer domains than addresses.
@functools.lru_cache(maxsize=16_384)
def _ascii_domain(domain: str) -> str:
    try:
        checked = validate_email(
            f"a@{domain}",
            check_deliverability=False,
            allow_smtputf8=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            test_environment=True,
        )
    except EmailNotValidError as error:
        raise _UnusableError(f"The part after the @ cannot be used: {error}") from None
    ascii_domain = checked.ascii_domain.lower()
    if "." not in ascii_domain:
        raise _UnusableError("The part after the @ is not a full domain name.")
    return ascii_domain
