"""Lists of the admin answer what their own pages ask, and nothing else.

Django's lists take any lookup on any column from the address (`?address__regex=(`), which fails in the database or
finds rows by columns that are not shown.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList, ChangeListSearchForm
from django.http import HttpRequest

# Each word of a search is a condition of its own, of which SQLite takes a thousand.
LONGEST_SEARCH = 300


class _SearchForm(ChangeListSearchForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR] = forms.CharField(required=False, strip=False, max_length=LONGEST_SEARCH)


class StrictList(ChangeList):
    """A list with its own filters alone, and searches of at most 300 characters."""

    search_form_class = _SearchForm

    def get_filters(self, request: HttpRequest) -> Any:
        """Return what Django's does; a parameter that no filter has taken leads to the whole list."""
        found = super().get_filters(request)
        _filters, _has_filters, left, *_rest = found
        if left:
            raise IncorrectLookupParameters(f"No filter takes {', '.join(left)}.")
        return found


class StrictLists:
    """Stands before Django's class among the bases of an admin page."""

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return StrictList
