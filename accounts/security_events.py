"""What security notices say: a heading and a sentence for each event, and what to do if it was not you.

An event is named by whoever queues the mail; those of django-allauth are called as its templates are. `detail` has
what belongs to it. Where the notice goes to the person it is about (`detail["address"]`), `yours` is what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from accounts.links import reset_page
from accounts.models import AccountMail
from core.mail_text import header_text

LONGEST_VALUE = 200


@dataclass(frozen=True)
class Event:
    """The words for one event, in which {names} stand for what the detail has."""

    heading: str
    sentence: str
    yours: str = ""
    advice: str = (
        "If it was you, there is nothing to do. If it was not, choose a new password at once, which also ends every "
        "session:"
    )
    page: Callable[[], str] | None = reset_page


def _publishers() -> str:
    return f"{settings.BASE_URL}/publishers/"


def _of_publisher(heading: str, sentence: str, yours: str = "") -> Event:
    advice = "If you did not expect this, ask {by}. Owners see all members and API keys of {publisher} here:"
    return Event(heading, sentence, yours, advice, _publishers)


GENERAL = Event(
    "Your account was changed", "Something was changed in your account at {host} that concerns its security."
)
EVENTS: Mapping[str, Event] = {
    "password_changed": Event("Your password was changed", "The password of your account at {host} was changed."),
    "password_reset": Event(
        "Your password was reset",
        "A new password was set for your account at {host}, through a link that was mailed to your address.",
    ),
    "password_set": Event("A password was set", "A password was set for your account at {host}."),
    "email_changed": Event(
        "Your e-mail address was changed",
        "The e-mail address of your account at {host} was changed from {from_email} to {to_email}.",
        # This goes to the old address, which resets no password any more.
        advice="If it was you, there is nothing to do. If it was not, write at once to whoever runs {host}.",
        page=None,
    ),
    "email_confirm": Event(
        "Your e-mail address was verified", "The e-mail address of your account at {host} was verified."
    ),
    "email_deleted": Event(
        "An e-mail address was removed", "The address {deleted_email} was removed from your account at {host}."
    ),
    "totp_activated": Event(
        "An authenticator app was added",
        "From now on your account at {host} asks for the code of an authenticator app at log-in.",
    ),
    "totp_deactivated": Event(
        "Your authenticator app was removed",
        "Your account at {host} no longer asks for the code of an authenticator app at log-in.",
    ),
    "recovery_codes_generated": Event(
        "New recovery codes were made",
        "New recovery codes were made for your account at {host}. The old ones no longer work.",
    ),
    "webauthn_added": Event(
        "A security key was added", "A security key or passkey was added to your account at {host}."
    ),
    "webauthn_removed": Event(
        "A security key was removed", "A security key or passkey was removed from your account at {host}."
    ),
    "new_device": Event(
        "A log-in from a new device",
        "Somebody logged in to your account at {host} from a device that it did not know.",
    ),
    "api_key_created": _of_publisher("An API key was created", "The API key “{key}” of {publisher} was created."),
    "api_key_revoked": _of_publisher("An API key was revoked", "The API key “{key}” of {publisher} was revoked."),
    "role_changed": _of_publisher(
        "A role was changed",
        "The role of {person} ({address}) at {publisher} is now {role}.",
        "Your role at {publisher} is now {role}.",
    ),
    "member_removed": _of_publisher(
        "A member was removed",
        "{person} ({address}) was removed from {publisher}.",
        "You were removed from {publisher}.",
    ),
    "member_left": _of_publisher("A member left", "{person} ({address}) left {publisher}.", "You left {publisher}."),
    "ownership_transferred": _of_publisher(
        "The ownership was transferred",
        "The ownership of {publisher} was transferred to {person} ({address}).",
        "The ownership of {publisher} was transferred to you.",
    ),
    "invitation_accepted": _of_publisher(
        "An invitation was accepted",
        "{person} ({address}) accepted an invitation to {publisher}.",
        "You accepted an invitation to {publisher}.",
    ),
}


class _Words(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"(unknown {name})"


def words(mail: AccountMail) -> dict[str, str]:
    """Return `heading`, `sentence`, `advice` and `link` of a security notice; general ones for an unknown event."""
    detail: dict[str, Any] = mail.detail
    event = EVENTS.get(detail["event"], GENERAL)
    values = _Words({name: shown(value) for name, value in detail.items()})
    values["host"] = urlsplit(settings.BASE_URL).netloc
    values.setdefault("by", "the owners")
    if detail.get("limited") and "role" in detail:
        values["role"] += " of chosen newsletters"
    is_yours = bool(event.yours) and mail.user is not None and detail.get("address") == mail.user.email
    sentence = event.yours if is_yours else event.sentence
    return {
        "heading": event.heading,
        "sentence": sentence.format_map(values),
        "advice": event.advice.format_map(values),
        "link": event.page() if event.page is not None else "",
    }


def shown(value: object) -> str:
    """Return a value as mails show it: on one line, and not for ever."""
    return header_text(str(value))[:LONGEST_VALUE]
