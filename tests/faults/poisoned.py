"""Settings of workers that one reader's mail kills; given to them as DJANGO_SETTINGS_MODULE, by tests alone.

POISON_ADDRESS is the reader, POISON_KIND what writing the mail does, and POISON_LOG gets a line for each time.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from django.apps import AppConfig

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as COURANTS_APPS
from newsletters.delivery.compose import Mail, Recipient, Template

INSTALLED_APPS = [*COURANTS_APPS, "tests.faults.poisoned.Poison"]
# Address space of a worker process: more than it needs, less than the poison takes.
MOST_BYTES = 4 * 1024**3
BLOCK = 16 * 1024**2
_compose = Template.compose


class Poison(AppConfig):
    """Puts itself before the composing of mails."""

    name = "tests.faults"
    path = str(Path(__file__).parent)

    def ready(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        Template.compose = poisoned  # type: ignore[method-assign, assignment]


def poisoned(template: Template, recipient: Recipient) -> Mail:
    if recipient.address == os.environ["POISON_ADDRESS"]:
        with Path(os.environ["POISON_LOG"]).open("a") as log:
            log.write(f"{os.getpid()}\n")
        if os.environ["POISON_KIND"] == "death":
            os._exit(9)
        hoard = []
        while True:
            hoard.append(bytearray(BLOCK))
    return _compose(template, recipient)
