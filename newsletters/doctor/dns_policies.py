"""DMARC policies (RFC 7489) and DKIM keys (RFC 6376) of a sender's domain."""

from __future__ import annotations

import base64
import binascii

from newsletters.doctor.dns_lookup import Lookup
from newsletters.doctor.findings import Finding, error, note, ok, quote, warning

POLICIES = ("none", "quarantine", "reject")
# Lengths of a DER-encoded SubjectPublicKeyInfo with an RSA key of 1024 and of 2048 bits.
RSA_1024_BYTES, RSA_2048_BYTES = 160, 290


def tags(record: str) -> dict[str, str]:
    """Return the tags of a DKIM or DMARC record; a repeated one counts once, as the first says."""
    found: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), value.strip())
    return found


async def dmarc(lookup: Lookup, domain: str) -> list[Finding]:
    """Look for the policy of a domain, or of the domains above it. Raises NoAnswerError."""
    labels = domain.split(".")
    for above in range(len(labels) - 1):
        name = ".".join(labels[above:])
        records = [text for text in await lookup.texts(f"_dmarc.{name}") if text.lower().startswith("v=dmarc1")]
        if len(records) > 1:
            return [
                error(
                    "dns.dmarc_many",
                    f"_dmarc.{name} has {len(records)} DMARC records, so none of them counts.",
                    "Keep one of them.",
                )
            ]
        if records:
            return [_policy(domain, name, records[0], inherited=above > 0)]
    return [
        warning(
            "dns.dmarc_missing",
            f"{domain} has no DMARC record; large mailbox providers want one from bulk senders.",
            f'Publish a TXT record of _dmarc.{domain}: "v=DMARC1; p=none; rua=mailto:ADDRESS"',
        )
    ]


def _policy(domain: str, name: str, record: str, *, inherited: bool) -> Finding:
    found = tags(record)
    policy = (found.get("sp") if inherited else None) or found.get("p", "")
    if policy.lower() not in POLICIES:
        return error(
            "dns.dmarc_invalid",
            f"The DMARC record at _dmarc.{name} has no valid policy: {quote(record)}",
            "Write p=none, p=quarantine or p=reject right after v=DMARC1;",
        )
    if policy.lower() == "none":
        return note(
            "dns.dmarc_none",
            f"The DMARC policy of {domain} is none: it reports forgeries and stops none.",
            "When the reports show that all your own mail passes, write p=quarantine.",
        )
    return ok("dns.dmarc", f"The DMARC policy of {domain} is {policy.lower()}.")


async def dkim(lookup: Lookup, domain: str, selector: str) -> Finding:
    """Look at the key that a selector names. Raises NoAnswerError."""
    name = f"{selector}._domainkey.{domain}"
    records = [text for text in await lookup.texts(name) if "p=" in text]
    if not records:
        return error(
            "dns.dkim_missing",
            f"There is no DKIM key at {name}.",
            f"Publish the key that your relay signs with as a TXT record of {name}, or name its real selector.",
        )
    found = tags(records[0])
    if not found.get("p"):
        return error(
            "dns.dkim_revoked",
            f"The DKIM key at {name} is revoked (p= is empty).",
            "Let the relay sign with another selector, and publish its key.",
        )
    return _key(name, found)


def _key(name: str, found: dict[str, str]) -> Finding:
    try:
        length = len(base64.b64decode("".join(found["p"].split()), validate=True))
    except binascii.Error:
        return error("dns.dkim_broken", f"The DKIM key at {name} is not base64.", "Publish it again, in one piece.")
    is_rsa = found.get("k", "rsa").lower() == "rsa"
    if is_rsa and length < RSA_1024_BYTES:
        return error(
            "dns.dkim_weak",
            f"The DKIM key at {name} is shorter than 1024 bits; receivers ignore it (RFC 8301).",
            "Make a key of 2048 bits for the relay and publish it.",
        )
    if is_rsa and length < RSA_2048_BYTES:
        return note("dns.dkim_short", f"The DKIM key at {name} is shorter than 2048 bits.", "Make one of 2048 bits.")
    if "y" in found.get("t", "").split(":"):
        return note("dns.dkim_testing", f"The DKIM key at {name} is marked as a test (t=y).", "Remove t=y.")
    return ok("dns.dkim", f"There is a DKIM key at {name}.")
