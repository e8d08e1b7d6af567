"""Every address of the site with pieces, parameters and fields that nobody means well with, and what came of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.urls import get_resolver

# Percent-encoded, as they come over the wire: NUL, what is not UTF-8, half a surrogate pair, numbers that fit into no
# column or no integer at all, and what is half of a query, a path, a pattern or a piece of SQL.
TEXTS = ("a%00b", "%ED%A0%80", "-1", "9" * 22, "9" * 5000, "%28%5B..%2F")
MOMENTS = ("0000-00-00", "0001-01-01T00:00", "9999-12-31T23:59:59")
LONG = ("a " * 1500, "x" * 3500)
LOOKUPS = ("__exact", "__regex")
CONTROLS = ("q", "p", "o", "all", "e", "_popup", "_to_field", "_changelist_filters")


def addresses() -> list[str]:
    """Return the format of every address, such as "publishers/%(publisher_id)s/"."""
    return sorted(set(_of(get_resolver(), "/")))


def _of(resolver: Any, prefix: str) -> Iterator[str]:
    for possibilities, _pattern, _defaults, _converters in resolver.reverse_dict.values():
        for text, _names in possibilities:
            yield prefix + text
    for inner, nested in resolver.namespace_dict.values():
        yield from _of(nested, prefix + inner)


def filled(address: str, piece: str) -> str:
    return re.sub(r"%\(\w+\)s", lambda _: piece, address).replace("%%", "%")


def queries_of(page: admin.ModelAdmin[Any]) -> list[str]:
    """Return what a list of the admin could be asked, also by what no page has."""
    taken = [getattr(one, "parameter_name", f"{one}__exact") for one in page.list_filter]
    others = [column.name + lookup for column in page.model._meta.get_fields() for lookup in LOOKUPS]
    asked = queries((*CONTROLS, *taken), (*TEXTS, MOMENTS[0]))
    return asked + queries(others, ("a%00b", "%28%5B")) + queries(["q", "p", "o"], LONG)


@dataclass
class Round:
    """A browser on its round; `failed` are the requests that were answered with a fault of ours."""

    client: Client
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client.raise_request_exception = False

    def ask(self, method: str, address: str, data: Any = None, **more: Any) -> Any:
        """Send one request, and take back what it did."""
        path, _, query = address.partition("?")
        with transaction.atomic():
            given = {"QUERY_STRING": query, "data": data or {}} | more
            if method == "GET":
                given.pop("data")
            answer = getattr(self.client, method.lower())(unquote(path, "latin-1") if "%" in path else path, **given)
            if hasattr(answer, "streaming_content"):
                b"".join(answer.streaming_content)
            transaction.set_rollback(True)
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.failed.append(f"{method} {address[:200]} {str(data)[:200]}: {answer.status_code}")
        return answer

    def fields(self, address: str) -> dict[str, str]:
        """Return what the forms of a page would send if nobody changed anything."""
        page = self.ask("GET", address)
        if page.status_code != HTTPStatus.OK or not page.headers.get("Content-Type", "").startswith("text/html"):
            return {}
        html = page.content.decode()
        tags = re.findall(r"<(?:input|select|textarea|button)\b[^>]*>", html)
        named = [dict(re.findall(r'([\w-]+)="([^"]*)"', tag)) for tag in tags]
        found = {tag["name"]: tag.get("value", "") for tag in named if "name" in tag and tag.get("type") != "radio"}
        chosen = re.findall(r'<option value="([^"]*)" selected', html)
        return found | ({"chosen": chosen[0]} if chosen else {})

    def post_one_by_one(self, address: str, values: Iterable[str]) -> None:
        """Send each field with each value, the others as the page has them."""
        known = self.fields(address)
        for name in known:
            for value in values:
                self.ask("POST", address, known | {name: unquote(value, errors="replace")})


def queries(names: Iterable[str], values: Iterable[str]) -> list[str]:
    return [f"{quote(name)}={value}" for name in names for value in values]
