"""Freeze an issue: from its start on, only what is stored here goes out."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings

from newsletters.delivery.compose import Purpose, Template
from newsletters.delivery.mime import Facts, build_template
from newsletters.delivery.postcondition import verify
from newsletters.models import Edition, Issue
from newsletters.publishing import rendering


def freeze(issue: Issue, *, started_at: datetime) -> Edition:
    """Store and return the issue's MIME template and its SHA-256.

    `started_at` is aware and becomes the mails' Date. Raises InvalidError for an issue that cannot be
    rendered (`issue_has_no_content` and what `rendering.check` raises) or whose mail would not read back
    as it was meant (`unsafe_message`); nothing is stored then.
    """
    template = template_for(issue, started_at=started_at, purpose=Purpose.ISSUE)
    return Edition.objects.create(issue=issue, template=template.to_bytes(), sha256=template.sha256)


def template_for(issue: Issue, *, started_at: datetime, purpose: Purpose) -> Template:
    """Return the template of an issue or of a proof of it, read back and found to be right."""
    newsletter = issue.newsletter
    rendered = rendering.render(issue)
    facts = Facts(
        purpose=purpose,
        issue_uid=issue.uid,
        newsletter_uid=newsletter.uid,
        publisher_uid=newsletter.publisher.uid,
        newsletter_name=newsletter.name,
        slug=newsletter.slug,
        from_name=newsletter.from_name,
        from_address=newsletter.sender.address,
        reply_to=newsletter.reply_to,
        subject=rendered.subject,
        html=rendered.html,
        text=rendered.text,
        started_at=started_at,
        unsubscribe_base=f"{settings.BASE_URL}/u/",
        unsubscribe_mailbox=settings.UNSUBSCRIBE_MAILBOX,
        bounce_address=settings.BOUNCE_ADDRESS,
    )
    template = build_template(facts)
    verify(template, facts)
    return template
