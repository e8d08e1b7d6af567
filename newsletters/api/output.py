"""The base of every answer's schema."""

from __future__ import annotations

from typing import Any, Self

from django.db.models import Model
from pydantic import BaseModel


class Output(BaseModel):
    """What the API shows of a row: the listed fields and nothing else."""

    @classmethod
    def copy_of(cls, row: Model, **special: Any) -> Self:
        """Return an answer whose fields are the row's of the same name, but for those given."""
        plain = {name: getattr(row, name) for name in cls.model_fields if name not in special}
        return cls(**plain, **special)
