from __future__ import annotations

from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models, transaction
from django.db.models import QuerySet
from django.db.models.functions import Lower


class UserManager(BaseUserManager["User"]):
    """Makes users whose log-in is their e-mail address."""

    @transaction.atomic
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Store somebody whom the operator vouches for: the address counts as verified."""
        user = self.model(email=email.lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        user.vouch_for_address()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractUser):
    """A person who signs in with an e-mail address."""

    username = None  # type: ignore[assignment]  # Django's documented way to drop the inherited field
    first_name = None  # type: ignore[assignment]  # one name field fits every culture
    last_name = None  # type: ignore[assignment]  # the same
    name = models.CharField(max_length=100, blank=True)
    email = models.EmailField(max_length=254, unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()  # type: ignore[misc, assignment]  # AbstractUser declares its own manager type

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_any_case")]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name or self.email

    @transaction.atomic
    def vouch_for_address(self) -> None:
        """Make the address in `email` the verified and only one; log-in and mails go by that row."""
        EmailAddress.objects.filter(user=self).exclude(email=self.email.lower()).delete()
        # Whoever had only asked to change to it has lost it.
        requests_for(self.email).exclude(user=self).delete()
        known = {"verified": True, "primary": True}
        EmailAddress.objects.update_or_create(user=self, email=self.email.lower(), defaults=known)

    def end_unproven_password(self) -> None:
        """Make the password unusable unless the address was verified, to be saved by the caller.

        Anybody may sign up with any address: whoever chose the password then never showed that this one is theirs.
        """
        if not EmailAddress.objects.filter(user=self, email=self.email.lower(), verified=True).exists():
            self.set_unusable_password()


def requests_for(address: str) -> QuerySet[EmailAddress]:
    """Return the rows of accounts that asked to change to the address and have not shown that it is theirs."""
    rows: QuerySet[EmailAddress] = EmailAddress.objects.filter(email=address.lower(), verified=False, primary=False)
    return rows.exclude(user__email__iexact=address)
