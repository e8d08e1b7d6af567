"""A name server on a loopback port that knows what a test tells it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL = 60
SILENT = "silent"
LONGEST_QUESTION = 4096
# A text of several strings: one has at most 255 bytes.
STRING = 255

Records = Mapping[tuple[str, str], Sequence[str]]


class NameServer:
    """Answers from `records`, by (name, kind): texts as in a zone file, TXT without its quotes.

    A name with no record at all does not exist (NXDOMAIN). `failing` gives every question that answer code,
    `silent` none. `asked` lists the questions.
    """

    def __init__(self, records: Records, *, failing: dns.rcode.Rcode | None = None, silent: bool = False) -> None:
        self._records = {(name.lower(), kind): list(values) for (name, kind), values in records.items()}
        self._failing = failing
        self._silent = silent
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve, name="name-server", daemon=True)
        self._stopping = threading.Event()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()
        return host, port

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                data, sender = self._socket.recvfrom(LONGEST_QUESTION)
            except TimeoutError:
                continue
            answer = self._answer(dns.message.from_wire(data))
            if not self._silent:
                self._socket.sendto(answer.to_wire(max_size=65_535), sender)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        [asked] = question.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA | dns.flags.RA
        if self._failing is not None:
            answer.set_rcode(self._failing)
        elif not any(known == name or known.endswith(f".{name}") for known, _ in self._records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif values := self._records.get((name, kind)):
            texts = [_quoted(value) for value in values] if kind == "TXT" else values
            answer.answer.append(dns.rrset.from_text_list(asked.name, TTL, "IN", kind, texts))
        return answer


def _quoted(text: str) -> str:
    return " ".join(f'"{text[begin : begin + STRING]}"' for begin in range(0, len(text), STRING))
