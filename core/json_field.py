"""Fields of forms that take a JSON object: what a page reads is as strict as what the API reads."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from core.errors import CourantError
from core.strict_json import parse_object


class ObjectDecoder(json.JSONDecoder):
    """For Django's JSON fields, whose own decoder fails at numbers of 5,000 digits and at deep nesting."""

    def decode(self, s: str, *_: Any) -> Any:
        """Return the object. Raises JSONDecodeError for whatever `parse_object` refuses."""
        try:
            return parse_object(s.encode(errors="surrogatepass"))
        except CourantError as error:
            raise json.JSONDecodeError(error.detail, "", 0) from error


class JsonObjectField(forms.JSONField):
    """A field for an object of names and values that a person writes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"decoder": ObjectDecoder})
        self.error_messages["invalid"] = (
            'Write a JSON object such as {"town": "Bremen"}, each name once and no number beyond 64 bits.'
        )
