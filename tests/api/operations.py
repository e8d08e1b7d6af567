"""Every operation of the API as its own document shows it, and one object of each kind to call it with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from accounts.models import Publisher
from config.api import api as courant
from newsletters.models import Delivery, DeliveryState, Destination, Import, ImportRowError
from tests import cast
from tests.api.fixtures import Api

DOCUMENT = courant.get_openapi_schema(path_prefix="/api/v1/")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    details: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.details["operationId"])

    @property
    def scope(self) -> str:
        return str(self.details["x-scope"])

    @property
    def publisher_wide(self) -> bool:
        """Whether it concerns what newsletters share."""
        return bool(self.details["x-publisher-wide"])

    def parameters(self, place: str) -> list[dict[str, Any]]:
        return [one for one in self.details["parameters"] if one["in"] == place and one["required"]]

    def call(self, api: Api, ids: dict[str, str], query: str = "") -> Any:
        """Call the operation as its own examples show it."""
        path = re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], self.path)
        needed = [f"{one['name']}={one['schema']['examples'][0].replace(' ', '+')}" for one in self.parameters("query")]
        headers = {one["name"].replace("-", "_"): one["example"] for one in self.parameters("header")}
        raw, media_type = b"", "application/json"
        if "requestBody" in self.details:
            ((media_type, content),) = self.details["requestBody"]["content"].items()
            raw = content["example"].encode() if "example" in content else b""
        body = None if raw or "requestBody" not in self.details else self.example(content["schema"])
        address = f"{path}?{'&'.join([*needed, *([query] if query else [])])}"
        return api.send(self.method, address, body, raw=raw or None, content_type=media_type, **headers)

    @staticmethod
    def example(schema: dict[str, Any]) -> Any:
        return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"][0]


ALL = [
    Operation(method.upper(), path, details)
    for path, methods in DOCUMENT["paths"].items()
    for method, details in methods.items()
]
OPERATIONS = [pytest.param(one, id=one.name) for one in ALL]
WITH_IDS = [pytest.param(one, id=one.name) for one in ALL if "{" in one.path]


def make_ids(
    publisher: Publisher,
    *,
    sender: str = "news@gazette.example",
    address: str = cast.ADA,
    domain: str = "example.net",
) -> dict[str, str]:
    """Make one object of each kind in a new newsletter; return their ids, named as the paths name them."""
    newsletter = cast.make_newsletter(publisher, sender=cast.make_sender(publisher, address=sender))
    reader = cast.make_reader(newsletter, address=address)
    issue = cast.make_issue(newsletter)
    imported = Import.objects.create(newsletter=newsletter, consent_source="form")
    ImportRowError.objects.create(audience_import=imported, line=2, code="invalid_address", detail="No.")
    delivery = Delivery.objects.create(issue=issue, subscription=reader, state=DeliveryState.HELD)
    destination = Destination.objects.create(publisher=publisher, domain=domain)
    return {
        "newsletter_id": newsletter.uid,
        "sender_id": newsletter.sender.uid,
        "subscriber_id": reader.subscriber.uid,
        "subscription_id": reader.uid,
        "import_id": imported.uid,
        "issue_id": issue.uid,
        "delivery_id": delivery.uid,
        "destination_id": destination.uid,
    }
