"""Accept an invitation by program: the operation that django-allauth's API for apps has not."""

from __future__ import annotations

from typing import Any

from allauth.headless.base.views import AuthenticatedAPIView
from allauth.headless.constants import Client
from allauth.headless.internal.restkit import inputs
from allauth.headless.internal.restkit.response import APIResponse
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import path

from accounts.audit import person
from accounts.doors.invited import open_invitation
from accounts.doors.json_only import answer_error
from accounts.doors.transactions import in_one_transaction
from accounts.models import Invitation
from core.errors import CourantError
from newsletters.publishing.members import accept


class _Token(inputs.Input):  # type: ignore[misc]  # django-allauth ships no types
    invitation = inputs.CharField(max_length=200)

    def clean_invitation(self) -> Invitation:
        invitation = open_invitation(self.cleaned_data["invitation"])
        if invitation is None:
            raise ValidationError("This invitation is not open any more, or was never made.", code="no_invitation")
        return invitation


class AcceptInvitationView(AuthenticatedAPIView):  # type: ignore[misc]  # as above
    """Make a member of whom an invitation is for."""

    input_class = _Token
    input: _Token

    def post(self, request: HttpRequest, *_args: Any, **_kwargs: Any) -> HttpResponse:
        assert request.user.is_authenticated
        try:
            membership = accept(self.input.cleaned_data["invitation"], by=request.user, actor=person(request))
        except CourantError as error:
            return answer_error(error.status, error.code, error.detail)
        publisher = {"id": membership.publisher.uid, "name": membership.publisher.name}
        data = {"publisher": publisher, "role": membership.role, "limited": membership.limited}
        response: HttpResponse = APIResponse(request, data=data)
        return response


urlpatterns = [
    path("account/invitations", in_one_transaction(AcceptInvitationView.as_api_view(client=Client.APP))),
]
