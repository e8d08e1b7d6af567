"""From the bytes of the wire to SMTP replies, wherever the network has cut them (RFC 5321, 4.2.1)."""

from __future__ import annotations

import functools
import re

from newsletters.delivery.replies import Reply, read_reply

MAX_REPLY_BYTES = 65_536
# Segments longer than this are not worth remembering.
SHORT_SEGMENT = 512
GARBAGE = Reply(code=0, status=None, text="The relay did not speak SMTP.")
_LINE = re.compile(rb"([2-5]\d\d)([ -])?(.*)", re.DOTALL)


class ReplyLines:
    """Turns segments into replies. `partial` tells whether a reply has begun and not ended."""

    def __init__(self) -> None:
        self.partial = False
        self._rest = b""
        self._texts: list[bytes] = []
        self._size = 0

    def feed(self, segment: bytes) -> tuple[Reply, ...]:
        """Return the replies that this segment completes; GARBAGE for what is none."""
        if not self.partial and len(segment) <= SHORT_SEGMENT:
            replies = _whole_replies(segment)
            if replies is not None:
                return replies
        return self._assemble(segment)

    def _assemble(self, segment: bytes) -> tuple[Reply, ...]:
        replies = []
        *lines, self._rest = (self._rest + segment).split(b"\n")
        for line in lines:
            found = _LINE.fullmatch(line.rstrip(b"\r"))
            if found is None:
                replies.append(GARBAGE)
                continue
            self._texts.append(found[3])
            self._size += len(line)
            if found[2] != b"-":
                replies.append(read_reply(int(found[1]), b" ".join(self._texts)))
                self._texts, self._size = [], 0
        if self._size + len(self._rest) + 64 * len(self._texts) > MAX_REPLY_BYTES:
            replies.append(GARBAGE)
        self.partial = bool(self._rest or self._texts)
        return tuple(replies)


@functools.lru_cache(maxsize=512)
def _whole_replies(segment: bytes) -> tuple[Reply, ...] | None:
    """Return the replies of a segment that ends where a reply ends, None for any other.

    Remembers recent ones: a relay answers most mails with the same few words.
    """
    lines = ReplyLines()
    replies = lines._assemble(segment)  # noqa: SLF001  # the same class's own slow way
    return None if lines.partial else replies
