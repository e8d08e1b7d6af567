"""Who asks for a page of a publisher: somebody signed in, found among its people, with one of the page's roles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.account.decorators import reauthentication_required
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from accounts.audit import Actor, person
from accounts.models import Membership, Publisher, Role, User
from accounts.people.standing import role_of
from core.errors import ForbiddenError, NotFoundError
from core.public_ids import decode

OWNERS = frozenset({Role.OWNER})
EVERY_ROLE = frozenset(Role)


@dataclass(frozen=True)
class Asker:
    """Somebody signed in, and what they are in the publisher whose page they ask for."""

    user: User
    publisher: Publisher
    role: Role
    # None for a superuser who is not a member.
    membership: Membership | None
    actor: Actor

    @property
    def is_owner(self) -> bool:
        return self.role == Role.OWNER


View = Callable[..., HttpResponse]


def signed_in(*methods: str) -> Callable[[View], View]:
    """Serve a page to whoever is signed in; `methods` are the ones that it answers."""

    def decorate(view: View) -> View:
        @login_required
        @require_http_methods(list(methods))
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: Any, **names: str) -> HttpResponse:
            try:
                return view(request, *args, **names)
            except NotFoundError as error:
                raise Http404(error.detail) from error
            except ForbiddenError as error:
                raise PermissionDenied(error.detail) from error

        return answer

    return decorate


def publisher_page(roles: frozenset[Role], *methods: str, fresh: bool = False) -> Callable[[View], View]:
    """Serve a page below /publishers/<pub_…>/ to members with one of `roles`; the view gets an `Asker`.

    A publisher that somebody does not belong to is not found, a role that does not suffice is forbidden. A `fresh`
    page asks for the password or a second factor that was given a moment ago.
    """

    def decorate(view: View) -> View:
        @signed_in(*methods)
        @functools.wraps(view)
        def answer(request: HttpRequest, publisher_id: str, **names: str) -> HttpResponse:
            asker = _asker(request, publisher_id)
            if asker.role not in roles:
                raise PermissionDenied("Your role does not allow this.")
            serve = reauthentication_required(view) if fresh else view
            response: HttpResponse = serve(request, asker, **names)
            return response

        return answer

    return decorate


def _asker(request: HttpRequest, publisher_id: str) -> Asker:
    user = request.user
    assert user.is_authenticated
    publisher = Publisher.objects.filter(public_id=decode("pub", publisher_id)).first()
    role = None if publisher is None else role_of(user, publisher)
    if publisher is None or role is None:
        raise NotFoundError("publisher_not_found", "There is no such publisher.")
    membership = Membership.objects.filter(publisher=publisher, user=user).first()
    return Asker(user, publisher, role, membership, person(request))
