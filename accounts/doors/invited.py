"""Who comes with an invitation: the session remembers it from the landing page until it is accepted.

Only its id is kept: whether it still stands is asked each time, since an owner may withdraw it meanwhile.
"""

from __future__ import annotations

from django.db.models.functions import Now
from django.http import HttpRequest

from accounts.claims import forget_requests_for
from accounts.links import INVITATION
from accounts.models import Invitation
from core.tokens import InvalidTokenError, open_token

SESSION_KEY = "invitation"


def remember(request: HttpRequest, invitation: Invitation) -> None:
    """Keep the invitation that a visitor came with, in place of an earlier one.

    Who has its link can read the mailbox: others who only ask to change to that address no longer keep them out.
    """
    request.session[SESSION_KEY] = invitation.pk
    forget_requests_for(invitation.address)


def forget(request: HttpRequest) -> None:
    """Keep none any more, such as after it was accepted."""
    request.session.pop(SESSION_KEY, None)


def invitation_of(request: HttpRequest) -> Invitation | None:
    """Return the invitation that the visitor came with, while it can be accepted."""
    pk = request.session.get(SESSION_KEY)
    return None if pk is None else standing(pk)


def open_invitation(token: str) -> Invitation | None:
    """Return the invitation that a link's token names, while it can be accepted."""
    try:
        return standing(open_token(INVITATION, token).pk)
    except InvalidTokenError:
        return None


def standing(pk: int) -> Invitation | None:
    """Return the invitation unless it was accepted or withdrawn, or is too old."""
    rows = Invitation.objects.select_related("publisher").filter(pk=pk, expires_at__gt=Now())
    return rows.filter(accepted_at__isnull=True, withdrawn_at__isnull=True).first()
