"""Which addresses a body may link to: absolute https, http and mailto, on public hosts."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import parse_qsl, urlsplit

LONGEST_URL = 2000
SCHEMES = ("https", "http", "mailto")
# Removed without a word by the sanitiser; everything else that is not allowed is named in an error.
ACTIVE_SCHEMES = ("javascript", "vbscript", "data")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_WEB = re.compile(r"https?://([^/?#]+)(?:[/?#].*)?", re.DOTALL | re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"`{|}^\u2028\u2029]")
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa")
_MAIL_FIELDS = {"subject", "body"}
_MAILBOX = re.compile(r"[^\s%@,;:<>()\[\]\"?&]+@[^\s%@,;:<>()\[\]\"?&]+")
_PORT = re.compile(r"(.*):([0-9]{1,5})")


def problem_with(url: str, *, marker: str, image: bool = False) -> str | None:
    """Return one clause saying why a link or image address is refused, or None.

    `marker` is the text by which a merge tag is known; a tag may stand in a path or query, never in
    the scheme or the host.
    """
    if len(url) > LONGEST_URL:
        return f"is longer than {LONGEST_URL} characters"
    if _UNSAFE.search(url):
        return 'contains a space, a control character or one of \\ < > " ` { | } ^'
    scheme = _SCHEME.match(url)
    if scheme is None:
        return "is not absolute; it must begin with https://, http:// or mailto:"
    name = scheme[1].lower()
    if name not in SCHEMES or (image and name == "mailto"):
        return f"has the scheme {name}, which is not allowed here"
    return _problem_with_mailbox(url, marker) if name == "mailto" else _problem_with_web(url, marker)


def _problem_with_mailbox(url: str, marker: str) -> str | None:
    address, _, query = url.partition(":")[2].partition("?")
    fields = parse_qsl(query, keep_blank_values=True)
    if any(name.lower() not in _MAIL_FIELDS for name, _ in fields):
        return "sets a mail header other than subject and body"
    if any(name.lower() == "subject" and not value.isprintable() for name, value in fields):
        return "has a control character in its subject"
    if not _MAILBOX.fullmatch(address.replace("%40", "@")) and not (marker and marker in address):
        return "does not name exactly one mailbox"
    return None


def _problem_with_web(url: str, marker: str) -> str | None:
    match = _WEB.fullmatch(url)
    if match is None:
        return "names no host"
    authority = match[1]
    if "@" in authority:
        return "carries a user name or password"
    if marker and marker in authority:
        return "has a merge tag in its host name"
    port = _PORT.fullmatch(authority)
    host = port[1] if port else authority
    try:
        parsed = urlsplit(url).hostname
    except ValueError:
        return "cannot be read"
    if parsed is None or parsed != host.lower().strip("[]") or (port and not 0 < int(port[2]) < 2**16):
        return "has a malformed host name or port"
    return "points to this machine or a private network" if _is_private(parsed) else None


def _is_private(host: str) -> bool:
    # Browsers read full-width digits and dots as plain ones.
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".").rstrip(".")
    try:
        # inet_aton reads every spelling of an IPv4 address that browsers do: 2130706433, 0x7f.1, 127.1
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(socket.inet_aton(host))
    except (OSError, ValueError):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return "." not in host or host.endswith(_PRIVATE_SUFFIXES)
    embedded = _embedded_ipv4(address)
    return not address.is_global or address.is_multicast or (embedded is not None and not embedded.is_global)


def _embedded_ipv4(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
