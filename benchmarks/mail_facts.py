"""Facts that only the product itself knows, as JSON: `python -m benchmarks.mail_facts ISSUE` in its environment.

The average number of bytes of an issue's mails (DATA, as composed for up to 1,000 of its readers), one of
them as a sample, and the settings in force.
"""

from __future__ import annotations

import json
import sys

import django

django.setup()

from django.conf import settings  # noqa: E402  # models need the settings first
from django.utils.timezone import now  # noqa: E402  # after django.setup()

from newsletters.delivery.compose import Purpose, Recipient  # noqa: E402  # after django.setup()
from newsletters.models import Issue, Subscription  # noqa: E402  # after django.setup()
from newsletters.publishing.freezing import template_for  # noqa: E402  # after django.setup()

SAMPLE = 1_000


def main(issue_id: int) -> None:
    """Print the facts about one issue."""
    issue = Issue.objects.get(pk=issue_id)
    template = template_for(issue, started_at=now(), purpose=Purpose.ISSUE)
    readers = Subscription.objects.filter(newsletter=issue.newsletter_id).order_by("pk")[:SAMPLE]
    values = readers.values_list("pk", "subscriber__address", "subscriber__name")
    mails = [
        template.compose(Recipient(100_000 + pk, pk, address, {"subscriber.name": name}))
        for pk, address, name in values
    ]
    facts = {
        "bytes": sum(len(mail.data) for mail in mails) / len(mails),
        "sample": mails[0].data.decode("ascii"),
        "sender": mails[0].envelope_sender,
        "address": values[0][1],
        "name": values[0][2],
        "processes": settings.WORKER_PROCESSES,
        "threads": settings.WORKER_THREADS,
        "lanes": settings.DELIVERY_LANES,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(int(sys.argv[1]))
