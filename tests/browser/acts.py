"""What everybody does who comes to the site."""

from __future__ import annotations

from tests.browser.visitor import Visitor
from tests.cast import PASSWORD


def sign_up(visitor: Visitor, address: str) -> None:
    """Sign up, open the link that comes by mail and press its button."""
    visitor.open("/account/signup/")
    visitor.look("sign-up")
    visitor.fill(email=address, name="Zoe Zander", password1=PASSWORD)
    visitor.press("Sign up")
    assert visitor.heading() == "Check your mail"
    visitor.look("check-your-mail")
    visitor.open(visitor.link_in_mail(address, "confirm-email"))
    visitor.look("verify")
    visitor.press("Verify this address")


def log_in(visitor: Visitor, address: str, password: str = PASSWORD) -> None:
    visitor.open("/account/login/")
    visitor.fill(login=address, password=password)
    visitor.press("Log in")


def log_out(visitor: Visitor) -> None:
    visitor.open("/account/")
    visitor.press("Log out")
