"""What coming and going does to a person: whoever belongs to a publisher may open the admin."""

from __future__ import annotations

from accounts.models import Membership, Publisher, Role, User
from core.errors import ConflictError


def join(publisher: Publisher, user: User, *, role: Role, limited: bool = False) -> Membership:
    """Store a membership of the locked publisher. Raises ConflictError `already_member`."""
    _lock(user)
    if Membership.objects.filter(publisher=publisher, user=user).exists():
        raise ConflictError("already_member", f"{user.email} is a member of {publisher} already.")
    membership = Membership.objects.create(publisher=publisher, user=user, role=role, limited=limited)
    User.objects.filter(pk=user.pk, is_staff=False).update(is_staff=True)
    return membership


def part(membership: Membership) -> None:
    """Remove a membership; with the last one goes the admin, except for superusers."""
    _lock(membership.user)
    membership.delete()
    if not Membership.objects.filter(user=membership.user_id).exists():
        User.objects.filter(pk=membership.user_id, is_superuser=False).update(is_staff=False)


def _lock(user: User) -> None:
    # Somebody may leave one publisher while they join another. Always after the publisher, never before it.
    list(User.objects.select_for_update(no_key=True).filter(pk=user.pk).values_list("pk"))
