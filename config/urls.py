"""Every URL of the site."""

from django.contrib import admin
from django.urls import include, path

from accounts.doors import specification
from accounts.doors.transactions import whole
from accounts.web.profile import overview, profile
from accounts.web.sessions import end_session_page
from config.api import api

urlpatterns = [
    path("api/v1/", api.urls),
    path("admin/", include("accounts.doors.admin_door")),
    path("admin/", admin.site.urls),
    path("account/", overview, name="account_overview"),
    path("account/profile/", profile, name="account_profile"),
    path("account/sessions/<int:pk>/end", end_session_page, name="session_end"),
    path("account/", include(whole("allauth.urls"))),
    path("account/api/app/v1/", include("newsletters.web.joining")),
    path("account/api/", include(([*specification.urlpatterns, *whole("allauth.headless.urls")], "headless"))),
    path("", include("accounts.web.urls")),
    path("", include("newsletters.web.desk")),
    path("", include("newsletters.web.urls")),
    # Answers 404 unless DEBUG is on.
    path("mail/", include("newsletters.demo.pages")),
]
