"""What DNS says of the sender's domains and the relay. Where nobody answers there is a note, never an error."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from dns.rdtypes.ANY.MX import MX

from newsletters.doctor import spf
from newsletters.doctor.dns_lookup import Lookup, NoAnswerError, NoSuchDomainError
from newsletters.doctor.dns_policies import dkim, dmarc
from newsletters.doctor.findings import Finding, Terms, error, note, ok, warning
from newsletters.models import SenderIdentity

MOST_DOMAINS = 20
# RFC 2606, RFC 6761 and RFC 6762: these never resolve.
RESERVED = ("test", "example", "invalid", "localhost", "local", "onion", "internal")


@dataclass(frozen=True)
class Domain:
    """A domain that mails come from; receivers check the SPF of those that are in an envelope."""

    name: str
    is_envelope: bool


def domains_of_settings(terms: Terms) -> list[Finding]:
    """Look at the relay's address and the domains that the settings name."""
    try:
        lookup = Lookup(terms.resolver)
    except NoAnswerError as failure:
        return [note("dns.no_resolver", f"DNS was not looked at: {failure}.", "--resolver ADDRESS")]
    found = asyncio.run(_examine(lookup, named_by_settings(), terms.dkim_selectors, with_relay=True))
    if not terms.dkim_selectors:
        found.append(
            note(
                "dns.dkim_not_checked",
                "DKIM keys were not looked at: DNS does not list selectors.",
                "--dkim-selector NAME, with s= of the DKIM-Signature in a mail that your relay has signed",
            )
        )
    return found


def domains_of_senders(terms: Terms) -> list[Finding]:
    """Look at the domains of verified senders that the settings do not name."""
    known = {domain.name for domain in named_by_settings()}
    verified = SenderIdentity.objects.filter(verified_at__isnull=False).order_by("pk")
    names = dict.fromkeys(address.rpartition("@")[2].lower() for address in verified.values_list("address", flat=True))
    domains = _real(Domain(name, is_envelope=not settings.BOUNCE_ADDRESS) for name in names if name not in known)
    try:
        lookup = Lookup(terms.resolver)
    except NoAnswerError:
        # The look at the settings' domains has said so.
        return []
    found = asyncio.run(_examine(lookup, domains[:MOST_DOMAINS], terms.dkim_selectors))
    if domains[MOST_DOMAINS:]:
        found.append(note("dns.more_domains", f"{len(domains) - MOST_DOMAINS} more sender domains were not looked at."))
    return found


def named_by_settings() -> list[Domain]:
    """Return the domains that mails come from by the settings, those of envelopes first."""
    own = [settings.BOUNCE_ADDRESS, settings.DEFAULT_FROM_EMAIL]
    envelopes = dict.fromkeys(address.rpartition("@")[2].lower() for address in own if address)
    senders = dict.fromkeys(domain.lower().removeprefix("@") for domain in settings.VERIFIED_SENDER_DOMAINS)
    # Without a mailbox for bounces each newsletter's From address is in its envelopes.
    others = [Domain(name, is_envelope=not settings.BOUNCE_ADDRESS) for name in senders if name not in envelopes]
    return _real([*(Domain(name, is_envelope=True) for name in envelopes), *others])


def _real(domains: Iterable[Domain]) -> list[Domain]:
    # The From address of a site without a name ends in its address.
    return [domain for domain in domains if not (_is_reserved(domain.name) or _is_address(domain.name))]


async def _examine(
    lookup: Lookup, domains: list[Domain], selectors: tuple[str, ...], *, with_relay: bool = False
) -> list[Finding]:
    work = [_domain(lookup, domain, selectors) for domain in domains]
    answers = await asyncio.gather(*work, *([_relay(lookup)] if with_relay else []))
    return [finding for answer in answers for finding in answer]


async def _domain(lookup: Lookup, domain: Domain, selectors: tuple[str, ...]) -> list[Finding]:
    name = domain.name
    try:
        found = await _mailboxes(lookup, name)
        texts = await lookup.texts(name)
        found += await spf.examine(lookup, name, texts, is_envelope=domain.is_envelope)
        found += await dmarc(lookup, name)
        for selector in selectors:
            found.append(await dkim(lookup, name, selector))
    except NoSuchDomainError:
        return [
            warning(
                "dns.no_such_domain",
                f"The sender's domain {name} does not exist; receivers refuse mail from it.",
                "Correct the sender's address, or register the domain.",
            )
        ]
    except NoAnswerError as failure:
        return [note("dns.no_answer", f"{name} was not looked at: no name server answered ({failure}).")]
    return found


async def _mailboxes(lookup: Lookup, name: str) -> list[Finding]:
    servers = [one for one in await lookup.records(name, "MX") if isinstance(one, MX)]
    if any(one.exchange.to_text() == "." for one in servers):
        return [
            error(
                "dns.null_mx",
                f"{name} takes no mail at all (null MX, RFC 7505); receivers refuse mail from such a domain.",
                f'Give {name} a mail server: remove the record "MX 0 ." and name one.',
            )
        ]
    if servers or await lookup.addresses(name):
        return [ok("dns.mx", f"{name} takes mail at {len(servers)} server(s).")] if servers else []
    return [
        warning(
            "dns.no_mail_server",
            f"{name} has neither MX nor address records: replies and bounces to it are lost.",
            f"Publish an MX record of {name}.",
        )
    ]


async def _relay(lookup: Lookup) -> list[Finding]:
    host = settings.EMAIL_HOST
    try:
        literal = _is_address(host)
        addresses = [host] if literal else await lookup.addresses(host) if not _is_reserved(host) else []
        public = [address for address in addresses if ipaddress.ip_address(address).is_global]
        if not public:
            return [
                note(
                    "dns.relay_private",
                    f"The PTR record of the relay {host} was not looked at: no public address of it is known here.",
                    "Look for the address that a mail came from in its Received headers.",
                )
            ]
        return [finding for address in public for finding in [await _pointer(lookup, host, address)]]
    except NoAnswerError as failure:
        return [note("dns.relay_no_answer", f"The relay's address was not looked at: {failure}.")]


async def _pointer(lookup: Lookup, host: str, address: str) -> Finding:
    pointed = await lookup.names(address)
    remedy = f"Let the owner of {address} point it to a name that leads back to it; receivers ask for both."
    if not pointed:
        return warning("dns.no_ptr", f"The relay's address {address} ({host}) has no name (PTR).", remedy)
    wanted = ipaddress.ip_address(address)
    for name in pointed[:3]:
        if wanted in {ipaddress.ip_address(one) for one in await lookup.addresses(name)}:
            return ok("dns.ptr", f"The relay's address {address} is {name}, and back.")
    return warning(
        "dns.ptr_not_confirmed",
        f"The relay's address {address} is called {', '.join(pointed[:3])}, which does not lead back to it.",
        remedy,
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_reserved(host: str) -> bool:
    return host.rpartition(".")[2] in RESERVED
