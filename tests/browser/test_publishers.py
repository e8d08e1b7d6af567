"""A publisher's people in their browsers: founding, inviting, keys, and what a viewer may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.acts import log_in, sign_up
from tests.browser.visitor import Visitor
from tests.cast import PASSWORD
from tests.services.site import Site


def found(owner: Visitor, address: str) -> str:
    """Sign up and found the first publisher; returns the path of its pages."""
    sign_up(owner, address)
    log_in(owner, address)
    assert owner.heading() == "Set up a publisher"
    owner.look("publisher-new")
    owner.fill(name="The Lamplighter")
    owner.press("Set up")
    assert owner.heading() == "The Lamplighter"
    owner.look("publisher")
    return owner.path()


def invite(owner: Visitor, home: str, address: str) -> None:
    owner.open(f"{home}members")
    owner.look("members")
    owner.follow("Invite somebody")
    owner.look("invite")
    owner.fill(address=address)
    owner.choose("Editor")
    owner.press("Invite")
    assert address in owner.text()
    owner.look("members-invited")


def join(invited: Visitor, address: str) -> None:
    """Sign up through the invitation: its mail has shown whose the address is."""
    invited.open(invited.link_in_mail(address, "invitations/"))
    assert invited.heading() == "Join The Lamplighter"
    invited.look("invitation")
    invited.press("Sign up")
    invited.look("sign-up-invited")
    assert "You are invited to The Lamplighter" in invited.text()
    invited.fill(name="Ed", password1=PASSWORD)
    invited.press("Sign up")
    assert invited.heading() == "Join The Lamplighter"
    invited.look("invitation-mine")
    invited.press("Accept")
    assert "You are a member of The Lamplighter now." in invited.text()
    invited.look("publisher-as-editor")


def create_key(owner: Visitor, home: str) -> str:
    """Create a key that may read newsletters, and return it."""
    owner.open(f"{home}keys")
    owner.look("keys-none")
    owner.follow("Create a key")
    assert owner.heading() == "Is it still you?"
    owner.fill(password=PASSWORD)
    owner.press("Go on")
    owner.look("key-new")
    owner.fill(name="Website")
    owner.press("Create")
    assert owner.page.get_by_role("group", name="It may").get_by_text("required").is_visible()
    owner.look("key-new-wrong")
    owner.tick("Read newsletters and senders (newsletters:read)")
    owner.press("Create")
    assert owner.heading() == "Your new API key"
    owner.look("key-made")
    key = owner.page.locator("pre.secret").inner_text()
    owner.follow("I have copied it")
    assert key not in owner.page.content()
    owner.look("keys")
    return key


def answer(site: Site, key: str) -> int:
    """Return the status of an API request with a key."""
    headers = {"Authorization": f"Bearer {key}", "Host": "localhost"}
    return site.fetch(f"{site.address}/api/v1/newsletters", headers=headers).status


@pytest.mark.parametrize("scripts", [True, False], ids=["with_scripts", "without_scripts"])
def test_an_owner_invites_an_editor_makes_a_key_and_lets_nobody_else(
    visit: Callable[..., Visitor], site: Site, scripts: bool
) -> None:
    owner, other = visit(scripts=scripts), visit(scripts=scripts)
    name = f"{'with' if scripts else 'without'}@lamplighter.example"
    home = found(owner, f"owner-{name}")
    invite(owner, home, f"editor-{name}")
    join(other, f"editor-{name}")

    key = create_key(owner, home)
    assert answer(site, key) == 200

    owner.open(f"{home}members")
    owner.follow("Change Ed")
    owner.look("member")
    owner.choose("Viewer")
    owner.press("Save")
    owner.look("members-changed")
    for page in ("members", "keys", "keys/new", "invitations/new"):
        assert other.open(f"{home}{page}") == 403
        other.look("not-for-viewers")
    other.open("/admin/newsletters/newsletter/")
    assert other.page.get_by_role("link", name="Add newsletter").count() == 0
    assert other.open("/admin/newsletters/newsletter/add/") == 403

    owner.open(f"{home}keys")
    owner.follow("Revoke… Website")
    owner.look("key-revoke")
    owner.press("Revoke")
    assert answer(site, key) == 401
    owner.look("keys-revoked")
    owner.open(f"{home}members")
    owner.follow("Change Ed")
    owner.follow("Remove…")
    owner.look("member-remove")
    owner.press("Remove")
    assert other.open(home) == 404


def test_somebody_in_two_publishers_switches_between_them(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    home = found(visitor, "two@lamplighter.example")
    visitor.follow("Set up another publisher")
    visitor.fill(name="The Nightingale")
    visitor.press("Set up")
    visitor.look("publisher-of-two")
    visitor.page.get_by_label("Publisher", exact=True).select_option("The Lamplighter")
    visitor.press("Switch")
    assert visitor.heading() == "The Lamplighter"
    assert visitor.path() == home
    visitor.open("/account/")
    visitor.look("overview-of-two")
    visitor.open(f"{home}leave")
    visitor.look("publisher-leave")
