"""One mail transaction after another over a connected, authenticated link, driven by what the relay says.

Libraries raise one exception for a link that broke before the final dot (safe to repeat) and after it
(nobody knows, RFC 1047). Here the phase is known at every moment. MAIL, RCPT and DATA go out in one
write when the relay offers PIPELINING (RFC 2920). Each reply, as it arrives, sets off the next step.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import Outcome, Phase, Reply, Verdict, classify, cut, smtputf8_not_offered
from newsletters.delivery.reply_lines import ReplyLines

# RFC 5321, 4.5.3.2: seconds to wait for each reply. A hasty time-out at the dot makes duplicates.
MAIL_SECONDS, RCPT_SECONDS, DATA_SECONDS, BODY_SECONDS, DOT_SECONDS = 300, 300, 120, 180, 600
RESET_SECONDS = 30
# Not longer than the shortest of these: then the timer never comes after a deadline set since it was armed.
TICK_SECONDS = RESET_SECONDS
DRAIN_POLL_SECONDS = 0.01
# asyncio by itself allocates 256 KiB for each read, which costs more than all else that a mail costs here.
READ_BYTES = 4096
# A relay that ends a connection after a number of mails, or of idle seconds, is not at fault.
CONNECTION_ENDED = "connection_ended"
SERVICE_CLOSING = 421
START_MAIL_INPUT = 354
DOT = b".\r\n"
# Looking a member up in its class costs as much as a step.
_MAIL, _RCPT, _DATA, _BODY, _DOT = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT


class SmtpConnection(asyncio.BufferedProtocol):
    """Delivers one mail at a time. `_step` is what takes the next reply, `_phase` what a cut would mean now."""

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        pipelining: bool,
        smtputf8: bool = False,
        most_mails: int = 0,
        most_seconds: float = 0,
        timeout_scale: float = 1.0,
    ) -> None:
        self._transport = transport
        self._pipelining = pipelining
        self._smtputf8 = smtputf8
        self._scale = timeout_scale
        self._loop = asyncio.get_running_loop()
        self._mails, self._most_mails = 0, most_mails or math.inf
        self._old_at = self._loop.time() + (most_seconds or math.inf)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._lines = ReplyLines()
        self._in_order = True
        self._paused = False
        self._more = False
        self._future: asyncio.Future[Outcome] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._phase = _MAIL
        self._step: Callable[[Reply], None] = self._take_unasked
        self._refusal: Outcome | None = None
        self._rcpt = self._data = b""
        self._dot_written = False
        # The transport below TLS, which has a buffer of its own and no public name.
        self._below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        transport.set_protocol(self)
        # With no buffer of its own, "drained" means that the kernel has every byte. TLS pauses from the limit on,
        # a plain transport above it.
        transport.set_write_buffer_limits(high=0 if self._below is None else 1, low=0)

    @property
    def usable(self) -> bool:
        return self._open and self._mails < self._most_mails and self._loop.time() < self._old_at

    @property
    def _open(self) -> bool:
        return self._in_order and not self._transport.is_closing()

    def close(self) -> None:
        """Say QUIT without waiting for the answer, and close; a mail in flight is given up."""
        if self._future is not None:
            self._leave(self._cut("connection_cut"))
        elif self._open:
            self._transport.write(b"QUIT\r\n")
        self._in_order = False
        self._transport.close()

    async def send(self, mail: Mail) -> Outcome:
        """Attempt one mail. After anything but a clean end the connection is no longer `usable`."""
        if not self._open:
            return self._cut("connection_cut")
        needs_utf8 = not (mail.envelope_sender.isascii() and mail.recipient.isascii())
        if needs_utf8 and not self._smtputf8:
            return smtputf8_not_offered()
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._future = future
        self._begin(mail, " SMTPUTF8" if needs_utf8 else "")
        try:
            return await future
        except asyncio.CancelledError:
            self._leave(self._cut("cancelled"))
            raise

    def _begin(self, mail: Mail, option: str) -> None:
        self._await(_MAIL, self._take_mail, MAIL_SECONDS)
        self._data, self._dot_written = mail.data, False
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS * self._scale, self._tick)
        sender = f"MAIL FROM:<{mail.envelope_sender}>{option}\r\n"
        recipient = f"RCPT TO:<{mail.recipient}>\r\n"
        if self._pipelining:
            self._transport.write(f"{sender}{recipient}DATA\r\n".encode())
        else:
            self._rcpt = recipient.encode()
            self._transport.write(sender.encode())

    # --- what arrives ---------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._future is None:
            self._take_unasked(None)
            return
        replies = self._lines.feed(bytes(self._buffer[:nbytes]))
        left = len(replies)
        for reply in replies:
            left -= 1
            self._more = left > 0 or self._lines.partial
            self._step(reply)

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_order = False
        if self._future is not None:
            self._leave(self._cut("connection_cut"))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._phase is _BODY:
            self._go_on_writing()

    def _tick(self) -> None:
        self._timer = None
        if self._future is None:
            return
        left = self._deadline - self._loop.time()
        if left <= 0:
            self._leave(self._cut("timed_out"))
        else:
            self._timer = self._loop.call_later(min(left, TICK_SECONDS * self._scale), self._tick)

    # --- what each reply sets off -----------------------------------------------------------------------

    def _take_mail(self, reply: Reply) -> None:
        if not reply.positive and self._refused(reply):
            return
        self._await(_RCPT, self._take_rcpt, RCPT_SECONDS)
        if not self._pipelining:
            self._say(self._rcpt)

    def _take_rcpt(self, reply: Reply) -> None:
        if not reply.positive and self._refused(reply):
            return
        self._await(_DATA, self._take_data, DATA_SECONDS)
        if not self._pipelining:
            self._say(b"DATA\r\n")

    def _take_data(self, reply: Reply) -> None:
        if reply.code != START_MAIL_INPUT:
            if not self._refused(reply):
                self._reset()
        elif self._refusal is None:
            self._write_body()
        else:
            # The relay wants a body although it refused the mail: an empty one, never counted.
            self._await(_DATA, self._take_lone_dot, DATA_SECONDS)
            self._say(DOT)

    def _take_lone_dot(self, reply: Reply) -> None:
        if reply.positive or not self._refused(reply):
            self._reset()

    def _take_early(self, reply: Reply) -> None:
        # The relay gave up before the dot: whatever it said, nothing was accepted.
        outcome = cut(_BODY, "connection_cut")
        outcome.reply = reply
        self._leave(outcome)

    def _take_dot(self, reply: Reply) -> None:
        outcome = Outcome(Verdict.SENT, _DOT, reply) if reply.positive else classify(_DOT, reply)
        if reply.code == SERVICE_CLOSING or outcome.verdict is Verdict.UNCERTAIN:
            self._leave(outcome)
        else:
            self._finish(outcome)

    def _take_reset(self, reply: Reply) -> None:
        assert self._refusal is not None
        # A relay that cannot even begin afresh is left.
        if reply.positive:
            self._finish(self._refusal)
        else:
            self._leave(self._refusal)

    def _take_unasked(self, _reply: Reply | None) -> None:
        self._in_order = False
        self._transport.abort()

    def _refused(self, reply: Reply) -> bool:
        """Keep the first refusal. Returns whether the transaction is over with it: no more replies will come."""
        if self._refusal is None:
            self._refusal = classify(self._phase, reply)
            if reply.code == SERVICE_CLOSING and self._phase is _MAIL and self._mails:
                self._refusal.reason = CONNECTION_ENDED
        if reply.code == SERVICE_CLOSING or not 400 <= reply.code <= 599:  # noqa: PLR2004  # neither yes nor no
            self._leave(self._refusal)
            return True
        if not self._pipelining:
            self._reset()
        return not self._pipelining

    # --- what we say ------------------------------------------------------------------------------------

    def _write_body(self) -> None:
        """Write the message, wait until it has left, then the final dot on its own."""
        self._await(_BODY, self._take_early, BODY_SECONDS)
        stuffed = self._data.replace(b"\r\n.", b"\r\n..")
        self._say(b"." + stuffed if stuffed.startswith(b".") else stuffed)
        self._go_on_writing()

    def _go_on_writing(self) -> None:
        """Write the dot once the body has left; from when the dot has left too, a lost reply is uncertain."""
        if self._future is None or self._phase is not _BODY or not self._drained():
            return
        if not self._dot_written:
            self._dot_written = True
            self._transport.write(DOT)
            if not self._drained():
                return
        self._await(_DOT, self._take_dot, DOT_SECONDS)

    def _drained(self) -> bool:
        if self._paused or self._transport.is_closing():
            return False
        if self._below is not None and self._below.get_write_buffer_size():
            # It tells nobody but TLS when it is empty.
            self._loop.call_later(DRAIN_POLL_SECONDS, self._go_on_writing)
            return False
        return True

    def _reset(self) -> None:
        self._await(_DATA, self._take_reset, RESET_SECONDS)
        self._say(b"RSET\r\n")

    def _say(self, command: bytes) -> None:
        """Write, unless the relay has said more than it was asked: its next words would be taken for the answer."""
        if self._more:
            self._leave(self._cut("unexpected_reply"))
        else:
            self._transport.write(command)

    def _await(self, phase: Phase, step: Callable[[Reply], None], seconds: float) -> None:
        self._phase, self._step = phase, step
        self._deadline = self._loop.time() + seconds * self._scale

    def _cut(self, reason: str) -> Outcome:
        """Return what it means that no more replies come."""
        if self._phase is _MAIL and self._mails and reason == "connection_cut":
            reason = CONNECTION_ENDED
        return self._refusal or cut(self._phase, reason)

    def _finish(self, outcome: Outcome) -> None:
        self._mails += 1
        self._phase = _MAIL
        self._refusal = None
        future, self._future = self._future, None
        self._step = self._take_unasked
        if self._more:
            self._in_order = False
        if future is not None and not future.done():
            future.set_result(outcome)

    def _leave(self, outcome: Outcome) -> None:
        """End with this outcome and let nothing more leave: a dot that did would make it a lie."""
        self._in_order = False
        self._transport.abort()
        self._finish(outcome)
