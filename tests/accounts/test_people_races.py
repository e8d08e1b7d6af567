"""What two people do at once: of two who accept one joins, and a publisher keeps an owner."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from django.db import connection, transaction

from accounts.models import ApiKey, Invitation, Membership, Publisher, Role, User
from accounts.people.members import leave, remove
from accounts.people.standing import lock, require_owner
from core.errors import CourantError
from newsletters.publishing.members import accept, change_member
from tests import cast
from tests.accounts.gazette import ACTOR, EMIL, GUEST, OLGA, OTTO, invite, member, person, roles
from tests.racing import raised_at_once
from tests.waiting import wait_for_a_waiter

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 5


def together(*acts: Callable[[], object]) -> list[str]:
    """Run functions at the same moment, each on a connection of its own; return the codes of what was refused."""
    return [error.code for error in raised_at_once(*acts, expected=CourantError)]


def behind(first: Callable[[], object], second: Callable[[], object]) -> list[str]:
    """Have `second` wait in a thread for the transaction of `first`; return the codes of what was refused."""
    codes: list[str] = []

    def run() -> None:
        try:
            second()
        except CourantError as error:
            codes.append(error.code)
        finally:
            connection.close()

    other = threading.Thread(target=run)
    with transaction.atomic():
        first()
        other.start()
        wait_for_a_waiter("the second waits for the first")
    other.join()
    return codes


def test_of_two_owners_who_leave_at_once_one_stays() -> None:
    for number in range(ROUNDS):
        gazette = cast.make_publisher()
        owners = [person(gazette, f"{name}-{number}@gazette.example") for name in ("olga", "otto")]
        codes = together(*[functools.partial(leave, gazette, by=one, actor=ACTOR) for one in owners])
        assert codes == ["last_owner"]
        assert list(roles(gazette).values()) == ["owner"]


def test_an_owner_who_leaves_while_the_other_has_just_left_stays() -> None:
    gazette = cast.make_publisher()
    olga, otto = person(gazette), person(gazette, OTTO)
    codes = behind(
        lambda: leave(gazette, by=olga, actor=ACTOR),
        lambda: leave(gazette, by=otto, actor=ACTOR),
    )
    assert (codes, roles(gazette)) == (["last_owner"], {OTTO: "owner"})


def test_of_two_owners_who_demote_each_other_one_stays_owner() -> None:
    for number in range(ROUNDS):
        gazette = cast.make_publisher()
        first, second = (member(gazette, f"{name}-{number}@gazette.example", Role.OWNER) for name in ("a", "b"))
        codes = together(
            functools.partial(change_member, first, role=Role.VIEWER, by=second.user, actor=ACTOR),
            functools.partial(remove, second, by=first.user, actor=ACTOR),
        )
        # Who was demoted a moment ago is no owner any more; who was removed is nobody.
        assert len(codes) == 1
        assert "owner" in roles(gazette).values()


def test_of_two_who_accept_at_once_one_becomes_a_member() -> None:
    for number in range(ROUNDS):
        gazette = cast.make_publisher()
        made = invite(gazette, by=person(gazette, f"olga-{number}@gazette.example"))
        User.objects.filter(email=GUEST).delete()
        guest = cast.make_user(GUEST)
        codes = together(*[functools.partial(accept, made, by=guest, actor=ACTOR)] * 4)
        assert codes == ["invitation_accepted"] * 3
        assert Membership.objects.filter(publisher=gazette, user=guest).count() == 1


def test_of_two_accounts_with_the_invited_address_one_becomes_a_member() -> None:
    gazette = cast.make_publisher()
    made = invite(gazette, by=person(gazette))
    guests = [cast.make_user(GUEST), cast.make_user(EMIL)]
    # Two rows that only a slip could leave behind.
    EmailAddress.objects.filter(user=guests[1]).update(email=GUEST.upper())
    together(*[functools.partial(accept, made, by=one, actor=ACTOR) for one in guests])
    assert Membership.objects.filter(publisher=gazette).count() == 2


def test_an_invitation_is_not_accepted_while_it_is_withdrawn_with_its_owner() -> None:
    gazette = cast.make_publisher()
    olga, otto = person(gazette), member(gazette, OTTO, Role.OWNER)
    made = invite(gazette, by=otto.user)
    guest = cast.make_user(GUEST)
    codes = behind(
        lambda: remove(otto, by=olga, actor=ACTOR),
        lambda: accept(made, by=guest, actor=ACTOR),
    )
    assert codes == ["invitation_withdrawn"]
    assert (roles(gazette), Invitation.objects.get().accepted_at) == ({OLGA: "owner"}, None)


def test_who_is_being_removed_makes_no_invitation_any_more() -> None:
    gazette = cast.make_publisher()
    olga, otto = person(gazette), member(gazette, OTTO, Role.OWNER)
    codes = behind(lambda: remove(otto, by=olga, actor=ACTOR), lambda: invite(gazette, by=otto.user))
    assert codes == ["publisher_not_found"]
    assert not Invitation.objects.exists()


def test_who_is_being_removed_makes_no_key_any_more() -> None:
    gazette = cast.make_publisher()
    olga, otto = person(gazette), member(gazette, OTTO, Role.OWNER)

    @transaction.atomic
    def make() -> None:
        require_owner(otto.user, lock(gazette))
        cast.make_api_key(gazette)

    assert behind(lambda: remove(otto, by=olga, actor=ACTOR), make) == ["publisher_not_found"]
    assert not ApiKey.objects.exists()


def test_who_joins_one_publisher_while_leaving_another_may_open_the_admin() -> None:
    for number in range(ROUNDS):
        gazette, rival = cast.make_publisher(), cast.make_publisher("The Rival")
        olga = person(gazette, f"olga-{number}@gazette.example")
        made = invite(gazette, by=olga)
        User.objects.filter(email=GUEST).delete()
        guest = person(rival, GUEST, Role.VIEWER)
        codes = together(
            functools.partial(accept, made, by=guest, actor=ACTOR),
            functools.partial(leave, rival, by=guest, actor=ACTOR),
        )
        assert codes == []
        assert User.objects.get(pk=guest.pk).is_staff
        assert Publisher.objects.filter(memberships__user=guest).get() == gazette


def test_of_two_invitations_of_one_address_at_once_one_is_made() -> None:
    gazette = cast.make_publisher()
    olga, otto = person(gazette), person(gazette, OTTO)
    assert together(*[functools.partial(invite, gazette, by=one) for one in (olga, otto)]) == ["already_invited"]
    assert Invitation.objects.count() == 1
