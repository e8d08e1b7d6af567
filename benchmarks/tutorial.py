"""(b) The tutorial's app of benchmarks/baseline: 2 processes of 8 threads, each mail its own message and connection."""

from __future__ import annotations

import contextlib
import email.policy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pika
from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from benchmarks import processor
from benchmarks.mail import Mail
from benchmarks.servers import PlainSink, running
from benchmarks.stage import Stage
from tests.services.environment import ROOT
from tests.services.processes import Program, ServiceError, wait_until

WARM_UP = 200
FILLER = "Nothing more was reported, and all that was left out may be read on our site."
LIMIT_SECONDS = 600


def measure(stage: Stage) -> None:
    """Measure from the first message enqueued to the last mail taken."""
    readers = stage.options.baseline_readers
    _forget_messages(stage.rabbitmq.url)
    with running(PlainSink(quit_after=WARM_UP + readers)) as sink:
        content = sink.folder / "content.json"
        content.write_text(json.dumps(content_like(stage.mail)), encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "EMAIL_"))}
        environment |= {
            "BASELINE_BROKER_URL": stage.rabbitmq.url,
            "BASELINE_SMTP_PORT": str(sink.port),
            "BASELINE_CONTENT": str(content),
            "DJANGO_SETTINGS_MODULE": "benchmarks.baseline.settings",
        }
        with _workers(environment, sink.folder) as workers:
            _enqueue(environment, WARM_UP)
            processor.wait_until_quiet(workers.pid)
            stopwatch = processor.Stopwatch({"workers": workers.pid, "broker": stage.rabbitmq.running.pid})
            began = _enqueue(environment, readers)
            try:
                wait_until(lambda: not sink.running.is_running, "the last mail is taken", seconds=LIMIT_SECONDS)
            except ServiceError as error:
                raise ServiceError(f"{error}\n{workers.tail()}") from error
            took, used_by = time.time() - began, stopwatch.used()
    stage.figures.add("baseline_per_s", readers / took)
    for name, used in used_by.items():
        stage.figures.add(f"baseline_cpu_us_{name}", used / readers * 1e6)


def content_like(mail: Mail) -> dict[str, str]:
    """Return subject, text and HTML of a mail, filled up so that Django's mail has as many bytes."""
    parsed = BytesParser(_class=EmailMessage, policy=email.policy.default).parsebytes(mail.sample)
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert text is not None
    assert html is not None
    content = {
        "subject": str(parsed["Subject"]),
        "from": str(parsed["From"]),
        "text": text.get_content(),
        "html": html.get_content(),
        "name": mail.name,
        "address": mail.address,
    }
    missing = len(mail.sample) - django_bytes(content)
    # Each line also costs its line end.
    lines, rest = divmod(max(0, missing), len(FILLER) + 2)
    content["text"] += "\n".join([*[FILLER] * lines, FILLER[:rest]])
    return content


def django_bytes(content: Mapping[str, str]) -> int:
    """Return how long the mail is that `send_mail` makes of the content."""
    if not settings.configured:
        settings.configure(USE_TZ=True)
    made = EmailMultiAlternatives(content["subject"], content["text"], content["from"], [content["address"]])
    made.attach_alternative(content["html"], "text/html")
    return len(made.message().as_bytes().replace(b"\n", b"\r\n"))


@contextlib.contextmanager
def _workers(environment: Mapping[str, str], folder: Path) -> Iterator[Program]:
    command = [sys.executable, "-m", "django", "rundramatiq", "--processes", "2", "--threads", "8"]
    program = Program(command, log=folder / "baseline.log", environment=environment)
    try:
        processor.wait_until_quiet(program.pid)
        yield program
    finally:
        # What is left is a mail that the sink took without a reply.
        program.kill()


def _enqueue(environment: Mapping[str, str], readers: int) -> float:
    command = [sys.executable, "-m", "benchmarks.baseline.enqueue", str(readers)]
    done = subprocess.run(  # noqa: S603  # our own command
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServiceError(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr}")
    return float(done.stdout)


def _forget_messages(url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        for name in ("newsletter", "newsletter.DQ"):
            connection.channel().queue_delete(name)
