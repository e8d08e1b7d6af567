"""Issues: write, read, prove and preview them. Sending has its own file."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from ninja import Status
from pydantic import BaseModel, ConfigDict, Field

from accounts.access import ApiRequest
from accounts.models import Scope
from core.text_types import LEFT_OUT, FilledLine, Line, StrictInput, Text
from newsletters.api import codes, visible
from newsletters.api.contract import ListQuery, Page, StrictQuery, changes_of, contract, listed
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.api.versions import unchanged
from newsletters.models import Issue, Notice
from newsletters.publishing.editing import create_issue, delete_issue, update_issue
from newsletters.publishing.proofing import preview, request_proof

router = Router(tags=["Issues"])

MAX_BODY_LENGTH = 512 * 1024
State = Literal["draft", "scheduled", "sending", "paused", "blocked", "sent", "cancelled"]
BodyFormat = Literal["markdown", "html"]
CHANGE = ("not_found", "nothing_to_change")
PROOF = ("not_found", "issue_already_started", "invalid_address", "address_suppressed", "sender_not_verified")
Subject = Annotated[FilledLine, Field(max_length=255, examples=["What happened this week"])]
Preheader = Annotated[Line, Field(max_length=255, description="What mail programs show beside the subject.")]
Body = Annotated[
    Text,
    Field(
        max_length=MAX_BODY_LENGTH,
        description="Markdown or HTML, at most 512 KB. Merge tags such as "
        '`{{ subscriber.name | default: "reader" }}` are filled in for each reader; unknown ones are refused.',
        examples=['# Hello\n\nDear {{ subscriber.name | default: "reader" }}, it was a quiet week.\n'],
    ),
]


class IssueIn(StrictInput):
    """An issue to write; it starts as a draft."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"subject": "What happened this week", "body": "# Hello\n\nA quiet week.\n"}]}
    )

    subject: Subject
    body: Body = ""
    preheader: Preheader = ""
    body_format: BodyFormat = "markdown"


class IssuePatch(StrictInput):
    """What to change; fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"subject": "What really happened this week"}]})

    subject: Subject = Field(default=LEFT_OUT)
    body: Body = Field(default=LEFT_OUT)
    preheader: Preheader = Field(default=LEFT_OUT)
    body_format: BodyFormat = Field(default=LEFT_OUT)


class IssueSummary(Output):
    """An issue without its body."""

    id: str = Field(examples=["iss_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    newsletter_id: str
    subject: str
    preheader: str
    body_format: BodyFormat
    state: State
    state_reason: str = Field(description="Why it is paused or blocked; empty when a person paused it.")
    state_detail: str
    audience: int = Field(description="Deliveries made so far; complete once `progress` says `fan_out_complete`.")
    scheduled_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    archived_at: datetime | None = Field(description="Since when only the numbers of its deliveries are kept.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Issue) -> IssueSummary:
        return cls.copy_of(row, id=row.uid, newsletter_id=row.newsletter.uid)


class IssueOut(IssueSummary):
    """An issue."""

    body: str

    @classmethod
    def of(cls, row: Issue) -> IssueOut:
        return cls.copy_of(row, id=row.uid, newsletter_id=row.newsletter.uid)


class IssuePage(Page[IssueSummary]):
    """A page of issues, the newest first."""


class IssueQuery(ListQuery):
    state: State | None = Field(default=None, description="Only issues in this state.")


class ProofIn(StrictInput):
    """Who gets a proof."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"addresses": ["editor@example.org"]}]})

    addresses: list[Annotated[FilledLine, Field(max_length=254)]] = Field(min_length=1, max_length=10)


class ProofOut(Output):
    """One proof on its way."""

    id: str = Field(examples=["ntc_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    to_address: str
    state: Literal["queued", "sending", "sent", "failed"]

    @classmethod
    def of(cls, row: Notice) -> ProofOut:
        return cls.copy_of(row, id=row.uid)


class ProofsOut(BaseModel):
    """The proofs that a worker sends."""

    items: list[ProofOut]


class PreviewQuery(BaseModel):
    subscription_id: str | None = Field(
        default=None, description="Whose values to fill in; without it, nobody's: each tag shows its default."
    )


class PreviewOut(Output):
    """An issue as one reader gets it."""

    subject: str
    html: str
    text: str


def find_issue(request: ApiRequest, issue_id: str) -> Issue:
    """Return the caller's issue. Raises NotFoundError."""
    return visible.find(visible.issues(request.auth), "iss", issue_id)


@router.get(
    "/newsletters/{newsletter_id}/issues",
    **contract(Scope.ISSUES_READ, IssuePage, *codes.LIST, "not_found"),
    operation_id="list_issues",
    summary="List a newsletter's issues",
)
def list_issues(request: ApiRequest, newsletter_id: str, query: Annotated[IssueQuery, StrictQuery(...)]) -> IssuePage:
    """The newest first, without their bodies."""
    newsletter = visible.find_newsletter(request.auth, newsletter_id)
    rows = visible.issues(request.auth).filter(newsletter=newsletter).defer("body")
    if query.state:
        rows = rows.filter(state=query.state)
    return listed(request, rows, query, IssuePage, IssueSummary.of)


@router.post(
    "/newsletters/{newsletter_id}/issues",
    **contract(Scope.ISSUES_WRITE, IssueOut, *codes.BODY, *codes.CONTENT, "not_found", status=201),
    operation_id="create_issue",
    summary="Write an issue",
)
def create(request: ApiRequest, newsletter_id: str, body: IssueIn) -> Status[IssueOut]:
    """A draft. Unknown merge tags, links that are neither http, https nor mailto, and the like are refused (422)."""
    newsletter = visible.find_newsletter(request.auth, newsletter_id)
    made = create_issue(newsletter, **body.model_dump(), created_by=request.auth.key.created_by)
    return Status(201, IssueOut.of(visible.issues(request.auth).get(pk=made.pk)))


@router.get(
    "/issues/{issue_id}",
    **contract(Scope.ISSUES_READ, IssueOut, "not_found"),
    operation_id="get_issue",
    summary="Get an issue",
)
def get_issue(request: ApiRequest, issue_id: str) -> IssueOut:
    """One issue with its body."""
    return IssueOut.of(find_issue(request, issue_id))


@router.patch(
    "/issues/{issue_id}",
    **contract(Scope.ISSUES_WRITE, IssueOut, *codes.BODY, *codes.CONTENT, *CHANGE, "issue_not_editable"),
    operation_id="update_issue",
    summary="Change an issue",
)
def update(request: ApiRequest, issue_id: str, body: IssuePatch) -> IssueOut:
    """Until it starts; afterwards 409 `issue_not_editable`."""
    with unchanged(request, lambda: find_issue(request, issue_id), IssueOut.of) as issue:
        update_issue(issue, **changes_of(body))
    return IssueOut.of(find_issue(request, issue_id))


@router.delete(
    "/issues/{issue_id}",
    **contract(Scope.ISSUES_WRITE, None, "not_found", "issue_not_deletable", status=204),
    operation_id="delete_issue",
    summary="Delete a draft",
)
def delete(request: ApiRequest, issue_id: str) -> Status[None]:
    """Only a draft; anything else is 409 `issue_not_deletable`."""
    with unchanged(request, lambda: find_issue(request, issue_id), IssueOut.of) as issue:
        delete_issue(issue)
    return Status(204, None)


@router.post(
    "/issues/{issue_id}/proof",
    **contract(Scope.ISSUES_WRITE, ProofsOut, *codes.BODY, *codes.RENDERED, *PROOF, status=202),
    operation_id="send_proof",
    summary="Send a proof",
)
def send_proof(request: ApiRequest, issue_id: str, body: ProofIn) -> Status[ProofsOut]:
    """A worker mails the issue as it is now to up to 10 addresses. Needs a verified sender."""
    notices = request_proof(find_issue(request, issue_id), body.addresses)
    return Status(202, ProofsOut(items=[ProofOut.of(notice) for notice in notices]))


@router.get(
    "/issues/{issue_id}/preview",
    **contract(Scope.ISSUES_READ, PreviewOut, *codes.QUERY, *codes.RENDERED, "not_found"),
    operation_id="preview_issue",
    summary="Preview an issue",
)
def preview_issue(request: ApiRequest, issue_id: str, query: Annotated[PreviewQuery, StrictQuery(...)]) -> PreviewOut:
    """As a reader would get it; personal links in it are samples that do nothing."""
    issue = find_issue(request, issue_id)
    here = visible.subscriptions(request.auth).filter(newsletter=issue.newsletter)
    reader = visible.find(here, "sub", query.subscription_id) if query.subscription_id is not None else None
    shown = preview(issue, reader)
    return PreviewOut(subject=shown.subject, html=shown.html, text=shown.text)
