"""One demonstration from the first migration to the summary, and then the site."""

from __future__ import annotations

import time
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now

from core.models import ClockLease
from newsletters.demo import maildir, steps
from newsletters.demo.children import Children
from newsletters.demo.environment import Surroundings
from newsletters.demo.terminal import Screen, shortfall
from newsletters.models import Import, Issue
from newsletters.models.audience_import import ImportState
from newsletters.models.issue import IssueState
from newsletters.publishing.progress import measure

POLL_SECONDS = 0.1
LIMIT_SECONDS = 120
ENDED = (IssueState.SENT, IssueState.CANCELLED, IssueState.BLOCKED, IssueState.PAUSED)


class DemoFailedError(Exception):
    """The demonstration did not come to its end."""


def run(surroundings: Surroundings, children: Children, screen: Screen, *, once: bool) -> None:
    """Do everything. Raises DemoFailedError, or ChildEndedError when a process fails."""
    manage = str(Path(settings.BASE_DIR) / "manage.py")
    children.start("catcher", [manage, "catcher", "--port", str(surroundings.mail_port)])
    screen.line("Preparing the database …")
    call_command("migrate", verbosity=0)
    children.start("worker", [manage, "worker"])
    publisher, password = steps.prepare_publisher()
    newsletter = steps.prepare_newsletter(publisher)
    children.wait_for_port(surroundings.mail_port)
    _wait_for_clock(children)
    before = set(maildir.names())
    began = time.monotonic()
    _import(children, screen, steps.begin_import(newsletter).pk)
    issue = steps.begin_issue(newsletter)
    screen.line(f"Sending “{issue.subject}” …")
    _watch(children, screen, issue.pk)
    seconds = time.monotonic() - began
    progress, caught = measure(issue), steps.count_caught(before, issue.subject)
    screen.summary(progress, caught, seconds)
    if missing := shortfall(progress, caught):
        raise DemoFailedError(missing)
    screen.line("Everybody is accounted for.")
    if not once:
        _serve(surroundings, children, screen, password=password, key=steps.prepare_key(publisher))


def _wait_for_clock(children: Children) -> None:
    """Return once a worker's clock ticks, so that what follows is the work and not the workers' start."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not ClockLease.objects.filter(holder__isnull=False, until__gt=Now()).exists():
        children.check()
        if time.monotonic() > deadline:
            raise DemoFailedError(f"No worker is ready after {LIMIT_SECONDS} s; see worker.log in {children.folder}.")
        time.sleep(POLL_SECONDS)


def _import(children: Children, screen: Screen, import_id: int) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        children.check()
        found = Import.objects.get(pk=import_id)
        if found.state == ImportState.DONE:
            screen.line(f"Imported {found.total:,} readers: {found.added:,} new, {found.already_present:,} known.")
            return
        if found.state == ImportState.FAILED:
            raise DemoFailedError(f"The import failed: {found.failure}")
        time.sleep(POLL_SECONDS)
    raise DemoFailedError(f"The import has not ended after {LIMIT_SECONDS} s; see worker.log in {children.folder}.")


def _watch(children: Children, screen: Screen, issue_id: int) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        children.check()
        issue = Issue.objects.get(pk=issue_id)
        progress = measure(issue)
        screen.progress(progress)
        if issue.state in ENDED:
            screen.close_bar()
            if issue.state != IssueState.SENT:
                raise DemoFailedError(f"The issue is {issue.state}: {issue.state_detail or issue.state_reason}")
            return
        time.sleep(POLL_SECONDS)
    raise DemoFailedError(f"The issue has not ended after {LIMIT_SECONDS} s; see worker.log in {children.folder}.")


def _serve(surroundings: Surroundings, children: Children, screen: Screen, *, password: str, key: str) -> None:
    # The site runs beside us from here on; an idle connection would only hold the SQLite file open.
    connection.close()
    arguments = ["-m", "gunicorn", "--config", str(Path(settings.BASE_DIR) / "config" / "gunicorn.py")]
    # One process is enough here, and only this machine may reach it.
    children.start("web", [*arguments, "--bind", f"127.0.0.1:{surroundings.web_port}", "--workers", "1"])
    children.wait_for_port(surroundings.web_port)
    screen.line()
    screen.line(f"  admin         {surroundings.base_url}/admin/")
    screen.line(f"                sign in as {steps.ADMIN} with the password {password}")
    screen.line(f"  caught mails  {surroundings.base_url}/mail/")
    screen.line(f"  API           {surroundings.base_url}/api/v1/docs")
    screen.line(f"                with the key {key}")
    screen.line()
    screen.line("Ctrl-C stops everything.")
    while True:
        children.check()
        time.sleep(0.5)
