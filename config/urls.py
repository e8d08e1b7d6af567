"""Every URL of the site."""

from django.contrib import admin
from django.urls import path

from core.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("admin/", admin.site.urls),
]
