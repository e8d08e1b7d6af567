from __future__ import annotations

from dataclasses import dataclass

from django.test import Client

from accounts.models import Publisher, Role, User
from newsletters.models import Newsletter
from tests import cast


@dataclass(frozen=True)
class Desk:
    """A publisher with a newsletter and somebody signed in to its admin."""

    client: Client
    user: User
    publisher: Publisher
    newsletter: Newsletter


def sit_down(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def make_desk(role: Role, *, name: str = "The Gazette", email: str = cast.EDITOR) -> Desk:
    publisher = cast.make_publisher(name)
    user = cast.make_user(email, publisher=publisher, role=role, is_staff=True)
    newsletter = cast.make_newsletter(publisher, name=f"Weekly of {name}")
    return Desk(sit_down(user), user, publisher, newsletter)


def make_superuser_client() -> Client:
    return sit_down(User.objects.create_superuser("root@example.org", cast.PASSWORD))
