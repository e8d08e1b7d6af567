"""The contract of the API of accounts, served as the file that `make openapi` wrote.

django-allauth would make it anew for every request, which takes a second and PyYAML, which a deployment does not have.
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


# By the names that django-allauth gives its own: the document's addresses are made with them.
urlpatterns = [
    path("openapi.json", specification, name="openapi_json"),
    path("openapi.yaml", RedirectView.as_view(pattern_name="headless:openapi_json"), name="openapi_yaml"),
]
