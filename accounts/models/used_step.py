from __future__ import annotations

from django.db import models


class UsedStep(models.Model):
    """The last 30 seconds whose code of an authenticator app was accepted, counted from 1970 (RFC 6238, 4.2).

    Neither that code nor an earlier one is accepted again.
    """

    authenticator = models.OneToOneField("mfa.Authenticator", models.CASCADE, related_name="+")
    step = models.BigIntegerField()

    def __str__(self) -> str:
        return f"step {self.step}"
