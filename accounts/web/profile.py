"""`/account/`: what a person's account is made of, and the name that goes with it."""

from __future__ import annotations

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.doors.forms import name_field
from accounts.models import User


class NameForm(forms.Form):
    """What others call a person."""

    name = name_field("What others call you, in lists of members and in mails. Without one they see your address.")


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """Show the parts of the account, each with the way to change it."""
    user = request.user
    context = {
        "kinds": set(Authenticator.objects.filter(user_id=user.pk).values_list("type", flat=True)),
        "protected": get_adapter().is_mfa_enabled(user),
        "sessions": len(UserSession.objects.purge_and_list(user)),
    }
    return render(request, "account/overview.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """Show the name, or change it."""
    user = request.user
    assert isinstance(user, User)
    form = NameForm(request.POST or None, initial={"name": user.name})
    if request.method == "POST" and form.is_valid():
        User.objects.filter(pk=user.pk).update(name=form.cleaned_data["name"])
        messages.success(request, "Your name is changed.")
        return redirect("account_overview")
    return render(request, "account/profile.html", {"form": form})
