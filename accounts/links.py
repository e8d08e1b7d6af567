"""The links in mails about accounts: each is bound to an address and ends by itself, by use or with the password.

The paths are those of django-allauth below /account/; a worker, which mails them, does not load the pages.
"""

from __future__ import annotations

import hashlib

from allauth.account import app_settings
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.db import transaction

from accounts.models import AccountMail, Invitation, User
from core.tokens import make_token

# Of the token in the link of an invitation.
INVITATION = "invitation"


def verification_link(address: EmailAddress) -> str:
    """Return where its owner says that this address is theirs; good for three days, until that or a new password."""
    return f"{settings.BASE_URL}/account/confirm-email/{EmailConfirmationHMAC(address).key}/"


def reset_link(user: User) -> str:
    """Return where a new password is set; good for an hour, until that, a log-in or a change of address."""
    token = app_settings.PASSWORD_RESET_TOKEN_GENERATOR().make_token(user)
    return f"{settings.BASE_URL}/account/password/reset/key/{user_pk_to_url_str(user)}-{token}/"


def invitation_link(invitation: Invitation) -> str:
    """Return where an invitation is accepted; good as long as its row says."""
    return f"{settings.BASE_URL}/invitations/{make_token(INVITATION, invitation.pk)}"


def log_in_page() -> str:
    """Return where somebody logs in."""
    return f"{settings.BASE_URL}/account/login/"


def reset_page() -> str:
    """Return where somebody asks for a link to set a new password."""
    return f"{settings.BASE_URL}/account/password/reset/"


def password_mark(user: User) -> str:
    """Return 32 characters that another password of this user would change, and that say nothing about it."""
    # What is stored of a password has a random salt. No signing key: links outlive a rotation.
    return hashlib.sha256(user.password.encode()).hexdigest()[:32]


@transaction.atomic
def end_links(user: User) -> None:
    """Make every link worthless that was mailed to this user; to be called when the password is set.

    Links to set a password end with the old one. Those that verify an address name its row, which is replaced.
    """
    for old in EmailAddress.objects.select_for_update().filter(user=user, verified=False):
        primary, email = old.primary, old.email
        # Two rows of one user have neither the same address nor both the first place.
        EmailAddress.objects.filter(pk=old.pk).update(primary=False, email=f"{old.pk}@replaced.invalid")
        new = EmailAddress.objects.create(user=user, email=email, primary=primary, verified=False)
        AccountMail.objects.filter(email_address=old).update(email_address=new)
        EmailAddress.objects.filter(pk=old.pk).delete()
