"""Who opens the pages of a publisher in tests, signed in or not."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, Invitation, Membership, Publisher, Role, User
from newsletters.models import Newsletter
from tests import cast
from tests.accounts.gazette import EMIL, GUEST, OLGA, VERA, invite, member, person

LENA = "lena@gazette.example"
ROOT = "root@example.org"
RIVAL = "owner@rival.example"
NOBODY = "nobody@example.org"
WHO = ("owner", "editor", "viewer", "limited", "superuser", "rival", "nobody", "stranger")


def sit_down(user: User, *, fresh: bool = False) -> Client:
    """Return a browser in which somebody is signed in, with `fresh` since a moment ago."""
    client = Client()
    client.force_login(user)
    if fresh:
        assert client.post(reverse("account_reauthenticate"), {"password": cast.PASSWORD}).status_code == 302
    return client


@dataclass
class House:
    """A publisher with one person of each kind, an open invitation and a key; `at` names its pages."""

    publisher: Publisher = field(default_factory=cast.make_publisher)

    def __post_init__(self) -> None:
        self.owner = person(self.publisher, OLGA)
        self.weekly: Newsletter = cast.make_newsletter(self.publisher, name="The Weekly")
        self.daily: Newsletter = cast.make_newsletter(self.publisher, name="The Daily")
        self.member: Membership = member(self.publisher, EMIL, Role.EDITOR)
        rival = cast.make_publisher("The Rival")
        self.people: dict[str, User | None] = {
            "owner": self.owner,
            "editor": self.member.user,
            "viewer": person(self.publisher, VERA, Role.VIEWER),
            "limited": member(self.publisher, LENA, Role.EDITOR, self.weekly).user,
            "superuser": cast.make_user(ROOT, is_staff=True, is_superuser=True),
            "rival": person(rival, RIVAL),
            "nobody": cast.make_user(NOBODY),
            "stranger": None,
        }
        self.invitation: Invitation = invite(self.publisher, GUEST, by=self.owner)
        self.key: ApiKey = cast.make_api_key(self.publisher)[0]

    def browser(self, who: str, *, fresh: bool = False) -> Client:
        user = self.people[who]
        return Client() if user is None else sit_down(user, fresh=fresh)

    def at(self, name: str) -> str:
        """Return the address of a page of this publisher."""
        others = {
            "member": [self.member.uid],
            "member-remove": [self.member.uid],
            "member-transfer": [self.member.uid],
            "invitation-resend": [self.invitation.uid],
            "invitation-withdraw": [self.invitation.uid],
            "key-revoke": [self.key.uid],
        }
        return reverse(name, args=[self.publisher.uid, *others.get(name, [])])
