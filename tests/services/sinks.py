"""Mail servers that tests send to: our own scripted sink and Postfix's, an independent witness."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.processes import Program, Service, answers, find_program


@dataclass(frozen=True)
class SunkMail:
    """One mail that the sink took responsibility for."""

    message_id: str
    sender: str
    recipient: str
    sha256: str
    bare_newlines: bool
    replied: bool
    data: bytes


class SmtpSink(Service):
    """Our sink in a process of its own; `tests/services/smtp_sink.py` tells what a script may say."""

    name = "smtp-sink"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options

    @property
    def url(self) -> str:
        """The EMAIL_URL of the sink."""
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = Path(__file__).with_name("smtp_sink.py")
        command = [sys.executable, str(program), str(self.port), str(self.folder), *self._options]
        self.program = Program(command, log=self.folder / "smtp-sink.log", environment=os.environ)
        self.program.wait_ready(lambda: answers(self.port), seconds=120)

    def script(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Say what happens to whom from now on; an empty script makes everybody ordinary again."""
        fresh = self.folder / "script.new"
        fresh.write_text(json.dumps(entries))
        fresh.replace(self.folder / "script.json")

    def mails(self) -> list[SunkMail]:
        """Return every mail taken so far, in order; one with several recipients counts for each."""
        found = []
        # A line that is being written has no line end yet.
        for text in self._ledger.read_bytes().split(b"\n")[:-1]:
            line = json.loads(text)
            data = base64.b64decode(line.pop("data"))
            facts = {name: line[name] for name in ("message_id", "sender", "sha256", "bare_newlines", "replied")}
            found += [SunkMail(recipient=recipient, data=data, **facts) for recipient in line["recipients"]]
        return found

    def count(self) -> int:
        """Return how many mails were taken."""
        return self._ledger.read_bytes().count(b"\n")

    def connections(self) -> int:
        """Return how many connections were ever made to it."""
        return (self.folder / "connections").stat().st_size

    def clear(self) -> None:
        """Forget all mails and the script."""
        os.truncate(self._ledger, 0)
        self.script({})

    @property
    def _ledger(self) -> Path:
        return self.folder / "ledger.jsonl"


class PostfixSink(Service):
    """Postfix's `smtp-sink`, which is fast and writes each mail to a file, envelope first."""

    name = "postfix-sink"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options
        self._mails = self.folder / "mails"
        self._mails.mkdir()
        # It gives up root's rights and writes as nobody.
        self.folder.chmod(0o755)
        self._mails.chmod(0o777)

    @property
    def url(self) -> str:
        """The EMAIL_URL of the sink."""
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [find_program("smtp-sink", "postfix"), "-c", "-d", f"{self._mails}/%s.", *self._options]
        command += ["-u", "nobody"] if os.geteuid() == 0 else []
        self.program = Program(
            [*command, f"127.0.0.1:{self.port}", "1024"], log=self.folder / "smtp-sink.log", environment=os.environ
        )
        self.program.wait_ready(lambda: answers(self.port), seconds=120)

    def mails(self) -> list[bytes]:
        """Return the files as Postfix wrote them, each with X-Mail-Args and X-Rcpt-Args lines on top."""
        return [path.read_bytes() for path in sorted(self._mails.iterdir())]
