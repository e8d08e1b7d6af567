"""Write, change and delete issues that have not started."""

from __future__ import annotations

from typing import TypedDict, Unpack

from django.db import transaction
from django.db.models.functions import Now

from accounts.models import User
from core.errors import ConflictError
from newsletters.models import BodyFormat, Issue, IssueState, Newsletter
from newsletters.publishing import rendering

EDITABLE_STATES = (IssueState.DRAFT, IssueState.SCHEDULED)


class Changes(TypedDict, total=False):
    """What may be changed in an issue; what is left out stays."""

    subject: str
    preheader: str
    body: str
    body_format: str


def create_issue(
    newsletter: Newsletter,
    *,
    subject: str,
    preheader: str = "",
    body: str = "",
    body_format: str = BodyFormat.MARKDOWN,
    created_by: User | None = None,
) -> Issue:
    """Return a new draft. Raises InvalidError as `rendering.check` does."""
    subject = subject.strip(" ") or subject
    rendering.check(subject=subject, preheader=preheader, body=body, body_format=body_format)
    return Issue.objects.create(
        newsletter=newsletter,
        subject=subject,
        preheader=preheader,
        body=body,
        body_format=body_format,
        created_by=created_by,
    )


def update_issue(issue: Issue, **changes: Unpack[Changes]) -> Issue:
    """Change a draft or scheduled issue and return it.

    Raises InvalidError as `rendering.check` does, ConflictError `issue_not_editable` once it has started.
    """
    if "subject" in changes:
        changes["subject"] = changes["subject"].strip(" ") or changes["subject"]
    with transaction.atomic():
        # Locked, so that what is checked together is also stored together.
        current = Issue.objects.select_for_update().get(pk=issue.pk)
        if current.state not in EDITABLE_STATES:
            raise _conflict("issue_not_editable", current, "Only draft and scheduled issues can be changed")
        rendering.check(
            subject=changes.get("subject", current.subject),
            preheader=changes.get("preheader", current.preheader),
            body=changes.get("body", current.body),
            body_format=changes.get("body_format", current.body_format),
        )
        if Issue.objects.filter(pk=issue.pk, state__in=EDITABLE_STATES).update(**changes, updated_at=Now()) != 1:
            raise _conflict("issue_not_editable", current, "Only draft and scheduled issues can be changed")
    issue.refresh_from_db()
    return issue


def delete_issue(issue: Issue) -> None:
    """Delete a draft. Raises ConflictError `issue_not_deletable` for any other issue."""
    with transaction.atomic():
        current = Issue.objects.select_for_update().filter(pk=issue.pk).first()
        if current is None:
            return
        if current.state != IssueState.DRAFT:
            raise _conflict("issue_not_deletable", current, "Only drafts can be deleted")
        current.delete()


def _conflict(code: str, issue: Issue, rule: str) -> ConflictError:
    return ConflictError(code, f"{rule}; this issue is {issue.state}.")
