"""Every URL of the site."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from config.api import api

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("api/v1/", api.urls),
    path("admin/", admin.site.urls),
    path("account/", include("allauth.urls")),
    path("account/api/", include("allauth.headless.urls")),
    path("", include("newsletters.web.urls")),
    # Answers 404 unless DEBUG is on.
    path("mail/", include("newsletters.demo.pages")),
]
