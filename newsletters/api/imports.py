"""Imports: CSV files of readers, streamed in and worked off by a worker."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpResponse
from django.urls import reverse
from ninja import Status
from pydantic import AfterValidator, BaseModel, Field

from accounts.access import ApiRequest
from accounts.models import Scope
from core.strict_json import check_media_type
from core.text_types import not_blank, one_line
from core.uploads import open_body
from newsletters.api import codes, visible
from newsletters.api.contract import ListQuery, OldestFirstQuery, Page, StrictQuery, contract, listed
from newsletters.api.once import answers_once_itself, once
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.audience.import_upload import MAX_BYTES, Upload, checked_upload
from newsletters.audience.importing import store
from newsletters.models import Import, ImportRowError, Newsletter

router = Router(tags=["Imports"])

FILE = (*codes.FILE, "not_found")
CSV_BODY = {
    "content": {
        "text/csv": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "UTF-8, with a header line that names `email`.",
            },
            "example": "email,name,city\nada@example.org,Ada,Porto\n",
        }
    },
    "required": True,
}


class ImportQuery(BaseModel):
    consent_source: Annotated[str, AfterValidator(one_line), AfterValidator(not_blank)] = Field(
        min_length=1,
        max_length=200,
        description="Where these readers gave their consent; goes into the consent log.",
        examples=["sign-up sheet, spring fair"],
    )


class ImportOut(Output):
    """A file of readers and how far its reading has come."""

    id: str = Field(examples=["imp_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    newsletter_id: str
    state: Literal["queued", "running", "done", "failed"]
    consent_source: str
    total: int = Field(description="Rows of the file, without the header.")
    handled: int = Field(description="Rows handled so far.")
    added: int = Field(description="New subscriptions.")
    already_present: int = Field(description="Readers who were there.")
    duplicates: int = Field(description="Addresses that the file repeats.")
    refused: int = Field(description="Readers who left or are suppressed; they are never re-activated.")
    invalid: int = Field(description="Rows with an error, listed by `errors`.")
    failure: str = Field(description="Why it failed, empty otherwise.")
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Import) -> ImportOut:
        return cls.copy_of(row, id=row.uid, newsletter_id=row.newsletter.uid, handled=row.cursor)


class ImportPage(Page[ImportOut]):
    """A page of imports, the newest first."""


class ImportErrorOut(Output):
    """Why one row added nobody."""

    line: int = Field(description="Line of the file, the header being line 1.")
    code: str = Field(examples=["invalid_address"])
    detail: str

    @classmethod
    def of(cls, row: ImportRowError) -> ImportErrorOut:
        return cls.copy_of(row)


class ImportErrorPage(Page[ImportErrorOut]):
    """A page of an import's errors, in the order in which they were found."""


@router.post(
    "/newsletters/{newsletter_id}/imports",
    **contract(Scope.SUBSCRIBERS_CONSENT, ImportOut, *codes.QUERY, *FILE, status=202, requestBody=CSV_BODY),
    operation_id="create_import",
    summary="Import readers from CSV",
)
@answers_once_itself
def create(
    request: ApiRequest,
    response: HttpResponse,
    newsletter_id: str,
    query: Annotated[ImportQuery, StrictQuery(...)],
) -> Any:
    """The file is the body: text/csv in UTF-8, at most 50 MB and 1,000,000 rows, with a column `email`.

    `name` and all other columns become the reader's name and attributes. The file's form is checked before the
    answer (422 names the line); a worker then handles its rows. Follow it at the address in `Location`.
    """
    newsletter = visible.find_newsletter(request.auth, newsletter_id)
    check_media_type(request, "text/csv")
    digest = hashlib.sha256()
    with checked_upload(open_body(request, max_bytes=MAX_BYTES, observe=digest.update)) as upload:

        def effect() -> Status[ImportOut]:
            return _store(request, response, newsletter, upload, consent_source=query.consent_source)

        return once(request, digest.digest(), effect, response=response)


@router.get(
    "/newsletters/{newsletter_id}/imports",
    **contract(Scope.SUBSCRIBERS_READ, ImportPage, *codes.LIST, "not_found"),
    operation_id="list_imports",
    summary="List a newsletter's imports",
)
def list_imports(request: ApiRequest, newsletter_id: str, query: Annotated[ListQuery, StrictQuery(...)]) -> ImportPage:
    """The newest first."""
    newsletter = visible.find_newsletter(request.auth, newsletter_id)
    rows = visible.imports(request.auth).filter(newsletter=newsletter)
    return listed(request, rows, query, ImportPage, ImportOut.of)


@router.get(
    "/imports/{import_id}",
    **contract(Scope.SUBSCRIBERS_READ, ImportOut, "not_found"),
    operation_id="get_import",
    summary="Get an import",
)
def get_import(request: ApiRequest, import_id: str) -> ImportOut:
    """Its counts grow while a worker reads the file."""
    return ImportOut.of(visible.find(visible.imports(request.auth), "imp", import_id))


@router.get(
    "/imports/{import_id}/errors",
    **contract(Scope.SUBSCRIBERS_READ, ImportErrorPage, *codes.LIST, "not_found"),
    operation_id="list_import_errors",
    summary="List an import's errors",
)
def list_import_errors(
    request: ApiRequest, import_id: str, query: Annotated[OldestFirstQuery, StrictQuery(...)]
) -> ImportErrorPage:
    """One entry for each row that added nobody because of an error in it."""
    found = visible.find(visible.imports(request.auth), "imp", import_id)
    rows = ImportRowError.objects.filter(audience_import=found)
    return listed(request, rows, query, ImportErrorPage, ImportErrorOut.of)


def _store(
    request: ApiRequest, response: HttpResponse, newsletter: Newsletter, upload: Upload, *, consent_source: str
) -> Status[ImportOut]:
    made = store(newsletter, upload, consent_source=consent_source, created_by=request.auth.key.created_by)
    response["Location"] = reverse("api-1:get_import", args=[made.uid])
    return Status(202, ImportOut.of(visible.imports(request.auth).get(pk=made.pk)))
