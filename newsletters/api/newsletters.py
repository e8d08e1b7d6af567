"""Newsletters: list, create, get, change, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from ninja import Status
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from accounts.access import ApiRequest
from accounts.models import Scope
from core.text_types import LEFT_OUT, FilledLine, Line, StrictInput
from newsletters.api import codes, visible
from newsletters.api.contract import ListQuery, Page, StrictQuery, changes_of, contract, listed
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.api.senders import SenderOut
from newsletters.api.versions import unchanged
from newsletters.models import Newsletter
from newsletters.publishing.newsletters import (
    create_newsletter,
    delete_newsletter,
    hold_to_delete,
    update_newsletter,
)

router = Router(tags=["Newsletters"])

Name = Annotated[FilledLine, Field(max_length=100, description="What readers see.", examples=["The Weekly"])]
Slug = Annotated[
    str,
    Field(
        max_length=64,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$",
        description="Part of addresses: lower-case letters, digits and inner hyphens; unique in your account.",
        examples=["weekly"],
    ),
]
FromAddress = Annotated[
    Line,
    Field(
        max_length=254,
        description="The From address. One that is not verified yet gets a mail with a link to verify it.",
        examples=["news@example.org"],
    ),
]
FromName = Annotated[Line, Field(max_length=100, description="The From name.", examples=["The Gazette"])]
ReplyTo = Annotated[Line, Field(max_length=254, description="Where replies go; empty for the From address.")]
Description = Annotated[Line, Field(max_length=500, description="One or two sentences about it.")]
PostalAddress = Annotated[
    FilledLine,
    Field(
        max_length=300,
        description="The sender's postal address, in the footer of every mail.",
        examples=["1 Printing House Square, London"],
    ),
]
OptIn = Literal["double", "single"]
OnUncertain = Literal["resend", "hold"]
OPT_IN = "Whether readers who subscribe confirm by mail first (`double`)."
ON_UNCERTAIN = (
    "What happens to a mail whose fate is unknown because the link broke after its last byte: `resend` it, at the "
    "risk of a second copy, or `hold` it for a decision."
)
TEXT = ("encoded_word", "only_spaces", "invalid_address")
CHANGE = ("not_found", "nothing_to_change")
EXAMPLE: JsonDict = {
    "name": "The Weekly",
    "slug": "weekly",
    "from_address": "news@example.org",
    "from_name": "The Gazette",
    "postal_address": "1 Printing House Square, London",
}


class NewsletterIn(StrictInput):
    """A newsletter to create."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: Name
    slug: Slug
    from_address: FromAddress
    postal_address: PostalAddress
    from_name: FromName = ""
    reply_to: ReplyTo = ""
    description: Description = ""
    opt_in: OptIn = Field(default="double", description=OPT_IN)
    on_uncertain: OnUncertain = Field(default="resend", description=ON_UNCERTAIN)


class NewsletterPatch(StrictInput):
    """What to change; fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"from_name": "The Gazette, weekly"}]})

    name: Name = Field(default=LEFT_OUT)
    slug: Slug = Field(default=LEFT_OUT)
    from_address: FromAddress = Field(default=LEFT_OUT)
    postal_address: PostalAddress = Field(default=LEFT_OUT)
    from_name: FromName = Field(default=LEFT_OUT)
    reply_to: ReplyTo = Field(default=LEFT_OUT)
    description: Description = Field(default=LEFT_OUT)
    opt_in: OptIn = Field(default=LEFT_OUT, description=OPT_IN)
    on_uncertain: OnUncertain = Field(default=LEFT_OUT, description=ON_UNCERTAIN)


class NewsletterOut(Output):
    """A newsletter."""

    id: str = Field(examples=["nl_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    name: str
    slug: str
    sender: SenderOut
    from_name: str
    reply_to: str
    description: str
    postal_address: str
    opt_in: OptIn
    on_uncertain: OnUncertain
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Newsletter) -> NewsletterOut:
        return cls.copy_of(row, id=row.uid, sender=SenderOut.of(row.sender))


class NewsletterPage(Page[NewsletterOut]):
    """A page of newsletters, the newest first."""


@router.get(
    "/newsletters",
    **contract(Scope.NEWSLETTERS_READ, NewsletterPage, *codes.LIST),
    operation_id="list_newsletters",
    summary="List newsletters",
)
def list_newsletters(request: ApiRequest, query: Annotated[ListQuery, StrictQuery(...)]) -> NewsletterPage:
    """The newest first."""
    return listed(request, visible.newsletters(request.auth), query, NewsletterPage, NewsletterOut.of)


@router.post(
    "/newsletters",
    **contract(
        Scope.NEWSLETTERS_WRITE,
        NewsletterOut,
        *codes.BODY,
        *TEXT,
        "newsletter_slug_taken",
        status=201,
        publisher_wide=True,
    ),
    operation_id="create_newsletter",
    summary="Create a newsletter",
)
def create(request: ApiRequest, body: NewsletterIn) -> Status[NewsletterOut]:
    """Issues can be sent once the From address is verified. A slug in use is 409 `newsletter_slug_taken`."""
    made = create_newsletter(request.auth.publisher, **body.model_dump())
    return Status(201, NewsletterOut.of(visible.newsletters(request.auth).get(pk=made.pk)))


@router.get(
    "/newsletters/{newsletter_id}",
    **contract(Scope.NEWSLETTERS_READ, NewsletterOut, "not_found"),
    operation_id="get_newsletter",
    summary="Get a newsletter",
)
def get_newsletter(request: ApiRequest, newsletter_id: str) -> NewsletterOut:
    """One newsletter with its sender identity."""
    return NewsletterOut.of(visible.find_newsletter(request.auth, newsletter_id))


@router.patch(
    "/newsletters/{newsletter_id}",
    **contract(
        Scope.NEWSLETTERS_WRITE, NewsletterOut, *codes.BODY, *TEXT, *CHANGE, "newsletter_slug_taken", "key_limited"
    ),
    operation_id="update_newsletter",
    summary="Change a newsletter",
)
def update(request: ApiRequest, newsletter_id: str, body: NewsletterPatch) -> NewsletterOut:
    """Only the fields that are sent change. An issue that has started keeps what it started with.

    Sender identities belong to all newsletters: a key that is limited to some cannot choose another From address.
    """
    if "from_address" in body.model_fields_set:
        request.auth.require_publisher()
    with unchanged(
        request, lambda: visible.find_newsletter(request.auth, newsletter_id), NewsletterOut.of
    ) as newsletter:
        return NewsletterOut.of(update_newsletter(newsletter, **changes_of(body)))


@router.delete(
    "/newsletters/{newsletter_id}",
    **contract(Scope.NEWSLETTERS_WRITE, None, "not_found", "newsletter_is_sending", status=204),
    operation_id="delete_newsletter",
    summary="Delete a newsletter",
)
def delete(request: ApiRequest, newsletter_id: str) -> Status[None]:
    """It disappears at once with its subscriptions and issues. 409 `newsletter_is_sending` while one is under way."""
    found = unchanged(
        request, lambda: visible.find_newsletter(request.auth, newsletter_id), NewsletterOut.of, lock=hold_to_delete
    )
    with found as newsletter:
        delete_newsletter(newsletter)
    return Status(204, None)
