"""SPF records (RFC 7208): one, not for everybody, and within the limit of look-ups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from newsletters.doctor.dns_lookup import Lookup, NoAnswerError
from newsletters.doctor.findings import Finding, Level, error, note, ok, quote

# RFC 7208, 4.6.4.
MOST_LOOKUPS = 10
_ALL = re.compile(r"^([+?~-]?)all$", re.IGNORECASE)
_LOOKS_UP = re.compile(r"^[+?~-]?(include:|exists:|a(?:[:/]|$)|mx(?:[:/]|$)|ptr(?::|$))", re.IGNORECASE)
_INCLUDES = re.compile(r"^(?:[+?~-]?include:|redirect=)([^\s/]+)$", re.IGNORECASE)


def is_spf(text: str) -> bool:
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


async def examine(lookup: Lookup, domain: str, texts: list[str], *, is_envelope: bool) -> list[Finding]:
    """Look at the SPF record of a domain among its TXT records.

    `is_envelope` says that it is the domain of an envelope sender, which is what receivers check.
    """
    records = [text for text in texts if is_spf(text)]
    if not records:
        return [_missing(domain, is_envelope=is_envelope)]
    if len(records) > 1:
        return [
            error(
                "dns.spf_many",
                f"{domain} has {len(records)} SPF records, so none of them counts (RFC 7208, 4.5).",
                f"Join them in one TXT record of {domain} that begins with v=spf1.",
            )
        ]
    found = list(_all(domain, records[0]))
    found += await _lookups(lookup, domain, records[0])
    return found or [ok("dns.spf", f"{domain} has the SPF record: {quote(records[0])}")]


def _missing(domain: str, *, is_envelope: bool) -> Finding:
    return Finding(
        "dns.spf_missing",
        Level.WARNING if is_envelope else Level.NOTE,
        f"{domain} has no SPF record.",
        f'Publish a TXT record of {domain} that names your relay: "v=spf1 include:RELAY -all" '
        '(or "v=spf1 ip4:ADDRESS -all").',
    )


def _all(domain: str, record: str) -> Iterator[Finding]:
    ends = [match[1] or "+" for word in record.split()[1:] if (match := _ALL.match(word))]
    if "+" in ends:
        yield error(
            "dns.spf_everybody",
            f"The SPF record of {domain} allows everybody (+all): {quote(record)}",
            "End it with ~all or -all.",
        )
    elif "?" in ends or (not ends and "redirect=" not in record.lower()):
        yield note(
            "dns.spf_neutral",
            f"The SPF record of {domain} says nothing of all other servers: {quote(record)}",
            "End it with ~all or -all.",
        )


async def _lookups(lookup: Lookup, domain: str, record: str) -> list[Finding]:
    count = _Count(lookup)
    try:
        await count.add(record, {domain.lower()})
    except NoAnswerError as failure:
        return [note("dns.spf_not_counted", f"The look-ups of {domain}'s SPF record were not counted: {failure}.")]
    if count.broken:
        return [
            error(
                "dns.spf_broken",
                f"The SPF record of {domain} includes {quote(', '.join(count.broken))}: it has none, or itself again.",
                "Remove that include, or correct its name.",
            )
        ]
    if count.lookups <= MOST_LOOKUPS:
        return []
    return [
        error(
            "dns.spf_too_many_lookups",
            f"The SPF record of {domain} takes {count.lookups} look-ups or more; receivers stop at {MOST_LOOKUPS}.",
            "Remove what no longer sends for you, or name addresses (ip4:, ip6:) in place of include:, a and mx.",
        )
    ]


@dataclass
class _Count:
    """Follows includes until the limit is passed."""

    lookup: Lookup
    lookups: int = 0

    def __post_init__(self) -> None:
        self.broken: list[str] = []

    async def add(self, record: str, above: set[str]) -> None:
        for word in record.split()[1:]:
            if self.lookups > MOST_LOOKUPS:
                return
            includes = _INCLUDES.match(word)
            self.lookups += bool(_LOOKS_UP.match(word) or word.lower().startswith("redirect="))
            # A macro is filled in by the receiver.
            if includes and "%" not in includes[1]:
                await self._follow(includes[1].lower().rstrip("."), above)

    async def _follow(self, domain: str, above: set[str]) -> None:
        records = [text for text in await self.lookup.texts(domain) if is_spf(text)]
        if domain in above or len(records) != 1:
            self.broken.append(domain)
        else:
            await self.add(records[0], {*above, domain})
