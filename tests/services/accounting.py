"""The one checker: what a finished issue says of its readers against what the sink's ledger says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.services.sinks import SmtpSink
from tests.services.site import Site

STATES = ("queued", "sending", "sent", "bounced", "expired", "suppressed", "cancelled", "held")
EXPLAINED = ("bounced", "expired", "suppressed", "cancelled", "held")
ALWAYS_EMPTY = ("lost", "false_sent", "unflagged", "unexpected", "changed")


@dataclass(frozen=True)
class Account:
    """An issue's readers by what became of them. Every set holds addresses.

    `lost` have neither a mail nor a final state that says why; `false_sent` are said to be sent and have none;
    `unflagged` have a second copy that their row does not admit; `unexpected` were no readers; `changed` got two
    copies that differ. `copies` counts the mails beyond the first of each reader.
    """

    lost: frozenset[str]
    false_sent: frozenset[str]
    unflagged: frozenset[str]
    unexpected: frozenset[str]
    changed: frozenset[str]
    copies: Counter[str]
    flagged: frozenset[str]
    by_state: dict[str, frozenset[str]]

    @property
    def dups(self) -> int:
        """How many mails were one too many."""
        return self.copies.total()

    def require(self, *, dups: int = 0, **states: set[str]) -> None:
        """Assert that nobody is lost or falsely sent, that copies are within `dups` and all admitted.

        A keyword such as `bounced={…}` names exactly who must be in a state; all others must be `sent`.
        """
        print(f"{self.dups} copies, at most {dups} allowed, {len(self.flagged)} flagged")  # noqa: T201
        wrong = {name: sorted(getattr(self, name)) for name in ALWAYS_EMPTY if getattr(self, name)}
        assert wrong == {}, wrong
        assert self.dups <= dups, f"{self.dups} copies too many, at most {dups} allowed: {self.copies}"
        found = {name: set(who) for name, who in self.by_state.items() if who and name != "sent"}
        assert found == {name: who for name, who in states.items() if who}, found


def check_equation(progress: Any) -> None:
    """Check that every reader of an issue is in exactly one state, by the site's own count."""
    assert progress["audience"] == sum(progress[state] for state in STATES), progress
    assert progress["accounted"] is True


def account(site: Site, issue_id: str, sink: SmtpSink, expected: set[str]) -> Account:
    """Compare a finished issue's ledger, row by row, with what the sink took, and the site's counts with its rows."""
    progress = site.ask("GET", f"/issues/{issue_id}/progress")
    check_equation(progress)
    rows = site.every(f"/issues/{issue_id}/deliveries")
    counted = Counter(row["state"] for row in rows)
    assert {state: counted[state] for state in STATES} == {state: progress[state] for state in STATES}
    listed = Counter(row["address"] for row in rows)
    assert listed == Counter(expected), (listed - Counter(expected), Counter(expected) - listed)
    flagged = frozenset(row["address"] for row in rows if row["uncertain"])
    assert progress["uncertain"] == len(flagged)
    mails = sink.mails()
    taken = Counter(mail.recipient for mail in mails)
    versions = {(mail.recipient, mail.message_id, mail.sha256) for mail in mails}
    by_state = {state: frozenset(row["address"] for row in rows if row["state"] == state) for state in STATES}
    copies = Counter({address: count - 1 for address, count in taken.items() if count > 1})
    explained = frozenset().union(*(who for state, who in by_state.items() if state in EXPLAINED))
    return Account(
        lost=frozenset(expected) - set(taken) - explained,
        false_sent=by_state["sent"] - set(taken),
        unflagged=frozenset(copies) - flagged,
        unexpected=frozenset(taken) - expected,
        changed=frozenset(who for who, count in Counter(version[0] for version in versions).items() if count > 1),
        copies=copies,
        flagged=flagged,
        by_state=by_state,
    )
