"""Many readers in one request, each with its own outcome."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from accounts.access import ApiRequest
from accounts.models import Scope
from core.text_types import FilledLine, StrictInput
from newsletters.api import codes, visible
from newsletters.api.contract import contract
from newsletters.api.router import Router
from newsletters.api.subscribers import Scalar
from newsletters.api.subscriptions import CONSENT, State
from newsletters.audience.adding import MOST_READERS, Added, Candidate, add_many

router = Router(tags=["Subscriptions"])

Refusal = Literal[
    "invalid_address",
    "too_long",
    "control_character",
    "too_many_attributes",
    "invalid_attribute_name",
    "invalid_attribute_value",
    "reader_unsubscribed",
]


class BatchReader(StrictInput):
    """One reader. What is wrong with a value refuses this row alone; a wrong type refuses the request."""

    address: str = Field(description="The reader's address.", examples=["ada@example.org"])
    name: str = Field(default="", description="The reader's name, at most 100 characters.", examples=["Ada"])
    attributes: dict[str, Scalar] = Field(
        default={}, description="Values for merge tags, as in `create_subscription`.", examples=[{"city": "Porto"}]
    )


class BatchIn(StrictInput):
    """Readers to add to a newsletter."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"readers": [{"address": "ada@example.org", "name": "Ada"}, {"address": "boris@example.org"}]}]
        }
    )

    # Only the first reader with a wrong type is told of: a body can have 200,000 errors, which take seconds to list.
    readers: list[BatchReader] = Field(
        min_length=1, max_length=MOST_READERS, fail_fast=True, description=f"At most {MOST_READERS:,} readers."
    )
    consent_source: FilledLine | None = Field(default=None, max_length=200, description=CONSENT)


class BatchRow(BaseModel):
    """What became of one reader of the request."""

    index: int = Field(description="Its place in `readers`, from 0 on.", examples=[0])
    status: Literal["created", "existing", "refused"] = Field(
        description="`existing` also for the second row with an address."
    )
    subscription_id: str | None = Field(description="Id of the subscription; null when refused.")
    state: State | None = Field(description="State of the subscription; null when refused.")
    code: Refusal | None = Field(description="Why it was refused; null otherwise.")
    detail: str | None = Field(description="The same in a sentence for people.", examples=[None])

    @classmethod
    def of(cls, index: int, row: Added) -> BatchRow:
        place, error = row.subscription, row.error
        facts: dict[str, Any] = {"index": index, "subscription_id": None, "state": None, "code": None, "detail": None}
        if error is not None:
            facts |= {"status": "refused", "code": error.code, "detail": error.detail}
        elif place is not None:
            facts |= {"status": "created" if row.is_new else "existing"}
            facts |= {"subscription_id": place.uid, "state": str(place.state)}
        return cls(**facts)


class BatchOut(BaseModel):
    """What became of each reader, in the order of the request."""

    created: int = Field(description="Readers who were not in the newsletter.", examples=[2])
    existing: int = Field(description="Readers who were.", examples=[0])
    refused: int = Field(description="Rows that added nobody.", examples=[0])
    rows: list[BatchRow] = Field(description="One entry for each reader of the request.")

    @classmethod
    def of(cls, outcomes: list[Added]) -> BatchOut:
        rows = [BatchRow.of(index, row) for index, row in enumerate(outcomes)]
        counts = {status: sum(row.status == status for row in rows) for status in ("created", "existing", "refused")}
        return cls(rows=rows, **counts)


@router.post(
    "/newsletters/{newsletter_id}/subscriptions/batch",
    **contract(
        Scope.SUBSCRIBERS_WRITE, BatchOut, *codes.BODY, "not_found", "invalid_consent_source", "subscription_changed"
    ),
    operation_id="create_subscriptions",
    summary="Add many readers",
)
def create_many(request: ApiRequest, newsletter_id: str, body: BatchIn) -> BatchOut:
    """Up to 1,000, each as `create_subscription` would add it, in one transaction; a refused row keeps no other out.

    With `consent_source` they are active at once; without it each new one gets a mail with a link to confirm. For
    more readers than fit, or a file, see `create_import`.
    """
    if body.consent_source is not None:
        request.auth.require(Scope.SUBSCRIBERS_CONSENT)
    newsletter = visible.find_newsletter(request.auth, newsletter_id)
    candidates = [Candidate(one.address, one.name, one.attributes) for one in body.readers]
    stated = body.consent_source
    return BatchOut.of(add_many(newsletter, candidates, consent_source=stated or "API", confirmed=stated is not None))
