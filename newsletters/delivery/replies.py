"""What a reply of the relay means for a delivery, and when to try again.

Words: RFC 5321 (reply codes, phases) and RFC 3463 (enhanced status codes).
"""

from __future__ import annotations

import enum
import functools
import random
import re
from dataclasses import dataclass

MAX_TEXT = 500
NO_SUCH_MAILBOX = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
MAILBOX_UNABLE = frozenset({"5.2.1", "5.2.2"})
NO_SUCH_MAILBOX_BARE = frozenset({550, 551, 553})
MINUTE, HOUR = 60, 3600
# Seconds before the second, third … attempt: about four days in all (RFC 5321, 4.5.4.1: 4-5 days).
SCHEDULE = (
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    1 * HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    12 * HOUR,
    24 * HOUR,
    24 * HOUR,
    24 * HOUR,
)
SCHEDULE_SECONDS = sum(SCHEDULE)
JITTER = 0.2
SMTPUTF8_NOT_OFFERED = "smtputf8_not_offered"
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class Phase(enum.StrEnum):
    """Where in the SMTP conversation something happened."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"


class Verdict(enum.StrEnum):
    """What an attempt came to."""

    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    UNCERTAIN = "uncertain"
    RELAY_FAULT = "relay_fault"


class Suppress(enum.StrEnum):
    """Whether a bounce also suppresses the address."""

    NEVER = "never"
    NOW = "now"
    AFTER_THREE_ISSUES = "after_three_issues"


@dataclass(frozen=True, slots=True)
class Reply:
    """A relay's reply: its code, the enhanced status code when it gave one, and printable text."""

    code: int
    status: str | None
    text: str

    @property
    def permanent(self) -> bool:
        return 500 <= self.code <= 599  # noqa: PLR2004  # RFC 5321, 4.2.1: 5yz is permanent

    @property
    def positive(self) -> bool:
        return 200 <= self.code <= 299  # noqa: PLR2004  # the range is its own name


# Not frozen: one is made for every mail, and freezing triples the cost.
@dataclass(slots=True)
class Outcome:
    """The verdict on one attempt and the reply it rests on; `reply` is None when the link was cut."""

    verdict: Verdict
    phase: Phase
    reply: Reply | None
    reason: str | None = None
    suppress: Suppress = Suppress.NEVER
    permanent: bool = False


# What a server that knows SMTPUTF8 would say (RFC 6531, 3.5); to one that does not, the mail must not be offered.
_NOT_OFFERED = Reply(553, "5.6.7", "Not tried: the address is beyond ASCII and the relay does not offer SMTPUTF8.")


def smtputf8_not_offered() -> Outcome:
    """Return the outcome for a recipient beyond ASCII where SMTPUTF8 is not offered (RFC 6531, 3.2)."""
    return Outcome(Verdict.BOUNCED, Phase.RCPT, _NOT_OFFERED, SMTPUTF8_NOT_OFFERED)


@functools.lru_cache(maxsize=512)
def read_reply(code: int, raw: bytes) -> Reply:
    """Return a Reply from its code and the text of its lines without the code, joined by spaces.

    Remembers recent ones: a relay answers most mails with the same few words.
    """
    text = _UNPRINTABLE.sub(" ", raw.decode("ascii", "replace")).strip()
    found = _ENHANCED.match(text)
    return Reply(code=code, status=found[1] if found else None, text=text[:MAX_TEXT])


def cut(phase: Phase, reason: str) -> Outcome:
    """Return the outcome of a link that broke, timed out or spoke garbage in this phase.

    Before the final dot nothing can have been accepted; after it nobody knows (RFC 1047).
    """
    if phase is Phase.DOT:
        return Outcome(Verdict.UNCERTAIN, phase, None, reason)
    if phase in (Phase.CONNECT, Phase.MAIL):
        return Outcome(Verdict.RELAY_FAULT, phase, None, reason)
    return Outcome(Verdict.DEFERRED, phase, None, reason)


def classify(phase: Phase, reply: Reply) -> Outcome:
    """Return what a negative reply in a phase means; a positive one at the final dot means sent."""
    if phase is Phase.DOT and reply.positive:
        return Outcome(Verdict.SENT, phase, reply)
    if not 400 <= reply.code <= 599:  # noqa: PLR2004  # neither yes nor no: treat it like a cut link
        return cut(phase, "unexpected_reply")
    if phase in (Phase.CONNECT, Phase.MAIL):
        return Outcome(Verdict.RELAY_FAULT, phase, reply, "relay_refused", permanent=reply.permanent)
    if not reply.permanent:
        return Outcome(Verdict.DEFERRED, phase, reply, "deferred")
    return _bounce(phase, reply)


def _bounce(phase: Phase, reply: Reply) -> Outcome:
    """Tell the reader's mailbox (RCPT only) from everything that is our content or reputation."""
    if phase is Phase.RCPT:
        if reply.status in NO_SUCH_MAILBOX or (reply.status is None and reply.code in NO_SUCH_MAILBOX_BARE):
            return Outcome(Verdict.BOUNCED, phase, reply, "no_such_mailbox", Suppress.NOW)
        if reply.status in MAILBOX_UNABLE:
            return Outcome(Verdict.BOUNCED, phase, reply, "mailbox_unable", Suppress.AFTER_THREE_ISSUES)
    return Outcome(Verdict.BOUNCED, phase, reply, "policy")


def delay_after(attempts: int, *, scale: float = 1.0) -> float | None:
    """Return the seconds to wait after a number of counted attempts (at least 1), or None at the end.

    Jitter of a fifth either way keeps a deferred list from coming back in step.
    """
    if attempts > len(SCHEDULE):
        return None
    return SCHEDULE[attempts - 1] * scale * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # not a secret
