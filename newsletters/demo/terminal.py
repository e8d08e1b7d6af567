"""What the demonstration writes: a bar that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TextIO

from newsletters.demo.steps import CaughtCount
from newsletters.publishing.progress import Progress

WIDTH = 30
PLAIN_SECONDS = 1.0
CLOSED = ("sent", "bounced", "expired", "suppressed", "cancelled", "held")
STATES = ("queued", "sending", *CLOSED)


def equation(progress: Progress) -> str:
    """Return the accounting with every state that has somebody in it."""
    parts = [f"{getattr(progress, name):,} {name}" for name in STATES if getattr(progress, name)]
    return f"{progress.audience:,} readers = {' + '.join(parts) or '0'}"


@dataclass
class Screen:
    """Writes lines, and one line that is rewritten where the output is a terminal."""

    out: TextIO
    _shown_at: float = field(default=0.0)
    _is_open: bool = field(default=False)

    def line(self, text: str = "") -> None:
        self.close_bar()
        self.out.write(text + "\n")
        self.out.flush()

    def progress(self, progress: Progress) -> None:
        if not progress.audience:
            return
        done = sum(getattr(progress, name) for name in CLOSED)
        share = done / progress.audience
        if self.out.isatty():
            bar = "█" * round(share * WIDTH) + "░" * (WIDTH - round(share * WIDTH))
            self.out.write(f"\r\x1b[2K{bar} {share:4.0%}  {equation(progress)}")
            self.out.flush()
            self._is_open = True
        elif time.monotonic() - self._shown_at >= PLAIN_SECONDS:
            self._shown_at = time.monotonic()
            self.line(f"{share:4.0%}  {equation(progress)}")

    def close_bar(self) -> None:
        if self._is_open:
            self.out.write("\n")
            self._is_open = False

    def summary(self, progress: Progress, caught: CaughtCount, seconds: float) -> None:
        rate = f"{progress.rate_per_second:,.0f} a second" if progress.rate_per_second else "not measured"
        self.line()
        self.line(f"The issue is {progress.state}.")
        self.line(f"  ledger    {equation(progress)}")
        self.line(f"  catcher   {caught.mails:,} mails to {caught.recipients:,} addresses, counted from its files")
        self.line(f"  uncertain {progress.uncertain:,}")
        self.line(f"  rate      {rate}")
        self.line(f"  time      {seconds:.1f} s from the upload of the list to the last mail")


def shortfall(progress: Progress, caught: CaughtCount) -> str:
    """Return what does not add up, or nothing."""
    if not progress.accounted or progress.queued or progress.sending:
        return f"The ledger does not account for everybody: {equation(progress)}."
    if not progress.audience == progress.sent == caught.recipients:
        return f"{progress.audience} readers, {progress.sent} sent, but {caught.recipients} addresses in the catcher."
    if caught.mails < caught.recipients or caught.mails - caught.recipients > progress.uncertain:
        return f"{caught.mails} mails for {caught.recipients} addresses, with {progress.uncertain} uncertain."
    return ""
