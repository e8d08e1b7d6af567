"""Inviting: who may, whom, for how long, and who can accept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.db.models.functions import Now

from accounts.models import AccountMail, AuditEntry, Invitation, Membership, Publisher, Role, User
from accounts.people import inviting
from core.errors import (
    ConflictError,
    CourantError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    TooManyRequestsError,
)
from newsletters.models import InvitationLimit, MemberLimit
from newsletters.publishing.members import accept
from tests import cast
from tests.accounts.gazette import ACTOR, GUEST, OLGA, OTTO, VERA, acts, invite, mails, member, person, roles

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
MINUTES_11 = timedelta(minutes=11)


@pytest.fixture
def gazette(db: None) -> Publisher:
    return cast.make_publisher()


@pytest.fixture
def olga(gazette: Publisher) -> User:
    return person(gazette)


def age(invitation: Invitation, by: timedelta) -> None:
    row = Invitation.objects.get(pk=invitation.pk)
    Invitation.objects.filter(pk=row.pk).update(created_at=row.created_at - by, expires_at=row.expires_at - by)


def code_of(error: pytest.ExceptionInfo[CourantError]) -> str:
    return error.value.code


def test_an_invitation_is_written_down_mailed_and_open_for_seven_days(gazette: Publisher, olga: User) -> None:
    made = invite(gazette, "Guest@Example.ORG", by=olga, role=Role.VIEWER)
    assert (made.address, made.role, made.invited_by, made.limited) == (GUEST, "viewer", olga, False)
    assert made.expires_at - made.created_at == timedelta(days=7)
    assert acts() == ["invitation.created"]
    entry = AuditEntry.objects.get()
    assert (entry.publisher_id, entry.object_id, entry.actor) == (gazette.pk, made.uid, ACTOR.name)
    mail = AccountMail.objects.get()
    assert (mail.kind, mail.to_address, mail.invitation) == ("invitation", GUEST, made)


def test_a_stranger_is_mailed_five_invitations_a_day_by_one_publisher(gazette: Publisher, olga: User) -> None:
    for _ in range(inviting.MOST_TO_AN_ADDRESS):
        inviting.withdraw(invite(gazette, by=olga), by=olga, actor=ACTOR)
    for by in (olga, person(gazette, OTTO)):
        with pytest.raises(TooManyRequestsError) as refused:
            invite(gazette, by=by)
        assert code_of(refused) == "too_many_invitations"
    assert AccountMail.objects.count() == inviting.MOST_TO_AN_ADDRESS
    assert invite(gazette, VERA, by=olga)
    rival = cast.make_publisher("The Rival")
    # Who owns several publishers has no more for that.
    Membership.objects.create(publisher=rival, user=olga, role=Role.OWNER)
    with pytest.raises(TooManyRequestsError):
        invite(rival, by=olga)
    # Those of others arrive all the same.
    assert invite(rival, by=person(rival, "owner@rival.example"))


def test_a_stranger_is_mailed_fifty_invitations_a_day_by_all_publishers(
    gazette: Publisher, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inviting, "MOST_TO_AN_ADDRESS_BY_ALL", 3)
    for number in range(3):
        rival = cast.make_publisher(f"Rival {number}")
        assert invite(rival, by=person(rival, f"owner-{number}@rival.example"))
    with pytest.raises(TooManyRequestsError) as refused:
        invite(gazette, by=olga)
    assert code_of(refused) == "too_many_invitations"


@pytest.mark.parametrize("role", [Role.EDITOR, Role.VIEWER])
def test_only_owners_invite_resend_and_withdraw(gazette: Publisher, olga: User, role: Role) -> None:
    made = invite(gazette, by=olga)
    age(made, MINUTES_11)
    less = person(gazette, VERA, role)
    for refused in (
        lambda: invite(gazette, OTTO, by=less),
        lambda: inviting.resend(made, by=less, actor=ACTOR),
        lambda: inviting.withdraw(made, by=less, actor=ACTOR),
    ):
        with pytest.raises(ForbiddenError):
            refused()
    assert acts() == ["invitation.created"]
    assert AccountMail.objects.count() == 1


def test_somebody_elses_publisher_does_not_exist(gazette: Publisher, olga: User) -> None:
    made = invite(gazette, by=olga)
    stranger = person(cast.make_publisher("The Rival"), "owner@rival.example")
    for refused in (
        lambda: invite(gazette, OTTO, by=stranger),
        lambda: inviting.withdraw(made, by=stranger, actor=ACTOR),
    ):
        with pytest.raises(NotFoundError):
            refused()
    superuser = cast.make_user("root@example.org", is_superuser=True)
    inviting.withdraw(made, by=superuser, actor=ACTOR)
    assert Invitation.objects.get().withdrawn_at is not None


@pytest.mark.parametrize("address", ["", "nobody", "a@b", "a b@example.org", "a@example.org\nBcc: x@example.org"])
def test_an_address_that_cannot_be_mailed_is_refused_at_its_field(gazette: Publisher, olga: User, address: str) -> None:
    with pytest.raises(InvalidError) as refused:
        invite(gazette, address, by=olga)
    assert [part.pointer for part in refused.value.errors] == ["/address"]


def test_neither_a_member_nor_somebody_invited_is_invited_again(gazette: Publisher, olga: User) -> None:
    with pytest.raises(ConflictError) as refused:
        invite(gazette, OLGA.upper().replace("GAZETTE.EXAMPLE", "gazette.example"), by=olga)
    assert code_of(refused) == "already_member"
    first = invite(gazette, by=olga)
    with pytest.raises(ConflictError) as refused:
        invite(gazette, GUEST.upper(), by=olga)
    assert code_of(refused) == "already_invited"
    inviting.withdraw(first, by=olga, actor=ACTOR)
    second = invite(gazette, by=olga)
    age(second, timedelta(days=8))
    third = invite(gazette, by=olga)
    assert list(inviting.open_invitations(gazette)) == [third]


def test_an_owner_is_invited_for_everything_or_not_at_all(gazette: Publisher, olga: User) -> None:
    with pytest.raises(InvalidError) as refused:
        invite(gazette, by=olga, role=Role.OWNER, newsletters=[cast.make_newsletter(gazette)])
    assert code_of(refused) == "owner_unlimited"
    assert not Invitation.objects.exists()


def test_limits_name_newsletters_of_the_publisher(gazette: Publisher, olga: User) -> None:
    own = cast.make_newsletter(gazette)
    gone = cast.make_newsletter(gazette, deleted_at=Now())
    gone.refresh_from_db()
    for wrong in ([], [cast.make_newsletter()], [own, gone]):
        with pytest.raises(InvalidError) as refused:
            invite(gazette, by=olga, newsletters=wrong)
        assert code_of(refused) == "unknown_newsletter"
    made = invite(gazette, by=olga, newsletters=[own, own])
    assert made.limited
    assert list(InvitationLimit.objects.values_list("invitation", "newsletter")) == [(made.pk, own.pk)]
    assert AuditEntry.objects.get().detail["newsletters"] == [own.uid]


def test_resending_counts_the_days_anew_and_not_every_moment(gazette: Publisher, olga: User) -> None:
    made = invite(gazette, by=olga)
    with pytest.raises(TooManyRequestsError):
        inviting.resend(made, by=olga, actor=ACTOR)
    age(made, timedelta(days=8))
    AccountMail.objects.update(state="sent")
    inviting.resend(made, by=olga, actor=ACTOR)
    again = Invitation.objects.get()
    assert (again.expires_at - again.created_at).days == 15
    assert acts() == ["invitation.created", "invitation.resent"]
    assert AccountMail.objects.filter(invitation=made).count() == 2
    inviting.withdraw(made, by=olga, actor=ACTOR)
    inviting.withdraw(made, by=olga, actor=ACTOR)
    assert acts()[2:] == ["invitation.withdrawn"]
    with pytest.raises(ConflictError):
        inviting.resend(made, by=olga, actor=ACTOR)


def test_a_publisher_does_not_mail_any_number_of_strangers(
    gazette: Publisher, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inviting, "MOST_A_DAY", 2)
    for number in range(2):
        inviting.withdraw(invite(gazette, f"{number}@example.org", by=olga), by=olga, actor=ACTOR)
    with pytest.raises(TooManyRequestsError):
        invite(gazette, by=olga)


def test_whoever_accepts_becomes_a_member_and_may_open_the_admin(gazette: Publisher, olga: User) -> None:
    made = invite(gazette, by=olga, role=Role.VIEWER)
    guest = cast.make_user(GUEST)
    assert not guest.is_staff
    accept(made, by=guest, actor=ACTOR)
    assert roles(gazette) == {OLGA: "owner", GUEST: "viewer"}
    assert User.objects.get(pk=guest.pk).is_staff
    assert acts() == ["invitation.created", "invitation.accepted"]
    assert mails() == {(OLGA, "invitation_accepted"), (GUEST, "invitation_accepted")}
    with pytest.raises(ConflictError) as refused:
        accept(made, by=guest, actor=ACTOR)
    assert code_of(refused) == "invitation_accepted"
    with pytest.raises(ConflictError):
        inviting.withdraw(made, by=olga, actor=ACTOR)


def test_only_the_invited_address_accepts_and_only_once_it_is_verified(gazette: Publisher, olga: User) -> None:
    made = invite(gazette, by=olga)
    other, guest = cast.make_user(OTTO), cast.make_user(GUEST)
    EmailAddress.objects.filter(user=guest).update(verified=False)
    for refused in (other, guest, olga):
        with pytest.raises(ForbiddenError) as why:
            accept(made, by=refused, actor=ACTOR)
        assert code_of(why) == "other_address"
    EmailAddress.objects.filter(user=guest).update(verified=True)
    User.objects.filter(pk=guest.pk).update(is_active=False)
    with pytest.raises(ForbiddenError):
        accept(made, by=guest, actor=ACTOR)
    assert roles(gazette) == {OLGA: "owner"}
    assert Invitation.objects.get().accepted_at is None


@pytest.mark.parametrize(("how", "code"), [("withdrawn", "invitation_withdrawn"), ("old", "invitation_expired")])
def test_an_invitation_that_ended_makes_nobody_a_member(gazette: Publisher, olga: User, how: str, code: str) -> None:
    made = invite(gazette, by=olga)
    if how == "withdrawn":
        inviting.withdraw(made, by=olga, actor=ACTOR)
    else:
        age(made, timedelta(days=7, seconds=1))
    with pytest.raises(GoneError) as refused:
        accept(made, by=cast.make_user(GUEST), actor=ACTOR)
    assert code_of(refused) == code
    assert roles(gazette) == {OLGA: "owner"}


def test_a_limited_invitation_makes_a_limited_member(gazette: Publisher, olga: User) -> None:
    first, second, third = (cast.make_newsletter(gazette) for _ in range(3))
    made = invite(gazette, by=olga, newsletters=[first, second, third])
    type(third).objects.filter(pk=third.pk).update(deleted_at=Now())
    joined = accept(made, by=cast.make_user(GUEST), actor=ACTOR)
    assert joined.limited
    assert set(MemberLimit.objects.values_list("newsletter", flat=True)) == {first.pk, second.pk}


def test_somebody_who_has_become_a_member_meanwhile_stays_what_they_are(gazette: Publisher, olga: User) -> None:
    made = invite(gazette, by=olga, role=Role.OWNER)
    guest = member(gazette, GUEST, Role.VIEWER).user
    with pytest.raises(ConflictError) as refused:
        accept(made, by=guest, actor=ACTOR)
    assert code_of(refused) == "already_member"
    assert roles(gazette)[GUEST] == "viewer"
    assert Invitation.objects.get().accepted_at is None
