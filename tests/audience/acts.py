"""What audience tests do again and again: readers join, and files are imported."""

from __future__ import annotations

import io
from typing import Any

from newsletters.audience import importing
from newsletters.audience.subscribing import subscribe
from newsletters.models import Import, Newsletter, Subscription
from tests import cast

COUNTS = ("added", "already_present", "duplicates", "refused", "invalid")


def join(newsletter: Newsletter, *, confirmed: bool = False, address: str = cast.ADA, **fields: Any) -> Subscription:
    return subscribe(newsletter, address=address, consent_source="a test", confirmed=confirmed, **fields)


def history(subscription: Subscription) -> list[tuple[str, str]]:
    return list(subscription.consent_events.order_by("id").values_list("state", "source"))


def state_of(subscription: Subscription) -> str:
    return Subscription.objects.get(pk=subscription.pk).state


def accept(content: str | bytes, newsletter: Newsletter | None = None) -> Import:
    data = content.encode() if isinstance(content, str) else content
    return importing.accept(newsletter or cast.make_newsletter(), io.BytesIO(data), consent_source="a fair in Leipzig")


def run(accepted: Import) -> Import:
    importing.run(accepted.pk)
    accepted.refresh_from_db()
    return accepted


def counts(finished: Import) -> dict[str, int]:
    return {name: getattr(finished, name) for name in COUNTS if getattr(finished, name)}


def errors(finished: Import) -> list[tuple[int, str]]:
    return list(finished.row_errors.order_by("line").values_list("line", "code"))


def many(count: int, start: int = 0) -> str:
    return "".join(f"reader-{number}@example.org,Reader {number}\n" for number in range(start, start + count))
