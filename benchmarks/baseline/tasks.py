"""The tutorial's actor."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dramatiq
from django.core.mail import send_mail

# The same text and HTML as Courant's mail to one reader, whose name and address are replaced.
CONTENT = json.loads(Path(os.environ["BASELINE_CONTENT"]).read_text(encoding="utf-8"))


def personal(text: str, *, address: str, name: str) -> str:
    """Return a text of the content for another reader."""
    return text.replace(CONTENT["name"], name).replace(CONTENT["address"], address)


@dramatiq.actor(queue_name="newsletter")
def send_newsletter(address: str, name: str) -> None:
    """Send the newsletter to one reader, over a connection of its own."""
    send_mail(
        CONTENT["subject"],
        personal(CONTENT["text"], address=address, name=name),
        CONTENT["from"],
        [address],
        html_message=personal(CONTENT["html"], address=address, name=name),
    )
