"""What can be done to an issue with one button, each by the function that the API calls too."""

from __future__ import annotations

from accounts.admin import Step
from newsletters.models import Issue, IssueState, Subscription, SubscriptionState
from newsletters.publishing.editing import delete_issue
from newsletters.publishing.sending import cancel, pause, resume, send, unschedule


def active_readers(issue: Issue) -> int:
    """Return how many readers would get the issue if it were sent now."""
    return Subscription.objects.filter(newsletter_id=issue.newsletter_id, state=SubscriptionState.ACTIVE).count()


def _with_readers(issue: Issue) -> str:
    readers = active_readers(issue)
    return f"“{issue.subject}” of {issue.newsletter.name} to {readers:,} {'reader' if readers == 1 else 'readers'}"


def _with_newsletter(issue: Issue) -> str:
    return f"“{issue.subject}” of {issue.newsletter.name}"


STEPS = (
    Step[Issue](
        name="send",
        label="Send…",
        done="sending has begun.",
        run_as=lambda issue, actor: send(issue.pk, actor=actor),
        question="Send now? A mail that has left cannot be called back.",
        describe=_with_readers,
        shown=lambda issue: issue.state in (IssueState.DRAFT, IssueState.SCHEDULED),
    ),
    Step[Issue](
        name="unschedule",
        label="Back to draft",
        done="a draft again.",
        run_as=lambda issue, actor: unschedule(issue.pk, actor=actor),
        shown=lambda issue: issue.started_at is None and issue.state in (IssueState.SCHEDULED, IssueState.BLOCKED),
    ),
    Step[Issue](
        name="pause",
        label="Pause",
        done="paused. Mails that were already in flight still arrive.",
        run_as=lambda issue, actor: pause(issue.pk, actor=actor),
        shown=lambda issue: issue.state == IssueState.SENDING,
    ),
    Step[Issue](
        name="resume",
        label="Resume",
        done="sending again.",
        run_as=lambda issue, actor: resume(issue.pk, actor=actor),
        shown=lambda issue: issue.started_at is not None and issue.state in (IssueState.PAUSED, IssueState.BLOCKED),
    ),
    Step[Issue](
        name="cancel",
        label="Cancel…",
        done="cancelled.",
        run_as=lambda issue, actor: cancel(issue.pk, actor=actor),
        question="Cancel for good? Readers who have not got it yet will not get it.",
        describe=_with_newsletter,
        shown=lambda issue: issue.state in (IssueState.SENDING, IssueState.PAUSED, IssueState.BLOCKED),
        danger=True,
    ),
    Step[Issue](
        name="delete_issue",
        label="Delete…",
        done="deleted.",
        run=delete_issue,
        question="Delete these drafts?",
        describe=_with_newsletter,
        shown=lambda issue: issue.state == IssueState.DRAFT,
        danger=True,
    ),
)
