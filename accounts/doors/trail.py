"""What happens at the doors, on record: an audit entry for each act that concerns an account's security.

Written in the transaction of the act.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.core.exceptions import ValidationError
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from accounts.audit import Actor, record
from accounts.doors.invited import invitation_of
from accounts.models import ActorKind, User
from core.client_address import client_address

# What django-allauth calls its mails, as actions of the audit log.
ACTIONS = {
    "password_changed": "password.changed",
    "password_set": "password.set",
    "password_reset": "password.reset",
    "email_changed": "address.changed",
    "email_deleted": "address.removed",
    "totp_activated": "second_factor.app_added",
    "totp_deactivated": "second_factor.app_removed",
    "webauthn_added": "second_factor.passkey_added",
    "webauthn_removed": "second_factor.passkey_removed",
    "recovery_codes_generated": "second_factor.codes_made",
    "new_device": "session.from_new_device",
}


def note(action: str, user: User, request: HttpRequest, **detail: Any) -> None:
    """Append an entry about an account by whom it belongs to; the entry concerns no single publisher."""
    actor = Actor(ActorKind.USER, user.email, client_address(request))
    _append(action, actor, str(user.pk), detail)


def _append(action: str, actor: Actor, object_id: str, detail: dict[str, Any]) -> None:
    record(action, actor=actor, publisher_id=None, object_type="user", object_id=object_id, detail=detail)


# For a wrong code django-allauth has no method of an adapter.
@receiver(authentication_failed, dispatch_uid="trail")
def note_wrong_code(request: HttpRequest, user: User, authenticator: Authenticator, **_about: Any) -> None:
    """Record a wrong code of a second factor: whoever types it has the password."""
    note("session.refused", user, request, means=[authenticator.type], **_whether_again(request))


def _whether_again(request: HttpRequest) -> dict[str, bool]:
    """Tell a wrong answer within a session, when it is asked for once more, from one at log-in."""
    return {"again": True} if request.user.is_authenticated else {}


class TrailMixin(DefaultAccountAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """Records what the adapter is asked to do or told of."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        saved: User = super().save_user(request, user, form, commit)
        invitation = invitation_of(request)
        note("user.signed_up", saved, request, **({"invitation": invitation.uid} if invitation else {}))
        return saved

    def post_login(self, request: HttpRequest, user: User, **about: Any) -> HttpResponse:
        means = [one.get("type") or one["method"] for one in get_authentication_records(request, user)]
        note("session.started", user, request, means=means)
        response: HttpResponse = super().post_login(request, user, **about)
        return response

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Record a wrong password; for an address without an account take as long, and leave nothing.

        What strangers type must neither fill a log from which nothing is removed nor stay in it.
        """
        address = str(credentials.get("email", ""))
        known = EmailAddress.objects.filter(email=address.lower()).order_by("-verified").first()
        actor = Actor(ActorKind.USER, address, client_address(request))
        detail = {"means": ["password"], **_whether_again(request)}
        with transaction.atomic():
            _append("session.refused", actor, str(known.user_id) if known else "", detail)
            transaction.set_rollback(known is None)
        super().authentication_failed(request, **credentials)

    def validation_error(self, code: str, *args: Any) -> ValidationError:
        """Record a wrong present password where another is chosen: there django-allauth asks no other method."""
        user = context.request.user
        if code == "enter_current_password" and isinstance(user, User):
            note("session.refused", user, context.request, means=["password"], again=True)
        error: ValidationError = super().validation_error(code, *args)
        return error

    def logout(self, request: HttpRequest) -> None:
        if isinstance(request.user, User):
            note("session.ended", request.user, request)
        super().logout(request)

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        confirmed = bool(super().confirm_email(request, email_address))
        if confirmed:
            note("address.verified", email_address.user, request, address=email_address.email)
        return confirmed

    @transaction.atomic
    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        event = template_prefix.rpartition("/")[2]
        detail = {name: str(value) for name, value in (context or {}).items()}
        note(ACTIONS.get(event, f"account.{event}"), user, self.request, **detail)
        super().send_notification_mail(template_prefix, user, context, email)


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """Records sessions that somebody ended in their list."""

    @transaction.atomic
    def end_sessions(self, sessions: Iterable[UserSession]) -> None:
        ended = list(sessions)
        for session in ended:
            note("session.ended_elsewhere", session.user, context.request, ip=session.ip, agent=session.user_agent)
        super().end_sessions(ended)
