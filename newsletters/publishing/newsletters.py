"""The journey of a newsletter: creating, changing and deleting one, and removing what a deleted one leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from django.db import IntegrityError, transaction
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.db.models.functions import Now

from accounts.models import Publisher
from core.addresses import canonical
from core.errors import ConflictError, InvalidError, NotFoundError, invalid_field
from newsletters.models import (
    ConsentEvent,
    Delivery,
    Edition,
    Import,
    ImportPart,
    ImportRowError,
    Issue,
    IssueState,
    Newsletter,
    Notice,
    Subscription,
)
from newsletters.publishing import senders
from newsletters.publishing.header_text import check_characters, check_header_text

PURGE_BATCH = 5_000
# Readers of such an issue still wait for their mail.
UNDER_WAY = (IssueState.SENDING, IssueState.PAUSED, IssueState.BLOCKED)
STARTABLE = (IssueState.DRAFT, IssueState.SCHEDULED)
# Both end up in From and List-Id.
HEADER_FIELDS = {"name", "from_name"}
BODY_FIELDS = {"description", "postal_address"}
Pointer = Literal["/from_address", "/reply_to"]


def create_newsletter(publisher: Publisher, **fields: Any) -> Newsletter:
    """Store a newsletter.

    `fields` are columns of Newsletter, with `from_address` in place of `sender`: an address not known yet
    becomes a sender identity and is asked to verify itself. Raises ConflictError `newsletter_slug_taken`
    and InvalidError for addresses and for names that no header may carry.
    """
    try:
        with transaction.atomic():
            return Newsletter.objects.create(publisher=publisher, **_columns(publisher, fields))
    except IntegrityError as error:
        _raise_if_slug_taken(error)
        raise


def update_newsletter(newsletter: Newsletter, **changes: Any) -> Newsletter:
    """Change the given fields and return the newsletter as it is now; an issue under way keeps what was frozen.

    Raises as `create_newsletter` does, and NotFoundError when the newsletter was deleted meanwhile.
    """
    try:
        with transaction.atomic():
            # Before its sender, which is locked to ask for its verification: in the same order by everybody.
            _hold(newsletter)
            columns = _columns(newsletter.publisher, changes)
            alive = Newsletter.objects.alive().filter(pk=newsletter.pk)
            if alive.update(**columns, updated_at=Now()) != 1:
                raise NotFoundError("not_found", "There is no such object.")
    except IntegrityError as error:
        _raise_if_slug_taken(error)
        raise
    return Newsletter.objects.select_related("sender", "publisher").get(pk=newsletter.pk)


@transaction.atomic
def delete_newsletter(newsletter: Newsletter) -> None:
    """Hide a newsletter at once; `purge` removes its rows later. Drafts and scheduled issues are cancelled.

    Raises ConflictError `newsletter_is_sending` while an issue is sending, paused or blocked: its readers
    still wait. Cancel that issue first.
    """
    hold_to_delete(newsletter)
    waiting = Issue.objects.filter(newsletter=OuterRef("pk"), state__in=UNDER_WAY)
    idle = Newsletter.objects.alive().filter(~Exists(waiting), pk=newsletter.pk)
    if idle.update(deleted_at=Now()) == 1:
        Issue.objects.filter(newsletter=newsletter, state__in=STARTABLE).update(state=IssueState.CANCELLED)
    elif Newsletter.objects.alive().filter(pk=newsletter.pk).exists():
        raise ConflictError("newsletter_is_sending", "An issue of this newsletter is under way; cancel it first.")


def hold_to_delete(newsletter: Newsletter) -> None:
    """Take the locks of `delete_newsletter` to the end of the transaction: its unfinished issues, then itself."""
    # A start locks its issue: it comes wholly before this, or wholly after and finds the issue cancelled.
    unfinished = Issue.objects.filter(newsletter=newsletter, state__in=[*STARTABLE, *UNDER_WAY])
    list(unfinished.select_for_update().order_by("pk").values_list("pk", flat=True))
    # Who resends a held row reopens a sent issue under this lock; an UPDATE that waited for it would ask about the
    # issues as they were before it waited.
    _hold(newsletter)


def _hold(newsletter: Newsletter) -> None:
    Newsletter.objects.select_for_update(no_key=True).filter(pk=newsletter.pk).values_list("pk").first()


def purge(newsletter_id: int) -> int:
    """Remove a deleted newsletter's rows in batches of 5,000, each its own transaction; return how many went.

    Subscribers stay: they belong to the publisher. Does nothing for a newsletter that is not deleted, and
    may be killed and repeated at any point.
    """
    if not Newsletter.objects.filter(pk=newsletter_id, deleted_at__isnull=False).exists():
        return 0
    issues = Issue.objects.filter(newsletter=newsletter_id)
    subscriptions = Subscription.objects.filter(newsletter=newsletter_id)
    imports = Import.objects.filter(newsletter=newsletter_id)
    # Children before parents, so that no single DELETE has to cascade over a million rows.
    children: list[QuerySet[Any]] = [
        Notice.objects.filter(issue__newsletter=newsletter_id),
        Notice.objects.filter(subscription__newsletter=newsletter_id),
        Delivery.objects.filter(issue__newsletter=newsletter_id),
        Edition.objects.filter(issue__newsletter=newsletter_id),
        issues,
        ConsentEvent.objects.filter(subscription__newsletter=newsletter_id),
        subscriptions,
        ImportPart.objects.filter(audience_import__newsletter=newsletter_id),
        ImportRowError.objects.filter(audience_import__newsletter=newsletter_id),
        imports,
    ]
    removed = sum(_delete_in_batches(rows) for rows in children)
    return removed + Newsletter.objects.filter(pk=newsletter_id, deleted_at__isnull=False).delete()[0]


def due_for_purge(limit: int) -> list[int]:
    """Return the ids of up to `limit` deleted newsletters whose rows are still there, for the clock."""
    return list(Newsletter.objects.filter(deleted_at__isnull=False).order_by("pk").values_list("pk", flat=True)[:limit])


def _delete_in_batches(rows: QuerySet[Any]) -> int:
    model: type[Model] = rows.model
    removed = 0
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:PURGE_BATCH]):
        removed += model._base_manager.filter(pk__in=batch)._raw_delete("default")  # noqa: SLF001  # deletes by key alone
    return removed


def _columns(publisher: Publisher, fields: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(fields)
    for name in HEADER_FIELDS & columns.keys():
        check_header_text(f"/{name}", columns[name], longest=100)
    for name in BODY_FIELDS & columns.keys():
        check_characters(f"/{name}", columns[name], lines=True)
    if "from_address" in columns:
        address = _checked("/from_address", columns.pop("from_address"))
        columns["sender"] = senders.identify(publisher, address)
        # Does nothing for an address that may send, or was asked a moment ago.
        senders.request_verification(columns["sender"])
    if columns.get("reply_to"):
        columns["reply_to"] = _checked("/reply_to", columns["reply_to"])
    return columns


def _checked(pointer: Pointer, address: str) -> str:
    """Return the canonical address, naming our own field in the error."""
    try:
        return canonical(address).address
    except InvalidError as error:
        raise invalid_field(pointer, error.code, error.detail) from error


def _raise_if_slug_taken(error: IntegrityError) -> None:
    if "slug" in str(error):
        raise ConflictError("newsletter_slug_taken", "Another newsletter of this publisher has this slug.") from error
