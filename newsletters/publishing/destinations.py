"""What a person does to destinations: limits a domain before trouble, reopens it, forgets it."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.models import Publisher
from core.addresses import canonical
from core.errors import ConflictError, InvalidError, NotFoundError, invalid_field
from newsletters.models import Destination

MOST_CONCURRENCY = 1_000


def limit_destination(publisher: Publisher, *, domain: str, max_concurrency: int | None) -> Destination:
    """Store how many mails may be under way to a domain at once; None for the default.

    Raises InvalidError `invalid_domain` and `out_of_range`, and ConflictError `destination_exists`.
    """
    domain = canonical_domain(domain)
    _check_limit(max_concurrency)
    try:
        with transaction.atomic():
            return Destination.objects.create(publisher=publisher, domain=domain, max_concurrency=max_concurrency)
    except IntegrityError as error:
        there = Destination.objects.filter(publisher=publisher, domain=domain).first()
        if there is None:
            raise
        raise ConflictError("destination_exists", f"{domain} is listed already, as {there.uid}.") from error


def update_destination(destination: Destination, **changes: Any) -> None:
    """Change `max_concurrency`, open it now with `closed=False`, or both. Workers follow within seconds.

    Raises InvalidError `out_of_range`, and NotFoundError when it was forgotten meanwhile.
    """
    columns: dict[str, Any] = {}
    if "max_concurrency" in changes:
        _check_limit(changes["max_concurrency"])
        columns["max_concurrency"] = changes["max_concurrency"]
    if "closed" in changes:
        columns |= {"closed_until": None, "closed_seconds": 0}
    if Destination.objects.filter(pk=destination.pk).update(**columns, updated_at=Now()) != 1:
        raise NotFoundError("not_found", "There is no such object.")


def reopen(destination: Destination) -> None:
    """Open it now; its next closure is the shortest again."""
    update_destination(destination, closed=False)


def forget_destination(destination: Destination) -> None:
    """Delete what is known of it: it is open, unlimited, and listed again after its next closure."""
    Destination.objects.filter(pk=destination.pk).delete()


def canonical_domain(domain: str) -> str:
    """Return a domain as the addresses of readers have it: A-labels in lower case. Raises InvalidError."""
    try:
        if "@" not in domain:
            return canonical(f"a@{domain}").address.removeprefix("a@")
    except InvalidError:
        pass
    raise invalid_field(
        "/domain", "invalid_domain", "This is not the domain of an address that mail can reach, such as example.org."
    )


def _check_limit(max_concurrency: int | None) -> None:
    if max_concurrency is not None and not 1 <= max_concurrency <= MOST_CONCURRENCY:
        raise invalid_field("/max_concurrency", "out_of_range", f"From 1 to {MOST_CONCURRENCY:,} mails at once.")
