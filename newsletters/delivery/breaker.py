"""The breaker: stops an issue when its mails fail for reasons that are not the readers'."""

from __future__ import annotations

from dataclasses import dataclass, field

from newsletters.delivery.replies import Outcome, Suppress, Verdict

PERMANENT_RELAY_FAULTS = 5
POLICY_REFUSALS = 5
POLICY_DOMAINS = 2
UNCERTAIN_IN_A_ROW = 5
COMPOSITION_FAILURES = 3
COMPOSITION_FAILED = "composition_failed"


@dataclass
class Breaker:
    """Counts failures in a row for one issue in one process; `tripped` is why it must stop.

    At most 20 attempts may be spent on a relay that refuses (two processes of five each stay below);
    five policy refusals over two domains mean our content or reputation, not the readers' mailboxes.
    """

    permanent: int = 0
    policy: int = 0
    policy_domains: set[str] = field(default_factory=set)
    uncertain: int = 0
    composition: int = 0
    tripped: str | None = None
    detail: str = ""

    def note(self, outcome: Outcome, domain: str) -> None:
        """Count one outcome; `domain` is the recipient's."""
        if outcome.verdict is Verdict.SENT:
            self.permanent = self.policy = self.uncertain = self.composition = 0
            self.policy_domains.clear()
            return
        if outcome.verdict is Verdict.RELAY_FAULT:
            self.permanent = self.permanent + 1 if outcome.permanent else 0
        elif outcome.verdict is Verdict.UNCERTAIN:
            self.uncertain += 1
        elif outcome.verdict is Verdict.BOUNCED and outcome.suppress is Suppress.NEVER:
            self.policy += 1
            self.policy_domains.add(domain)
        self._judge(outcome)

    def note_composition_failure(self) -> None:
        """Count a mail that could not be written: one reader's values may be odd, three in a row are our fault."""
        self.composition += 1
        if self.composition >= COMPOSITION_FAILURES:
            self.tripped = COMPOSITION_FAILED
            self.detail = "The mails of this issue cannot be composed; the workers' log says why."

    def _judge(self, outcome: Outcome) -> None:
        if self.permanent >= PERMANENT_RELAY_FAULTS:
            self._trip("relay_refused", outcome)
        elif self.policy >= POLICY_REFUSALS and len(self.policy_domains) >= POLICY_DOMAINS:
            self._trip("policy_refusals", outcome)
        elif self.uncertain >= UNCERTAIN_IN_A_ROW:
            self._trip("uncertain_outcomes", outcome)

    def _trip(self, reason: str, outcome: Outcome) -> None:
        self.tripped = reason
        reply = outcome.reply
        self.detail = f"{reply.code} {reply.text}" if reply else outcome.reason or ""
