"""Settings, the one URL and the WSGI application of bare Django."""

from __future__ import annotations

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path


def constant(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"items": [], "next": None})


urlpatterns: list[URLPattern] = [path("constant", constant)]

settings.configure(
    SECRET_KEY="no secrets here",  # noqa: S106  # nothing is signed
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    # No middleware, no database, no templates.
    MIDDLEWARE=[],
)
application = get_wsgi_application()
