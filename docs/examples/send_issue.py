"""Send an issue to the readers of a file, and follow it to its end."""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path
from typing import TypeVar

from courant_client import AuthenticatedClient
from courant_client.api.deliveries import list_deliveries
from courant_client.api.imports import create_import, get_import
from courant_client.api.issues import create_issue
from courant_client.api.newsletters import create_newsletter
from courant_client.api.sending import get_progress, send_issue
from courant_client.models import DeliveryPage, ImportOut, IssueIn, IssueOut, NewsletterIn, NewsletterOut, ProgressOut
from courant_client.types import File

T = TypeVar("T")
client = AuthenticatedClient(base_url=os.environ["COURANT_URL"], token=os.environ["COURANT_KEY"])


def expect(kind: type[T], answer: object) -> T:
    """Return the answer if it is of the kind; errors carry a stable code and a sentence."""
    if isinstance(answer, kind):
        return answer
    sys.exit(f"{getattr(answer, 'code', 'no answer')}: {getattr(answer, 'detail', '')}")


def fresh() -> str:
    """Return a key under which a request may be repeated without acting twice."""
    return str(uuid.uuid4())


# 1. A newsletter.
weekly = NewsletterIn(
    name="The Weekly",
    slug="weekly",
    from_address="news@gazette.example",
    from_name="The Gazette",
    postal_address="1 Printing House Square, London",
)
newsletter = expect(NewsletterOut, create_newsletter.sync(client=client, body=weekly, idempotency_key=fresh()))

# 2. Its readers.
with Path(os.environ["COURANT_READERS"]).open("rb") as file:
    made = create_import.sync(
        newsletter.id,
        client=client,
        body=File(file),
        consent_source="sign-up sheet, spring fair",
        idempotency_key=fresh(),
    )
readers = expect(ImportOut, made)
while readers.state in ("queued", "running"):
    time.sleep(0.5)
    readers = expect(ImportOut, get_import.sync(readers.id, client=client))
print(f"{readers.added} readers added, {readers.invalid} rows with an error")

# 3. An issue.
draft = IssueIn(
    subject="What happened this week",
    body='# Hello {{ subscriber.name | default: "reader" }}\n\nA quiet week in {{ subscriber.city }}.\n',
)
issue = expect(IssueOut, create_issue.sync(newsletter.id, client=client, body=draft, idempotency_key=fresh()))

# 4. Send it. After a time-out, repeat the request with the same key: it is sent once.
expect(IssueOut, send_issue.sync(issue.id, client=client, idempotency_key=fresh()))

# 5. Follow it.
while True:
    progress = expect(ProgressOut, get_progress.sync(issue.id, client=client))
    print(f"{progress.state}: {progress.sent} of {progress.audience} sent, {progress.queued} waiting")
    if progress.state not in ("scheduled", "sending"):
        break
    time.sleep(0.5)

# 6. Who got it.
page = expect(DeliveryPage, list_deliveries.sync(issue.id, client=client))
for delivery in page.items:
    print(delivery.address, delivery.state)
