"""What an editor does through the API, and what must hold of an issue whatever happened meanwhile."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

from tests.services.processes import wait_until
from tests.services.sinks import SmtpSink
from tests.services.site import Site

STATES = ("queued", "sending", "sent", "bounced", "expired", "suppressed", "cancelled", "held")
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

    wait_until(finished, "the import is done", seconds=30, pause=0.1)
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


def check_equation(progress: Any) -> None:
    """Check that every reader of an issue is in exactly one state, by the site's own count."""
    assert progress["audience"] == sum(progress[state] for state in STATES), progress
    assert progress["accounted"] is True


def check_nobody_is_lost(site: Site, issue_id: str, sink: SmtpSink, expected: set[str]) -> Counter[str]:
    """Check a finished issue against what the sink took, and return the extra copies by address.

    Nobody is missing, nobody is a stranger, no row says `sent` of a mail that the sink never took, and each
    reader who got a second copy is flagged uncertain.
    """
    progress = site.ask("GET", f"/issues/{issue_id}/progress")
    check_equation(progress)
    assert progress["state"] == "sent"
    rows = site.every(f"/issues/{issue_id}/deliveries")
    mails = sink.mails()
    taken = Counter(mail.recipient for mail in mails)
    assert {row["address"] for row in rows} == expected
    assert len(rows) == len(expected)
    assert {row["state"] for row in rows} == {"sent"}
    assert set(taken) == expected
    extra = taken - Counter(expected)
    flagged = {row["address"] for row in rows if row["uncertain"]}
    assert set(extra) <= flagged
    assert progress["uncertain"] == len(flagged)
    # A second copy is the same mail: programs that know its Message-ID show it once.
    assert len({(mail.recipient, mail.message_id, mail.sha256) for mail in mails}) == len(expected)
    return extra
