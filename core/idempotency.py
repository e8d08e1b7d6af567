"""`Idempotency-Key`: a repeated request gets the first one's answer, and its effect happens once.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from core.errors import BadRequestError, InvalidError
from core.models import IdempotencyRecord

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
KEPT_FOR = timedelta(hours=48)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it is kept: status, JSON body and own headers; `replayed` when it was given before."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    replayed: bool = False


def check_key(key: str | None) -> str:
    """Return a usable key. Raises BadRequestError `idempotency_key_required` or `invalid_idempotency_key`."""
    if key is None:
        raise BadRequestError(
            "idempotency_key_required",
            f"Send a fresh random value, such as a UUID, in the header {HEADER}; repeat it when you retry.",
        )
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise BadRequestError(
            "invalid_idempotency_key", f"{HEADER} must be 1 to {MAX_KEY_LENGTH} printable ASCII characters."
        )
    return key


def fingerprint(operation: str, body_digest: bytes) -> bytes:
    """Return the SHA-256 that tells one request from another: method, path and query, then the body's own SHA-256."""
    return hashlib.sha256(operation.encode() + b"\n" + body_digest).digest()


@transaction.atomic
def run_once(owner: str, key: str, request_digest: bytes, effect: Callable[[], Answer]) -> Answer:
    """Run `effect` and keep its answer in the same transaction, or return the answer kept for this key.

    `owner` names the caller. A concurrent request with the same key waits at the unique index until the
    first commits, then replays; when the first failed, it runs itself. Failures are not kept: they had no
    effect. Raises InvalidError `idempotency_key_reused` when the key came with another request, and what
    `effect` raises.
    """
    mine = IdempotencyRecord.objects.filter(owner=owner, key=key)
    while (record := _claim(owner, key, request_digest)) is None:
        known = mine.annotate(expired=Q(created_at__lt=Now() - KEPT_FOR)).first()
        if known is not None and not known.expired:
            return _replay(known, request_digest)
        # Another request may have found it too old at the same moment: the index decides again.
        mine.filter(created_at__lt=Now() - KEPT_FOR).delete()
    answer = effect()
    IdempotencyRecord.objects.filter(pk=record.pk).update(
        status=answer.status, body=answer.body, headers=dict(answer.headers)
    )
    return answer


def _claim(owner: str, key: str, request_digest: bytes) -> IdempotencyRecord | None:
    try:
        with transaction.atomic():
            return IdempotencyRecord.objects.create(
                owner=owner, key=key, fingerprint=request_digest, status=0, body=b""
            )
    except IntegrityError:
        return None


def _replay(record: IdempotencyRecord, request_digest: bytes) -> Answer:
    if bytes(record.fingerprint) != request_digest:
        raise InvalidError("idempotency_key_reused", f"This {HEADER} was used for another request.")
    return Answer(status=record.status, body=bytes(record.body), headers=record.headers, replayed=True)


def forget_old(limit: int = 5000) -> int:
    """Delete up to `limit` answers older than 48 hours; return how many went."""
    old = IdempotencyRecord.objects.filter(created_at__lt=Now() - KEPT_FOR).values("pk")[:limit]
    return IdempotencyRecord.objects.filter(pk__in=[row["pk"] for row in old]).delete()[0]
