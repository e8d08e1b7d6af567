"""The admin's way in and out is everybody's: one log-in, with its limits, second factors and audit entries."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.account.views import logout as log_out_view
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from accounts.doors.transactions import in_one_transaction


@never_cache
def log_in(request: HttpRequest) -> HttpResponse:
    """Lead to the log-in page, and from there on to the admin page that was asked for."""
    wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
    # Only this site's own pages: whoever made the link may want people to land elsewhere.
    if not url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        wanted = reverse("admin:index")
    if request.user.is_authenticated:
        if not (request.user.is_active and request.user.is_staff):
            raise PermissionDenied
        return HttpResponseRedirect(wanted)
    return HttpResponseRedirect(f"{reverse('account_login')}?{urlencode({REDIRECT_FIELD_NAME: wanted})}")


# django-allauth's own pages in the admin show session tokens, and change what goes by its rules alone.
admin.site.unregister([Authenticator, EmailAddress, UserSession])

# Stand before the admin's own, whose names lead here.
urlpatterns = [
    path("login/", log_in),
    path("logout/", in_one_transaction(log_out_view)),
    path("password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("password_change/done/", RedirectView.as_view(pattern_name="account_change_password")),
]
