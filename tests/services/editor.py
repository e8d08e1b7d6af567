"""What an editor does through the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.services.processes import wait_until
from tests.services.site import Site

BODY = """\
# Hello {{ subscriber.name | default: "reader" }}

How is the weather in *{{ subscriber.city | default: "your town" }}*?

[All issues](https://gazette.example/archive?a=1&b=2)
"""


def make_newsletter(site: Site, **fields: Any) -> str:
    """Create a newsletter whose sender is verified by the operator's setting; return its id."""
    defaults = {
        "name": "The Weekly",
        "slug": "weekly",
        "from_address": "news@gazette.example",
        "from_name": "The Gazette",
        "postal_address": "1 Printing House Square, London",
    }
    return str(site.ask("POST", "/newsletters", defaults | fields)["id"])


def import_readers(site: Site, newsletter_id: str, data: bytes) -> Any:
    """Import a CSV file and return the finished import."""
    path = f"/newsletters/{newsletter_id}/imports?consent_source={quote('sign-up sheet, spring fair')}"
    made = site.ask("POST", path, data, headers={"Content-Type": "text/csv"})
    seen = {}

    def finished() -> bool:
        seen.update(site.ask("GET", f"/imports/{made['id']}"))
        return seen["state"] in ("done", "failed")

    wait_until(finished, "the import is done", seconds=300, pause=0.1)
    return seen


def import_numbered_readers(site: Site, newsletter_id: str, count: int) -> set[str]:
    """Import reader-1@example.org and so on, and return their addresses."""
    addresses = [f"reader-{number}@example.org" for number in range(1, count + 1)]
    done = import_readers(site, newsletter_id, "\n".join(["email", *addresses, ""]).encode())
    assert done["added"] == count, done
    return set(addresses)


def write_issue(site: Site, newsletter_id: str, *, subject: str = "What happened this week", body: str = BODY) -> str:
    """Write a draft and return its id."""
    return str(site.ask("POST", f"/newsletters/{newsletter_id}/issues", {"subject": subject, "body": body})["id"])
