"""A publisher's people, for tests of what they may do to one another."""

from __future__ import annotations

import re
from typing import Any

from accounts.audit import Actor
from accounts.models import AccountMail, ActorKind, AuditEntry, Invitation, Membership, Publisher, Role, User
from newsletters.publishing import members
from tests import cast

ACTOR = Actor(ActorKind.USER, "somebody", "192.0.2.7")
OLGA = "olga@gazette.example"
OTTO = "otto@gazette.example"
EMIL = "emil@gazette.example"
VERA = "vera@gazette.example"
GUEST = "guest@example.org"


def person(publisher: Publisher, email: str = OLGA, role: Role = Role.OWNER, **fields: Any) -> User:
    return cast.make_user(email, publisher=publisher, role=role, is_staff=True, **fields)


def member(publisher: Publisher, email: str = EMIL, role: Role = Role.EDITOR, *newsletters: Any) -> Membership:
    """Return a membership; with `newsletters` a limited one."""
    user = person(publisher, email, role)
    found = Membership.objects.get(user=user, publisher=publisher)
    if newsletters:
        Membership.objects.filter(pk=found.pk).update(limited=True)
        found.limits.create(newsletter=newsletters[0])
        for other in newsletters[1:]:
            found.limits.create(newsletter=other)
        found.refresh_from_db()
    return found


def invite(
    publisher: Publisher, address: str = GUEST, *, by: User, role: Role = Role.EDITOR, **more: Any
) -> Invitation:
    return members.invite(publisher, address=address, role=role, by=by, actor=ACTOR, **more)


def roles(publisher: Publisher) -> dict[str, str]:
    return dict(publisher.memberships.values_list("user__email", "role"))


def acts() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def mails(kind: str = "security_notice") -> set[tuple[str, str]]:
    """Return (address, event) of what is queued."""
    rows = AccountMail.objects.filter(kind=kind).values_list("to_address", "detail")
    return {(address, detail.get("event", "")) for address, detail in rows}


def links(page: str) -> list[str]:
    return re.findall(r'(?:href|action)="(/[^"]*)"', page)
