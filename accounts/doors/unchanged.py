"""A log-in that waits for a second factor ends with what it began with: the password, and an open account."""

from __future__ import annotations

from typing import Any

from allauth.account.stages import LoginStage
from allauth.core.internal.httpkit import headed_redirect_response

from accounts.links import password_mark


class BeginningStage(LoginStage):  # type: ignore[misc]  # django-allauth ships no types
    """Notes which password somebody has; stands before every stage that waits."""

    key = "beginning"

    def handle(self) -> tuple[Any, bool]:
        if self.login.user is not None:
            self.state["mark"] = password_mark(self.login.user)
        return None, True


class EndStage(LoginStage):  # type: ignore[misc]  # as above
    """Lets in only whose password is still that one; stands after every other stage.

    Whoever gave the old password a moment before it was changed would otherwise have 15 minutes for a code.
    """

    key = "end"

    def handle(self) -> tuple[Any, bool]:
        user, began = self.login.user, self.login.state["stages"].get(BeginningStage.key, {}).get("data", {})
        if user is not None and user.is_active and began.get("mark") == password_mark(user):
            return None, True
        return headed_redirect_response("account_login"), False
