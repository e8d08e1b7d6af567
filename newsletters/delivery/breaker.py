"""The breaker: stops an issue when its mails fail for reasons that are not the readers'."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from newsletters.delivery.replies import SMTPUTF8_NOT_OFFERED, Outcome, Suppress, Verdict

PERMANENT_RELAY_FAULTS = 5
POLICY_REFUSALS = 5
POLICY_DOMAINS = 2
UNCERTAIN_IN_A_ROW = 5
COMPOSITION_FAILURES = 3
COMPOSITION_FAILED = "composition_failed"
# These are about one address and this relay, not about our content or reputation.
ADDRESS_REASONS = frozenset({SMTPUTF8_NOT_OFFERED})


@dataclass
class Streaks:
    """Failures in a row by kind, and the recipient domains of the policy refusals among them (two are enough)."""

    relay: int = 0
    policy: int = 0
    uncertain: int = 0
    composition: int = 0
    domains: set[str] = field(default_factory=set)

    def why_stop(self) -> str | None:
        """Return the reason for which an issue with these streaks must stop; None when it may go on."""
        if self.composition >= COMPOSITION_FAILURES:
            return COMPOSITION_FAILED
        if self.relay >= PERMANENT_RELAY_FAULTS:
            return "relay_refused"
        if self.policy >= POLICY_REFUSALS and len(self.domains) >= POLICY_DOMAINS:
            return "policy_refusals"
        return "uncertain_outcomes" if self.uncertain >= UNCERTAIN_IN_A_ROW else None

    def add(self, other: Streaks) -> None:
        self.relay += other.relay
        self.policy += other.policy
        self.uncertain += other.uncertain
        self.composition += other.composition
        self.domains |= other.domains


@dataclass
class Breaker:
    """Counts failures in a row for one issue; `tripped` is why it must stop.

    Five permanent relay faults, five policy refusals over two domains (our content or reputation, not the
    readers' mailboxes), five uncertain outcomes or three failed compositions. What this process has seen is added
    to what all have seen on the issue's row (`streaks.tell`), so that neither more processes nor restarts
    multiply the attempts: each process can be one slice's faults late.
    """

    untold: Streaks = field(default_factory=Streaks)
    # The failures of this process alone, so that it stops without asking the database.
    here: Streaks = field(default_factory=Streaks)
    # When a mail last went through, monotonic, and whether the row is to hear of it.
    succeeded_at: float | None = None
    relieved: bool = False
    failing: bool = False
    # Whether the row counts failures that a success would end.
    counted: bool = False
    tripped: str | None = None
    detail: str = ""

    @property
    def has_news(self) -> bool:
        """Whether the issue's row is to be told of something."""
        return (self.failing and self.untold != Streaks()) or self.relieved

    def note(self, outcome: Outcome, domain: str) -> None:
        """Count one outcome; `domain` is the recipient's."""
        if outcome.verdict is Verdict.SENT:
            self.succeeded_at = monotonic()
            if self.failing or self.counted:
                self.here, self.untold, self.failing = Streaks(), Streaks(), False
                self.relieved = self.counted
            return
        seen = _seen(outcome, domain)
        if seen is None:
            return
        reply = outcome.reply
        self._count(seen, f"{reply.code} {reply.text}" if reply else outcome.reason or "")

    def note_composition_failure(self) -> None:
        """Count a mail that could not be written: one reader's values may be odd, three in a row are our fault."""
        self._count(Streaks(composition=1), "The mails of this issue cannot be composed; the workers' log says why.")

    def judge(self, streaks: Streaks) -> None:
        """Trip when these streaks, ours or those of all processes, are too long."""
        self.tripped = self.tripped or streaks.why_stop()

    def _count(self, seen: Streaks, detail: str) -> None:
        self.failing = True
        self.here.add(seen)
        self.untold.add(seen)
        if not self.tripped:
            self.detail = detail
        self.judge(self.here)


def _seen(outcome: Outcome, domain: str) -> Streaks | None:
    """Return what an outcome adds to the streaks; a temporary fault neither adds to them nor ends them."""
    if outcome.verdict is Verdict.RELAY_FAULT:
        return Streaks(relay=1) if outcome.permanent else None
    if outcome.verdict is Verdict.UNCERTAIN:
        return Streaks(uncertain=1)
    about_us = outcome.suppress is Suppress.NEVER and outcome.reason not in ADDRESS_REASONS
    return Streaks(policy=1, domains={domain}) if outcome.verdict is Verdict.BOUNCED and about_us else None
