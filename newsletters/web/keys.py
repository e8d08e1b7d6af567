"""Pages of API keys: which there are, making one, which is shown once, and revoking one."""

from __future__ import annotations

from datetime import timedelta

from django import forms
from django.contrib import messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.models import ApiKey, Publisher, Scope
from accounts.web.asking import OWNERS, Asker, publisher_page
from core.database import database_now
from core.errors import NotFoundError
from core.public_ids import decode
from newsletters.publishing.keys import create_key_as, revoke_key_as
from newsletters.web.choosing import NewslettersForm

SCOPES = [
    (
        "Newsletters",
        [
            (Scope.NEWSLETTERS_READ, "Read newsletters and senders (newsletters:read)"),
            (Scope.NEWSLETTERS_WRITE, "Make, change and delete newsletters (newsletters:write)"),
        ],
    ),
    (
        "Readers",
        [
            (Scope.SUBSCRIBERS_READ, "Read readers, subscriptions and imports (subscribers:read)"),
            (Scope.SUBSCRIBERS_WRITE, "Add awaiting confirmation, change, unsubscribe, erase (subscribers:write)"),
            (Scope.SUBSCRIBERS_CONSENT, "Add and import readers who have already agreed (subscribers:consent)"),
        ],
    ),
    (
        "Issues",
        [
            (Scope.ISSUES_READ, "Read issues, progress and deliveries (issues:read)"),
            (Scope.ISSUES_WRITE, "Write, change and delete drafts, send proofs (issues:write)"),
            (Scope.ISSUES_SEND, "Send, schedule, pause, resume and cancel (issues:send)"),
        ],
    ),
    (
        "Logs",
        [
            (Scope.REQUESTS_READ, "Read the log of API requests (requests:read)"),
            (Scope.AUDIT_READ, "Read the audit log (audit:read)"),
        ],
    ),
]
NEVER = "never"
EXPIRY = [("30", "30 days"), ("90", "90 days"), ("365", "One year"), (NEVER, "Never: until it is revoked")]


class KeyForm(NewslettersForm):
    """What a new key is for, what it may do, and for how long."""

    name = forms.CharField(max_length=100, help_text="What uses it, such as “sign-up form of the website”.")
    scopes = forms.MultipleChoiceField(
        label="It may", choices=SCOPES, widget=forms.CheckboxSelectMultiple, help_text="Choose no more than is needed."
    )
    expires = forms.ChoiceField(label="Valid for", choices=EXPIRY, initial="90")
    field_order = ("name", "scopes", "reach", "newsletters", "expires")

    def carry_out(self) -> tuple[ApiKey, str]:
        days = self.cleaned_data["expires"]
        return create_key_as(
            self.asker.user,
            self.asker.publisher,
            name=self.cleaned_data["name"],
            scopes=self.cleaned_data["scopes"],
            expires_in=None if days == NEVER else timedelta(days=int(days)),
            newsletters=self.chosen(),
            actor=self.asker.actor,
        )


@publisher_page(OWNERS, "GET", "HEAD")
def keys_page(request: HttpRequest, asker: Asker) -> HttpResponse:
    context = {"asker": asker, "keys": _keys(asker.publisher), "now": database_now()}
    members = set(asker.publisher.memberships.values_list("user_id", flat=True))
    return render(request, "newsletters/keys/keys.html", context | {"members": members})


@publisher_page(OWNERS, "GET", "HEAD", "POST", fresh=True)
def new_key_page(request: HttpRequest, asker: Asker) -> HttpResponse:
    """Ask what the key is for; the answer to the POST has the key itself, and no other page ever has."""
    form = KeyForm(request.POST or None, asker=asker)
    if request.method == "POST" and form.is_valid():
        key, text = form.outcome
        return render(request, "newsletters/keys/made.html", {"asker": asker, "key": key, "text": text})
    return render(request, "newsletters/keys/new.html", {"asker": asker, "form": form})


@publisher_page(OWNERS, "GET", "HEAD", "POST")
def revoke_page(request: HttpRequest, asker: Asker, key_id: str) -> HttpResponse:
    """Ask, then make a key worthless."""
    key = _keys(asker.publisher).filter(public_id=decode("key", key_id)).first()
    if key is None:
        raise NotFoundError("not_found", "There is no such key.")
    if request.method == "POST":
        revoke_key_as(asker.user, key, actor=asker.actor)
        messages.success(request, f"“{key.name}” is revoked.")
        return redirect("keys", asker.publisher.uid)
    return render(request, "newsletters/keys/revoke.html", {"asker": asker, "key": key})


def _keys(publisher: Publisher) -> QuerySet[ApiKey]:
    rows = ApiKey.objects.filter(publisher=publisher).select_related("created_by", "publisher")
    # Those that still work first, then the newest.
    return rows.prefetch_related("limits__newsletter").order_by(F("revoked_at").asc(nulls_first=True), "-pk")
