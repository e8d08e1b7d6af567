"""The adapter for second factors: what django-allauth's MFA asks Courant to decide."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm
from allauth.mfa.webauthn.internal import auth
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from accounts.doors.second_factor_rule import FACTORS, must_have_one
from accounts.models import UsedStep, User
from core.json_field import ObjectDecoder
from core.tokens import derive_key

PURPOSE = "second-factor"


class UnreadableSecretError(Exception):
    """None of SIGNING_KEYS is the one that a stored secret was encrypted with."""


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """Secrets lie encrypted in the database, and passkeys are bound to the site's public address."""

    def encrypt(self, text: str) -> str:
        """Return the secret under the first of SIGNING_KEYS, so that a copy of the database makes no codes."""
        return _box(tuple(settings.SIGNING_KEYS)).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return a secret that any of SIGNING_KEYS encrypted. Raises UnreadableSecretError."""
        try:
            return _box(tuple(settings.SIGNING_KEYS)).decrypt(encrypted_text.encode()).decode()
        except InvalidToken as error:
            raise UnreadableSecretError("Put the key that was removed from SIGNING_KEYS back in.") from error

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """Say whether somebody who must have a second factor keeps one."""
        others = Authenticator.objects.filter(user_id=authenticator.user_id, type__in=FACTORS)
        last = authenticator.type in FACTORS and not others.exclude(pk=authenticator.pk).exists()
        return not (last and must_have_one(authenticator.user))

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:  # noqa: A002  # its word
        """Return what a new passkey is called until its owner says better."""
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1
        return "Passkey" if number == 1 else f"Passkey {number}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Name the site by BASE_URL (WebAuthn, 5.4.2): a passkey must not depend on what a request says."""
        return {"id": urlsplit(settings.BASE_URL).hostname or "localhost", "name": self._get_site_name()}

    def _get_site_name(self) -> str:
        return str(settings.MFA_TOTP_ISSUER)


def use_step(totp: TOTP, code: str) -> bool:
    """Take the code of an authenticator app for used, with all earlier ones; say whether it was not yet.

    Of two who send it at once the second finds it used (RFC 6238, 5.2).
    """
    secret = decrypt(totp.instance.data["secret"])
    expected = {step: format_hotp_value(hotp_value(secret, step)) for step in yield_hotp_counters_from_time()}
    steps = [step for step, right in expected.items() if compare_user_code(actual=code, expected=right)]
    # The time goes on while a code is looked at: the oldest may be one too old by now.
    if not steps:
        return False
    UsedStep.objects.bulk_create([UsedStep(authenticator=totp.instance, step=-1)], ignore_conflicts=True)
    fresh = UsedStep.objects.filter(authenticator=totp.instance, step__lt=max(steps))
    return fresh.update(step=max(steps)) == 1


# django-allauth, which has no setting for it, notes the code in the cache for 30 seconds: with a tolerance it is good
# for longer, and an earlier one would be after a later one.
TOTP._mark_code_used = use_step  # noqa: SLF001


def _refusing(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a parser of what a passkey has answered that refuses every wrong form of it as a wrong code."""

    @functools.wraps(parse)
    def parsed(response: Any) -> Any:
        try:
            return parse(response)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise get_adapter().validation_error("incorrect_code") from error

    return parsed


# django-allauth expects some of the errors that fido2 raises; the others would be a 500, for strangers too.
auth.parse_registration_response = _refusing(auth.parse_registration_response)
auth.parse_authentication_response = _refusing(auth.parse_authentication_response)
for _form in (AddWebAuthnForm, AuthenticateWebAuthnForm):
    _form.base_fields["credential"].decoder = ObjectDecoder


@functools.lru_cache(maxsize=8)
def _box(masters: tuple[str, ...]) -> MultiFernet:
    return MultiFernet(Fernet(base64.urlsafe_b64encode(derive_key(PURPOSE, master))) for master in masters)
