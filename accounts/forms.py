"""Forms that are saved by a journey's function, in the admin and on pages alike."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from django import forms
from pydantic_core import PydanticCustomError

from core.errors import CourantError
from core.text_types import one_line

if TYPE_CHECKING:
    _Form = forms.BaseForm
else:
    _Form = object


class CarriesOut(_Form):
    """What makes a form call a journey once its fields are in order; its refusals appear next to the fields.

    Stands before Django's form class among the bases. `outcome` is what the journey returned.
    """

    cleaned_data: dict[str, Any]
    outcome: Any = None

    @abc.abstractmethod
    def carry_out(self) -> Any:
        """Call the journey. Raises CourantError when it refuses."""

    def full_clean(self) -> None:
        super().full_clean()
        if not self.is_bound:
            return
        self._refuse_line_breaks()
        if self.errors:
            return
        try:
            self.outcome = self.carry_out()
        except CourantError as error:
            self.show(error)

    def _refuse_line_breaks(self) -> None:
        # A forged request can put them where the page has a single line, and names become header lines.
        for name, field in self.fields.items():
            value = self.cleaned_data.get(name)
            if not isinstance(value, str) or isinstance(field.widget, forms.Textarea):
                continue
            try:
                one_line(value)
            except PydanticCustomError as error:
                self.add_error(name, error.message())

    def show(self, error: CourantError) -> None:
        """Put each part of a refusal at the field it names, everything else on top."""
        for part in error.errors:
            field = part.pointer.strip("/").partition("/")[0]
            line = f"Line {part.line}: " if part.line is not None else ""
            self.add_error(field if field in self.fields else None, line + part.detail)
        if not error.errors:
            self.add_error(None, error.detail)
