"""The contract of the API of accounts, served as the file that `make openapi` wrote.

django-allauth makes it anew for every request, which takes a second, and a package that is needed for nothing else.
"""

from __future__ import annotations

from pathlib import Path

from django.http import FileResponse, HttpRequest
from django.urls import path
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView

FILE = Path(__file__).with_name("openapi.json")


@require_safe
def specification(_request: HttpRequest) -> FileResponse:
    """Return the OpenAPI document of the API below /account/api/."""
    return FileResponse(FILE.open("rb"), content_type="application/vnd.oai.openapi+json")


# Stand before django-allauth's own, which the document's addresses are made with.
urlpatterns = [
    path("openapi.json", specification),
    path("openapi.yaml", RedirectView.as_view(pattern_name="headless:openapi_json")),
]
