"""Roles, leaving, being removed, handing a publisher on: who may, and what stays true."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from accounts.models import Invitation, Membership, Publisher, Role, User
from accounts.people.members import leave, remove, transfer_ownership
from core.errors import ConflictError, CourantError, ForbiddenError, InvalidError, NotFoundError
from newsletters.models import MemberLimit
from newsletters.publishing.members import change_member
from tests import cast
from tests.accounts.gazette import ACTOR, EMIL, OLGA, OTTO, VERA, acts, invite, mails, member, person, roles

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


@pytest.fixture
def gazette(db: None) -> Publisher:
    return cast.make_publisher()


@pytest.fixture
def olga(gazette: Publisher) -> User:
    return person(gazette)


def is_staff(email: str) -> bool:
    return User.objects.get(email=email).is_staff


def test_an_owner_changes_a_role(gazette: Publisher, olga: User) -> None:
    emil = member(gazette, EMIL, Role.EDITOR)
    after = change_member(emil, role=Role.VIEWER, by=olga, actor=ACTOR)
    assert (after.role, roles(gazette)[EMIL]) == ("viewer", "viewer")
    assert acts() == ["member.changed"]
    assert mails() == {(OLGA, "role_changed"), (EMIL, "role_changed")}
    change_member(emil, role=Role.VIEWER, by=olga, actor=ACTOR)
    assert acts() == ["member.changed"]


def test_an_editor_is_limited_to_newsletters_and_freed_again(gazette: Publisher, olga: User) -> None:
    first, second = cast.make_newsletter(gazette), cast.make_newsletter(gazette)
    emil = member(gazette)
    for chosen in ([first], [first, second], [second, second]):
        after = change_member(emil, role=Role.EDITOR, newsletters=chosen, by=olga, actor=ACTOR)
        assert after.limited
        assert set(MemberLimit.objects.values_list("newsletter", flat=True)) == {one.pk for one in chosen}
    with pytest.raises(InvalidError):
        change_member(emil, role=Role.EDITOR, newsletters=[], by=olga, actor=ACTOR)
    with pytest.raises(InvalidError):
        change_member(emil, role=Role.EDITOR, newsletters=[cast.make_newsletter()], by=olga, actor=ACTOR)
    with pytest.raises(InvalidError) as refused:
        change_member(emil, role=Role.OWNER, newsletters=[first], by=olga, actor=ACTOR)
    assert refused.value.code == "owner_unlimited"
    assert MemberLimit.objects.get().newsletter == second
    assert not change_member(emil, role=Role.EDITOR, by=olga, actor=ACTOR).limited
    assert not MemberLimit.objects.exists()


ACTS: dict[str, Callable[[Membership, User], object]] = {
    "role": lambda who, by: change_member(who, role=Role.VIEWER, by=by, actor=ACTOR),
    "remove": lambda who, by: remove(who, by=by, actor=ACTOR),
    "transfer": lambda who, by: transfer_ownership(who, by=by, actor=ACTOR),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("who", ["editor", "viewer", "limited", "another publisher's owner", "inactive owner"])
def test_nobody_but_owners_manages_members(gazette: Publisher, olga: User, act: str, who: str) -> None:
    emil = member(gazette)
    by = {
        "editor": lambda: person(gazette, OTTO, Role.EDITOR),
        "viewer": lambda: person(gazette, OTTO, Role.VIEWER),
        "limited": lambda: member(gazette, OTTO, Role.EDITOR, cast.make_newsletter(gazette)).user,
        "another publisher's owner": lambda: person(cast.make_publisher("The Rival"), OTTO),
        "inactive owner": lambda: person(gazette, OTTO, is_active=False),
    }[who]()
    before = roles(gazette)
    with pytest.raises((ForbiddenError, NotFoundError)):
        ACTS[act](emil, by)
    assert (roles(gazette), acts()) == (before, [])


@pytest.mark.parametrize("act", ACTS)
def test_who_was_removed_a_moment_ago_acts_no_more_and_is_not_acted_upon(
    gazette: Publisher, olga: User, act: str
) -> None:
    otto, emil = member(gazette, OTTO, Role.OWNER), member(gazette)
    remove(otto, by=olga, actor=ACTOR)
    for refused in (functools.partial(ACTS[act], emil, otto.user), functools.partial(ACTS[act], otto, olga)):
        with pytest.raises(NotFoundError):
            refused()
    assert acts() == ["member.removed"]


def test_the_last_owner_stays_one(gazette: Publisher, olga: User) -> None:
    only = Membership.objects.get(user=olga)
    superuser = cast.make_user("root@example.org", is_superuser=True)
    member(gazette)
    for refused in (
        lambda: leave(gazette, by=olga, actor=ACTOR),
        lambda: remove(only, by=olga, actor=ACTOR),
        lambda: remove(only, by=superuser, actor=ACTOR),
        lambda: change_member(only, role=Role.EDITOR, by=superuser, actor=ACTOR),
        lambda: change_member(only, role=Role.EDITOR, by=olga, actor=ACTOR),
    ):
        with pytest.raises(ConflictError) as why:
            refused()
        assert why.value.code == "last_owner"
    # Owners elsewhere do not count.
    person(cast.make_publisher("The Rival"), OTTO)
    with pytest.raises(CourantError):
        leave(gazette, by=olga, actor=ACTOR)
    change_member(Membership.objects.get(user__email=EMIL), role=Role.OWNER, by=olga, actor=ACTOR)
    leave(gazette, by=olga, actor=ACTOR)
    assert roles(gazette) == {EMIL: "owner"}


def test_who_leaves_the_last_publisher_may_not_open_the_admin_any_more(gazette: Publisher, olga: User) -> None:
    rival = cast.make_publisher("The Rival")
    vera = member(gazette, VERA, Role.VIEWER).user
    Membership.objects.create(publisher=rival, user=vera, role=Role.VIEWER)
    leave(gazette, by=vera, actor=ACTOR)
    assert is_staff(VERA)
    leave(rival, by=vera, actor=ACTOR)
    assert not is_staff(VERA)
    assert acts() == ["member.left", "member.left"]
    with pytest.raises(NotFoundError):
        leave(rival, by=vera, actor=ACTOR)


def test_a_superuser_who_is_removed_stays_the_operator(gazette: Publisher, olga: User) -> None:
    root = member(gazette, OTTO)
    User.objects.filter(email=OTTO).update(is_superuser=True)
    remove(root, by=olga, actor=ACTOR)
    assert is_staff(OTTO)


def test_a_removed_owner_cannot_come_back_by_an_invitation_of_their_own(gazette: Publisher, olga: User) -> None:
    otto = member(gazette, OTTO, Role.OWNER)
    key, _ = cast.make_api_key(gazette)
    own, other = invite(gazette, "otto@example.net", by=otto.user), invite(gazette, by=olga)
    remove(otto, by=olga, actor=ACTOR)
    assert Invitation.objects.get(pk=own.pk).withdrawn_at is not None
    assert Invitation.objects.get(pk=other.pk).withdrawn_at is None
    assert acts()[2:] == ["invitation.withdrawn", "member.removed"]
    assert {(OLGA, "member_removed"), (OTTO, "member_removed")} <= mails()
    key.refresh_from_db()
    assert key.revoked_at is None


def test_a_demoted_owners_invitations_end_too(gazette: Publisher, olga: User) -> None:
    otto = member(gazette, OTTO, Role.OWNER)
    own = invite(gazette, by=otto.user)
    change_member(otto, role=Role.EDITOR, by=olga, actor=ACTOR)
    assert Invitation.objects.get(pk=own.pk).withdrawn_at is not None
    assert mails() == {(OLGA, "role_changed"), (OTTO, "role_changed")}


def test_ownership_is_handed_on_to_a_member_even_a_limited_one(gazette: Publisher, olga: User) -> None:
    emil = member(gazette, EMIL, Role.EDITOR, cast.make_newsletter(gazette))
    transfer_ownership(emil, by=olga, actor=ACTOR)
    assert roles(gazette) == {OLGA: "editor", EMIL: "owner"}
    assert not Membership.objects.filter(limited=True).exists()
    assert acts() == ["ownership.transferred"]
    assert mails() == {(OLGA, "ownership_transferred"), (EMIL, "ownership_transferred")}
    with pytest.raises(ForbiddenError):
        transfer_ownership(emil, by=olga, actor=ACTOR)


def test_ownership_goes_neither_to_an_owner_nor_from_a_superuser_who_is_no_member(
    gazette: Publisher, olga: User
) -> None:
    otto, emil = member(gazette, OTTO, Role.OWNER), member(gazette)
    with pytest.raises(ConflictError) as refused:
        transfer_ownership(otto, by=olga, actor=ACTOR)
    assert refused.value.code == "already_owner"
    with pytest.raises(NotFoundError):
        transfer_ownership(emil, by=cast.make_user("root@example.org", is_superuser=True), actor=ACTOR)
    foreign = member(cast.make_publisher("The Rival"), VERA)
    with pytest.raises(NotFoundError):
        transfer_ownership(foreign, by=olga, actor=ACTOR)
    assert acts() == []


def test_a_limit_goes_with_its_newsletter_and_whoever_has_none_left_stays_limited(gazette: Publisher) -> None:
    weekly = cast.make_newsletter(gazette)
    emil = member(gazette, EMIL, Role.EDITOR, weekly)
    weekly.delete()
    assert not MemberLimit.objects.exists()
    assert Membership.objects.get(pk=emil.pk).limited
