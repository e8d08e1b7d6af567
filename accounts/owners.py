"""Making the first owner of an installation, without a browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from accounts.audit import Actor, record
from accounts.mailing import queue
from accounts.models import AccountMailKind, ActorKind, Membership, Publisher, Role, User
from accounts.people.founding import MAX_NAME_LENGTH
from accounts.publishers import create_publisher, find_publisher
from core.addresses import canonical
from core.errors import ConflictError, invalid_field

COMMAND = Actor(ActorKind.COMMAND, "create_owner")


@transaction.atomic
def create_owner(*, email: str, name: str = "", publisher: str = "", password: str | None = None) -> Membership:
    """Make somebody an owner who may open the admin; whoever is there is extended, nobody is made twice.

    `publisher` is a public id or a name; one that nobody has is created. Left out, it is the only publisher there
    is, or a first one named after the site. With `password` null, somebody who has none yet is mailed a link to set
    one. Raises InvalidError for an address or a name that cannot be used, NotFoundError for an id that nobody has or
    a name that several have, ConflictError `several_publishers`.
    """
    address = canonical(email).key
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise invalid_field("/name", "invalid_name", f"A name has at most {MAX_NAME_LENGTH} printable characters.")
    user = User.objects.filter(email__iexact=address).first()
    made = user is None
    if user is None:
        user = User.objects.create_user(address, password, name=name)
    elif password is not None:
        user.set_password(password)
    else:
        user.end_unproven_password()
    user.is_staff = user.is_active = True
    user.name = name or user.name
    user.save()
    user.vouch_for_address()
    owned = _find_or_make(publisher)
    owner = {"role": Role.OWNER, "limited": False}
    membership, _ = Membership.objects.update_or_create(publisher=owned, user=user, defaults=owner)
    if not user.has_usable_password():
        queue(AccountMailKind.RESET_PASSWORD, to=user.email, user=user)
    record(
        "owner.created" if made else "owner.extended",
        actor=COMMAND,
        publisher_id=owned.pk,
        object_type="user",
        object_id=str(user.pk),
        detail={"address": user.email, "password_set": password is not None},
    )
    return membership


def _find_or_make(named: str) -> Publisher:
    if named.startswith("pub_") or Publisher.objects.filter(name=named).exists():
        return find_publisher(named)
    if not named:
        known = Publisher.objects.order_by("pk")[:2]
        if len(known) > 1:
            raise ConflictError("several_publishers", "There are several publishers; name one with --publisher.")
        if known:
            return known[0]
    return create_publisher(name=named or urlsplit(settings.BASE_URL).hostname or "Courant")
