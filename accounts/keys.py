"""API keys: making, recognising and revoking `crnt_<8 character prefix>_<43 character secret>`.

The prefix finds the row; the secret's SHA-256 is stored, for a secret of 256 random bits needs no slow hash
(ASVS 5.0, 6.5.2). The key itself is shown once and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts import audit
from accounts.audit import Actor
from accounts.models import ApiKey, Publisher, Scope, User
from accounts.people.telling import tell
from core.errors import InvalidError, UnauthenticatedError, invalid_field

PREFIX_LENGTH = 8
SECRET_BYTES = 32
MAX_NAME_LENGTH = 100
_LETTERS = string.ascii_letters + string.digits
KEY = re.compile(r"crnt_([A-Za-z0-9]{8})_([A-Za-z0-9_-]{43})")
# Compared with when no row is found, so that both ways do the same work.
_NOBODY = bytes(32)


@transaction.atomic
def create_key(
    publisher: Publisher,
    *,
    name: str,
    scopes: Iterable[str],
    expires_in: timedelta | None = None,
    limits: Mapping[str, Any] | None = None,
    created_by: User | None = None,
    actor: Actor | None = None,
) -> tuple[ApiKey, str]:
    """Store a new key and return it with its text, which cannot be read again; `actor` is for the audit log.

    With `limits`, which the audit log shows, it is a limited one: the caller stores what it reaches, in the same
    transaction. Raises InvalidError for an empty or long name, for no scope and for an unknown one.
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in Scope.values]
    if unknown or not wanted:
        raise invalid_field(
            "/scopes", "unknown_scope", f"Choose from {', '.join(Scope.values)}; not {', '.join(unknown) or 'none'}."
        )
    if not name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidError("invalid_name", f"A key's name has 1 to {MAX_NAME_LENGTH} printable characters.")
    prefix = "".join(secrets.choice(_LETTERS) for _ in range(PREFIX_LENGTH))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    key = ApiKey.objects.create(
        publisher=publisher,
        created_by=created_by,
        name=name,
        prefix=prefix,
        secret_sha256=_digest(secret),
        scopes=wanted,
        limited=limits is not None,
        expires_at=None if expires_in is None else Now() + expires_in,
    )
    key.refresh_from_db()
    _record(key, "api_key.created", actor, scopes=wanted, **(limits or {}))
    tell("api_key_created", publisher, actor=actor, about=created_by, key=name)
    return key, f"crnt_{prefix}_{secret}"


def recognise(text: str) -> ApiKey:
    """Return the key (with its publisher) whose text this is. That it was used is `accounts.journal`'s to note.

    Raises UnauthenticatedError, with the same words for every reason: malformed, unknown, revoked, expired.
    """
    refused = refusal()
    matched = KEY.fullmatch(text)
    if matched is None:
        raise refused
    prefix, secret = matched.groups()
    key = (
        ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()), revoked_at__isnull=True)
        .filter(prefix=prefix)
        .select_related("publisher")
        .first()
    )
    stored = _NOBODY if key is None else bytes(key.secret_sha256)
    if not hmac.compare_digest(stored, _digest(secret)) or key is None:
        raise refused
    return key


def refusal() -> UnauthenticatedError:
    """Return the one answer to everybody whom we do not know."""
    return UnauthenticatedError("not_authenticated", "Send a valid API key as `Authorization: Bearer crnt_…`.")


@transaction.atomic
def revoke(key: ApiKey, *, actor: Actor | None = None) -> None:
    """Make a key worthless from its next use on; revoking twice keeps the first time."""
    if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now()):
        _record(key, "api_key.revoked", actor)
        tell("api_key_revoked", key.publisher, actor=actor, about=key.created_by, key=key.name)


def _record(key: ApiKey, action: str, actor: Actor | None, **detail: Any) -> None:
    if actor is not None:
        audit.record(
            action,
            actor=actor,
            publisher_id=key.publisher_id,
            object_type="api_key",
            object_id=key.uid,
            detail={"name": key.name, **detail},
        )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
