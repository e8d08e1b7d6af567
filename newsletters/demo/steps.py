"""What the demonstration does, step by step. Each step finds what an earlier run has left."""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass

from accounts import keys
from accounts.models import ApiKey, Membership, Publisher, Role, Scope, User
from newsletters.audience import importing
from newsletters.demo import maildir, sample
from newsletters.models import Import, Issue, Newsletter
from newsletters.publishing import newsletters, senders, sending
from newsletters.publishing.editing import create_issue

PUBLISHER = "Harbour Press"
ADMIN = "admin@example.org"
SENDER = "letters@harbour.example"
SLUG = "harbour-letter"
KEY = "make demo"


@dataclass(frozen=True)
class CaughtCount:
    """What the catcher holds of one issue, counted from its files alone."""

    mails: int
    recipients: int


def prepare_publisher() -> tuple[Publisher, str]:
    """Return the publisher and a fresh password of its admin user."""
    publisher, _ = Publisher.objects.get_or_create(name=PUBLISHER, defaults={"time_zone": "Europe/Lisbon"})
    password = secrets.token_urlsafe(12)
    user = User.objects.filter(email=ADMIN).first()
    if user is None:
        user = User.objects.create_superuser(ADMIN, password, name="Demo admin")
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    Membership.objects.get_or_create(publisher=publisher, user=user, defaults={"role": Role.OWNER})
    return publisher, password


def prepare_key(publisher: Publisher) -> str:
    """Return the text of a fresh API key that may do everything, and revoke the one of the run before."""
    for before in ApiKey.objects.filter(publisher=publisher, name=KEY, revoked_at__isnull=True):
        keys.revoke(before)
    _, text = keys.create_key(publisher, name=KEY, scopes=Scope.values)
    return text


def prepare_newsletter(publisher: Publisher) -> Newsletter:
    """Return the newsletter, its sender being verified."""
    senders.verify(senders.identify(publisher, SENDER).pk)
    found = Newsletter.objects.alive().filter(publisher=publisher, slug=SLUG).first()
    return found or newsletters.create_newsletter(
        publisher,
        name="The Harbour Letter",
        slug=SLUG,
        description="A weekly letter from a harbour that does not exist.",
        from_address=SENDER,
        from_name="The Harbour Letter",
        postal_address="Harbour Press, Quay 7, 1000 Port Example",
    )


def begin_import(newsletter: Newsletter) -> Import:
    """Hand over the sample CSV; a worker reads it."""
    return importing.accept(newsletter, io.BytesIO(sample.readers_csv()), consent_source=sample.CONSENT)


def begin_issue(newsletter: Newsletter) -> Issue:
    """Write the sample issue and start it; workers send it."""
    number = Issue.objects.filter(newsletter=newsletter).count() + 1
    issue = create_issue(
        newsletter,
        subject=f"The Harbour Letter, no. {number}: every letter is accounted for",
        preheader="A tide table for letters, and a recipe for windy evenings.",
        body=sample.issue_body(),
        body_format="markdown",
    )
    sending.send(issue.pk)
    return issue


def count_caught(before: set[str], subject: str) -> CaughtCount:
    """Count the newly caught mails of the issue by reading them, without asking the ledger."""
    heads = [maildir.head(name) for name in maildir.names() if name not in before]
    mine = [mail for mail in heads if mail.in_list and mail.subject == subject]
    return CaughtCount(mails=len(mine), recipients=len({mail.recipient for mail in mine}))
