"""Asking a name server, with little patience, and telling "there is none" from "nobody answered"."""

from __future__ import annotations

import ipaddress

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.TXT import TXT

QUERY_SECONDS = 2.0
DNS_PORT = 53


class NoAnswerError(Exception):
    """No name server gave an answer, neither yes nor no."""


class NoSuchDomainError(Exception):
    """The name does not exist at all (NXDOMAIN)."""


def parse_resolver(text: str) -> tuple[str, int]:
    """Return (address, port) of ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. Raises ValueError."""
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):  # noqa: PLR2004  # 16 bits
        raise ValueError(f"{port!r} is not a port")
    return str(ipaddress.ip_address(host)), int(port or DNS_PORT)


class Lookup:
    """Asks the system's name servers, or one in their place. Raises NoAnswerError when there is none to ask."""

    def __init__(self, resolver: tuple[str, int] | None) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=resolver is None)
        except dns.exception.DNSException as failure:
            raise NoAnswerError("this machine has no name server") from failure
        if resolver is not None:
            self._resolver.nameservers, self._resolver.port = [resolver[0]], resolver[1]
        self._resolver.timeout, self._resolver.lifetime = QUERY_SECONDS / 2, QUERY_SECONDS

    async def records(self, name: str, kind: str) -> list[dns.rdata.Rdata]:
        """Return the records of a name, CNAMEs followed; none when it has others only.

        Raises NoSuchDomainError, and NoAnswerError when nobody answers or the name cannot be asked for.
        """
        try:
            answer = await self._resolver.resolve(dns.name.from_text(name), kind, search=False)
        except dns.resolver.NXDOMAIN as failure:
            raise NoSuchDomainError(name) from failure
        except dns.resolver.NoAnswer:
            return []
        except (dns.exception.DNSException, OSError) as failure:
            raise NoAnswerError(type(failure).__name__) from failure
        return list(answer)

    async def texts(self, name: str) -> list[str]:
        """Return a name's TXT records, the strings of each joined; none when the name does not exist."""
        try:
            found = await self.records(name, "TXT")
        except NoSuchDomainError:
            return []
        return [b"".join(one.strings).decode("ascii", "replace") for one in found if isinstance(one, TXT)]

    async def addresses(self, name: str) -> list[str]:
        """Return the IPv4 and IPv6 addresses of a name; none when it does not exist."""
        found: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                found += [one.to_text() for one in await self.records(name, kind)]
            except NoSuchDomainError:
                return []
        return found

    async def names(self, address: str) -> list[str]:
        """Return the names that an address has (PTR), without the final dot."""
        try:
            found = await self.records(dns.reversename.from_address(address).to_text(), "PTR")
        except NoSuchDomainError:
            return []
        return [one.to_text().rstrip(".") for one in found]
