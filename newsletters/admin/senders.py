"""From addresses and whether they may send."""

from __future__ import annotations

from django.contrib import admin

from accounts.admin import BaseAdmin, JourneyForm, Step
from newsletters.models import SenderIdentity
from newsletters.publishing.senders import identify, is_usable, request_verification


class SenderForm(JourneyForm[SenderIdentity]):
    class Meta:
        model = SenderIdentity
        fields = ("publisher", "address")
        help_texts = {"address": "A link is mailed to it, and it may send once somebody there has agreed."}

    def carry_out(self) -> SenderIdentity:
        sender = identify(self.cleaned_data["publisher"], self.cleaned_data["address"])
        if not is_usable(sender):
            request_verification(sender)
        return sender


@admin.register(SenderIdentity)
class SenderIdentityAdmin(BaseAdmin[SenderIdentity]):
    form = SenderForm
    changeable = False
    fields = ("publisher", "address", "usable", "verified_at", "created_at")
    readonly_fields = ("usable", "verified_at", "created_at")
    list_display = ("address", "publisher", "usable", "verified_at", "created_at")
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

    @admin.display(description="may send", boolean=True)
    def usable(self, sender: SenderIdentity) -> bool:
        return sender.pk is not None and is_usable(sender)
