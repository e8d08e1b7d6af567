"""A passkey as a browser would register it."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import sha256, websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from accounts.models import User


def add_passkey(user: User) -> Authenticator:
    """Store a passkey called Laptop that logs in alone. Nobody holds its private key."""
    key = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())  # type: ignore[no-untyped-call]  # fido2 left it out
    held = AttestedCredentialData.create(Aaguid.NONE, b"laptop", key)
    facts = AuthenticatorData.create(sha256(b"testserver"), AuthenticatorData.FLAG.AT, 0, held)
    answer = {
        "clientDataJSON": websafe_encode(CollectedClientData.create("webauthn.create", b"", "https://testserver")),
        "attestationObject": websafe_encode(AttestationObject.create("none", facts, {})),
    }
    name = websafe_encode(b"laptop")
    credential = {"type": "public-key", "id": name, "rawId": name, "response": answer}
    data = {"name": "Laptop", "credential": credential | {"clientExtensionResults": {"credProps": {"rk": True}}}}
    return Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data)
