"""Every publisher keeps an owner who can log in, whatever is done to its people, and at the same moment."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Publisher, Role, User
from accounts.people.members import leave, remove, transfer_ownership
from core.errors import ConflictError, CourantError
from newsletters.publishing.members import change_member
from tests import cast
from tests.accounts.gazette import ACTOR, EMIL, OLGA, OTTO, member, person
from tests.admin.desks import make_superuser_client
from tests.racing import raised_at_once

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
ROUNDS = 4


def deactivate(client: Client, user: User) -> Any:
    form = {"email": user.email, "name": "", "is_staff": "on"}
    form |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    return client.post(reverse("admin:accounts_user_change", args=[user.pk]), form)


def active_owners(publisher: Publisher) -> list[str]:
    rows = Membership.objects.filter(publisher=publisher, role=Role.OWNER, user__is_active=True)
    return list(rows.values_list("user__email", flat=True))


def test_the_admin_makes_no_last_owner_inactive_and_says_of_what() -> None:
    gazette, root = cast.make_publisher(), make_superuser_client()
    olga = person(gazette)
    answer = deactivate(root, olga)
    assert answer.status_code == 200
    assert b"They are the last active owner of The Gazette: make somebody else one first." in answer.content
    person(gazette, OTTO)
    assert deactivate(root, olga).status_code == 302
    assert active_owners(gazette) == [OTTO]
    assert root.post(reverse("admin:accounts_user_delete", args=[olga.pk]), {"post": "yes"}).status_code == 403


def test_an_owner_who_cannot_log_in_does_not_count() -> None:
    gazette = cast.make_publisher()
    olga, emil = person(gazette), member(gazette, EMIL)
    otto = member(gazette, OTTO, Role.OWNER)
    User.objects.filter(email__in=[OTTO, EMIL]).update(is_active=False)
    mine = Membership.objects.get(user=olga)
    acts: list[tuple[str, Callable[[], object]]] = [
        ("last_owner", lambda: leave(gazette, by=olga, actor=ACTOR)),
        ("last_owner", lambda: remove(mine, by=olga, actor=ACTOR)),
        ("last_owner", lambda: change_member(mine, role=Role.EDITOR, by=olga, actor=ACTOR)),
        ("inactive_member", lambda: transfer_ownership(emil, by=olga, actor=ACTOR)),
    ]
    for code, act in acts:
        with pytest.raises(ConflictError) as refused:
            act()
        assert refused.value.code == code
    remove(otto, by=olga, actor=ACTOR)
    assert active_owners(gazette) == [OLGA]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("other", ["deactivated", "leaves", "removed"])
def test_of_two_owners_who_go_at_once_one_stays(other: str) -> None:
    root = make_superuser_client()
    for number in range(ROUNDS):
        gazette = cast.make_publisher(f"Gazette {number}")
        olga, otto = (person(gazette, f"{name}-{number}@gazette.example") for name in ("olga", "otto"))
        olgas = Membership.objects.get(user=olga)
        acts: dict[str, Callable[[], object]] = {
            "deactivated": functools.partial(deactivate, root, olga),
            "leaves": functools.partial(leave, gazette, by=olga, actor=ACTOR),
            "removed": functools.partial(remove, olgas, by=otto, actor=ACTOR),
        }
        raised_at_once(functools.partial(deactivate, root, otto), acts[other], expected=CourantError)
        assert len(active_owners(gazette)) == 1
