"""The part of a form that says for which newsletters a member, an invitation or a key is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django import forms

from accounts.forms import CarriesOut
from accounts.web.asking import Asker
from newsletters.models import Newsletter

ALL, CHOSEN = "all", "chosen"


class NewslettersForm(CarriesOut, forms.Form):
    """A form of a publisher's owner with the choice between all newsletters and some."""

    reach = forms.ChoiceField(
        label="For",
        choices=[(ALL, "All newsletters, future ones too"), (CHOSEN, "Only those chosen below")],
        initial=ALL,
        widget=forms.RadioSelect,
    )
    newsletters = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, asker: Asker, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.asker = asker
        rows = Newsletter.objects.alive().filter(publisher=asker.publisher).order_by("name", "pk")
        self._known = {one.uid: one for one in rows}
        self.fields["newsletters"].choices = [(uid, one.name) for uid, one in self._known.items()]  # type: ignore[attr-defined]  # as declared above
        if not self._known and self.get_initial_for_field(self.fields["reach"], "reach") == ALL:
            # There is nothing to choose from, and nothing that could be widened unawares.
            del self.fields["reach"], self.fields["newsletters"]

    def chosen(self) -> Collection[Newsletter] | None:
        """Return the chosen newsletters, None for all."""
        if self.cleaned_data.get("reach", ALL) == ALL:
            return None
        return [self._known[uid] for uid in self.cleaned_data["newsletters"]]


def reach_of(limited: bool, newsletters: Collection[Newsletter]) -> dict[str, Any]:
    """Return how the form begins for what is limited to these."""
    return {"reach": CHOSEN if limited else ALL, "newsletters": [one.uid for one in newsletters]}
