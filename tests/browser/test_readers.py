"""The pages that readers open from their mails: the same base as all pages, under stricter headers."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.visitor import Visitor
from tests.services.editor import make_newsletter, write_issue
from tests.services.site import Site


def test_a_reader_confirms_leaves_and_comes_back(visit: Callable[..., Visitor], site: Site) -> None:
    # With scripts, which look at the pages; the pages have none and could run none.
    visitor = visit()
    reader = "rita@example.org"
    newsletter = make_newsletter(site, name="Lamplight")
    site.ask("POST", f"/newsletters/{newsletter}/subscriptions", {"address": reader})

    link = visitor.link_in_mail(reader, "c/")
    visitor.open(link)
    visitor.look("reader-confirm")
    visitor.press("Confirm subscription")
    assert visitor.heading() == "You are subscribed"
    visitor.look("reader-confirmed")
    visitor.open(link[:-3])
    assert visitor.heading() == "This link does not work"
    visitor.look("reader-broken-link")

    issue = write_issue(site, newsletter)
    assert site.send_issue(issue).status == 202
    visitor.open(visitor.link_in_mail(reader, "u/"))
    visitor.look("reader-unsubscribe")
    visitor.press("Unsubscribe")
    assert visitor.heading() == "You are unsubscribed"
    visitor.look("reader-unsubscribed")
    visitor.press("Subscribe again")
    assert visitor.heading() == "Please look into your mail"
    visitor.look("reader-asked-again")
