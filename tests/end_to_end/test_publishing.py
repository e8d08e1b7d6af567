"""The main job on all three set-ups, through gunicorn and real workers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.end_to_end.mail_reader import Part, read
from tests.end_to_end.reader_file import ReaderFile, make_reader_file
from tests.services import editor
from tests.services.accounting import account, check_equation
from tests.services.processes import wait_until
from tests.services.sinks import SmtpSink, SunkMail
from tests.services.site import Site

SUBJECT = "Überraschung: 50 % mehr Wetter ☀, und noch viel mehr davon, als in eine Zeile passt"
LINK = re.compile(r"<(https?://[^>]+)>")


def check_headers(site: Site, mail: SunkMail, parsed: Part) -> str:
    """Check one mail's headers and return its personal link."""
    assert not mail.bare_newlines
    assert parsed.header("Subject") == SUBJECT
    assert parsed.header("From") in ("The Gazette <news@gazette.example>", '"The Gazette" <news@gazette.example>')
    assert parsed.header("To").endswith(f"{mail.recipient}>") or parsed.header("To") == mail.recipient
    assert parsed.header("Message-ID") == mail.message_id
    assert parsed.header("MIME-Version") == "1.0"
    assert re.fullmatch(r"\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}", parsed.header("Date"))
    assert re.search(r"<[a-z0-9.-]+>$", parsed.header("List-Id"))
    assert parsed.header("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"
    assert parsed.header("Feedback-ID").count(":") == 3
    [link] = LINK.findall(parsed.header("List-Unsubscribe"))
    assert link.startswith(f"{site.address}/u/")
    assert {"bcc", "cc", "sender"} & set(parsed.headers) == set()
    return str(link)


def check_mails(site: Site, mails: list[SunkMail], file: ReaderFile) -> dict[str, str]:
    """Check every mail of an issue and return the personal link of each reader."""
    assert len(mails) == len(file.readers)
    assert {mail.recipient for mail in mails} == set(file.readers)
    links = {}
    for mail in mails:
        parsed = read(mail.data)
        links[mail.recipient] = check_headers(site, mail, parsed)
        reader = file.readers[mail.recipient]
        plain, html = parsed.leaf("text/plain").text, parsed.leaf("text/html").text
        assert f"Hello {reader.name or 'reader'}" in plain
        assert reader.city.split(",")[0] in plain if reader.city else "your town" in plain
        assert links[mail.recipient] in plain
        assert links[mail.recipient] in html
        assert "{{" not in plain + html
        assert "1 Printing House Square, London" in plain
    assert len(set(links.values())) == len(links)
    assert len({mail.message_id for mail in mails}) == len(mails)
    assert len({mail.sender for mail in mails}) == len(mails)
    assert max(len(mail.sender.partition("@")[0]) for mail in mails) <= 64
    assert {mail.sender.partition("@")[2] for mail in mails} == {"gazette.example"}
    return links


def check_refusals(site: Site, issue_id: str) -> None:
    """Check what may not be done to an issue that has started."""
    second = site.send_issue(issue_id)
    assert (second.status, second.json["code"]) == (409, "issue_not_sendable")
    assert second.headers["Content-Type"].startswith("application/problem+json")
    edit = site.call("PATCH", f"/issues/{issue_id}", {"subject": "Another one"})
    assert (edit.status, edit.json["code"]) == (409, "issue_not_editable")


def subscription(site: Site, newsletter_id: str, address: str) -> Any:
    [found] = site.every(f"/newsletters/{newsletter_id}/subscriptions?search={address}")
    return found


@pytest.fixture
def site(request: pytest.FixtureRequest, make_site: Any) -> Site:
    # A worker that the machine keeps waiting is not to be taken for dead, or mails go out twice.
    made: Site = make_site(request.param, BOUNCE_ADDRESS="bounces@gazette.example", DELIVERY_LEASE_SECONDS="300")
    made.start_web()
    made.start_worker()
    return made


@pytest.mark.parametrize("site", ["embedded", "rabbitmq", "redis"], indirect=True)
def test_an_issue_reaches_exactly_its_readers(site: Site, smtp_sink: SmtpSink) -> None:
    file = make_reader_file()
    newsletter_id = editor.make_newsletter(site)
    done = editor.import_readers(site, newsletter_id, file.data)
    counts = {name: done[name] for name in ("state", "total", "added", "duplicates", "invalid", "refused")}
    assert counts == {
        "state": "done",
        "total": 2000,
        "added": len(file.readers),
        "duplicates": file.duplicates,
        "invalid": len(file.wrong_lines),
        "refused": 0,
    }
    assert {error["line"] for error in site.every(f"/imports/{done['id']}/errors")} == file.wrong_lines

    issue_id = editor.write_issue(site, newsletter_id, subject=SUBJECT)
    site.ask("POST", f"/issues/{issue_id}/proof", {"addresses": ["chief@gazette.example"]})
    wait_until(lambda: smtp_sink.count() == 1, "the proof is there", seconds=180)
    [proof] = smtp_sink.mails()
    assert proof.recipient == "chief@gazette.example"
    assert SUBJECT in read(proof.data).header("Subject")
    smtp_sink.clear()

    unnamed = site.call("POST", f"/issues/{issue_id}/send")
    assert (unnamed.status, unnamed.json["code"]) == (400, "idempotency_key_required")
    assert site.send_issue(issue_id).status == 202
    progress = site.wait_for_issue(issue_id, "sent", seconds=600)
    check_equation(progress)
    assert (progress["audience"], progress["sent"]) == (len(file.readers), len(file.readers))
    check_refusals(site, issue_id)
    links = check_mails(site, smtp_sink.mails(), file)

    leaver, keeper = sorted(file.readers)[:2]
    check_unsubscribe_page(site, newsletter_id, leaver, links[leaver])
    assert subscription(site, newsletter_id, keeper)["state"] == "active"

    smtp_sink.clear()
    second_id = editor.write_issue(site, newsletter_id, subject="The next one")
    assert site.send_issue(second_id).status == 202
    progress = site.wait_for_issue(second_id, "sent", seconds=600)
    check_equation(progress)
    account(site, second_id, smtp_sink, set(file.readers) - {leaver}).require()


def check_unsubscribe_page(site: Site, newsletter_id: str, address: str, link: str) -> None:
    """Check that looking at the link changes nothing and that one click without a cookie ends it."""
    page = site.fetch(link)
    assert page.status == 200
    assert re.search(rb"<form[^>]+method=.?post", page.body, re.IGNORECASE)
    assert subscription(site, newsletter_id, address)["state"] == "active"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    clicked = site.fetch(link, method="POST", data=b"List-Unsubscribe=One-Click", headers=form)
    assert clicked.status == 200
    assert subscription(site, newsletter_id, address)["state"] == "unsubscribed"
    again = site.fetch(link, method="POST", data=b"List-Unsubscribe=One-Click", headers=form)
    assert again.status == 200
    # The last letter of a token carries bits of its signature.
    forged = link[:-2] + ("AA" if not link.endswith("AA") else "BB")
    assert site.fetch(forged, method="POST", data=b"List-Unsubscribe=One-Click", headers=form).status in (400, 404)
