"""What the sign-up form asks for besides e-mail address and password, on the page and in JSON alike."""

from __future__ import annotations

from typing import Any

from allauth.core import context
from allauth.core.internal.httpkit import is_headless_request
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from pydantic_core import PydanticCustomError

from accounts.claims import is_taken
from accounts.doors.invited import invitation_of, open_invitation, remember
from accounts.models import User
from core.text_types import one_line


def check_line(text: str) -> None:
    """Refuse a text that is not one line: names become header lines of mails."""
    try:
        one_line(text)
    except PydanticCustomError as error:
        raise ValidationError(error.message(), code=error.type) from error


def name_field(help_text: str) -> forms.CharField:
    """Return the field for a person's name, which nobody has to give."""
    return forms.CharField(
        max_length=100,
        required=False,
        label="Name",
        help_text=help_text,
        validators=[check_line],
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )


class SignUpFields(forms.Form):
    """The base of django-allauth's sign-up forms (ACCOUNT_SIGNUP_FORM_CLASS).

    A program sends an invitation's token along; a browser has it in its session, from the page that the link of
    the mail leads to.
    """

    name = name_field("What others call you. You can change it at any time.")
    invitation = forms.CharField(
        max_length=200, required=False, help_text="What follows /invitations/ in the link of an invitation."
    )
    field_order = ("email", "name", "password1")
    # Said by django-allauth's form: no account is made then, and the owner of the address is told.
    account_already_exists = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_headless_request(context.request):
            del self.fields["invitation"]
        invitation = invitation_of(context.request)
        if invitation is not None:
            self.initial.setdefault("email", invitation.address)

    def clean_invitation(self) -> str:
        token: str = self.cleaned_data["invitation"]
        if token:
            invitation = open_invitation(token)
            if invitation is None:
                raise ValidationError("This invitation is not open any more, or was never made.", code="no_invitation")
            remember(context.request, invitation)
        return token

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean() or self.cleaned_data
        invitation, address = invitation_of(context.request), cleaned.get("email")
        # For django-allauth a mere request of somebody to change to the address makes it theirs.
        if address and self.account_already_exists:
            self.account_already_exists = is_taken(address)
        other = address and invitation is not None and address.lower() != invitation.address.lower()
        if other and settings.SIGN_UP != "open":
            self.add_error("email", ValidationError("The invitation is for another address.", code="not_invited"))
        return cleaned

    def signup(self, request: HttpRequest, user: User) -> None:
        """Store what django-allauth does not know of."""
        user.name = self.cleaned_data["name"]
        user.save(update_fields=["name"])
