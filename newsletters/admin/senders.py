"""From addresses: whether they may send, and how fast."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin import BaseAdmin, JourneyForm, Step
from accounts.models import Membership
from newsletters.models import Newsletter, SenderIdentity
from newsletters.publishing.senders import (
    LEAST_RATE,
    MOST_CONNECTIONS,
    MOST_RATE,
    identify,
    is_usable,
    request_verification,
    update_sender,
)

LIMITS = ("max_rate", "max_connections")
FACTS = ("usable", "verified_at", "created_at")


class SenderForm(JourneyForm[SenderIdentity]):
    max_rate = forms.FloatField(
        required=False,
        min_value=LEAST_RATE,
        max_value=MOST_RATE,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text="Mails a second, from all workers together; no limit when empty. A change takes effect within a "
        "second while an issue is being sent.",
    )
    max_connections = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_CONNECTIONS,
        help_text="Connections to the relay at once, from all workers together; no limit when empty. A change takes "
        "effect within seconds while an issue is being sent.",
    )

    class Meta:
        model = SenderIdentity
        fields = ("publisher", "address", *LIMITS)
        help_texts = {"address": "A link is mailed to it, and it may send once somebody there has agreed."}

    def carry_out(self) -> SenderIdentity:
        if self.instance.pk is None:
            sender = identify(self.cleaned_data["publisher"], self.cleaned_data["address"])
            if not is_usable(sender):
                request_verification(sender)
        else:
            sender = self.instance
        changes = {name: self.cleaned_data[name] for name in LIMITS if name in self.changed_data}
        if changes:
            update_sender(sender, **changes)
        return SenderIdentity.objects.get(pk=sender.pk)


@admin.register(SenderIdentity)
class SenderIdentityAdmin(BaseAdmin[SenderIdentity]):
    form = SenderForm
    limit_path = "newsletters__member_limits__membership"
    limited_writes = False
    list_display = ("address", "publisher", "usable", *LIMITS, "verified_at", "created_at")
    list_select_related = ("publisher",)
    search_fields = ("address",)
    steps = (
        Step(
            name="request_verification",
            label="Mail the verification link",
            done="the link is on its way.",
            run=request_verification,
            shown=lambda sender: not is_usable(sender),
        ),
    )

    def scope_limited(self, rows: QuerySet[SenderIdentity], membership: Membership) -> QuerySet[SenderIdentity]:
        # Once each, however many newsletters use it.
        newsletters = Newsletter.objects.alive().filter(member_limits__membership=membership)
        return rows.filter(pk__in=newsletters.values("sender"))

    def get_fields(self, request: HttpRequest, obj: SenderIdentity | None = None) -> tuple[str, ...]:
        own = ("publisher", "address", *LIMITS)
        return own if obj is None else ("uid", *own, *FACTS)

    def get_readonly_fields(self, request: HttpRequest, obj: SenderIdentity | None = None) -> tuple[str, ...]:
        return () if obj is None else ("uid", "publisher", "address", *FACTS)

    @admin.display(description="may send", boolean=True)
    def usable(self, sender: SenderIdentity) -> bool:
        return sender.pk is not None and is_usable(sender)
