"""The API of accounts: what programs read about it, and one whole life through it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.cache import cache
from django.test import Client
from openapi_spec_validator import validate

from accounts.links import reset_link, verification_link
from accounts.management.commands.export_account_openapi import document
from accounts.models import AccountMail, AccountMailKind, User
from tests import cast
from tests.accounts.doors import ZOE, App, code_of
from tests.services.environment import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_sign_up")]
NEW = "another long pass phrase"
WORDS = json.loads((ROOT / "docs" / "openapi.json").read_text())


def contract() -> dict[str, Any]:
    answer = Client().get("/account/api/openapi.json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/vnd.oai.openapi+json")
    found: dict[str, Any] = json.loads(answer.getvalue())
    return found


def test_the_contract_of_the_accounts_api_is_valid_and_as_the_code_has_it() -> None:
    assert contract() == json.loads(json.dumps(document())), "run `make openapi`"
    validate(contract())


def test_the_contract_describes_what_is_there_and_what_sign_up_takes() -> None:
    found = contract()
    app = App()
    for path in found["paths"]:
        assert app.call("OPTIONS", path.removeprefix("/account/api/app/v1/")).status_code not in (404, 500), path
    signup = found["components"]["schemas"]["BaseSignup"]["properties"]
    assert set(signup) == {"email", "name", "invitation"}
    assert found["servers"][0]["url"] == "/"


def test_the_contract_of_publishing_leads_to_that_of_accounts() -> None:
    assert WORDS["externalDocs"]["url"] == "/account/api/openapi.json"
    assert "/account/api/openapi.json" in WORDS["info"]["description"]


@pytest.mark.parametrize("page", ["openapi.html", ""])
def test_no_page_of_the_accounts_api_asks_another_host(page: str) -> None:
    assert Client().get(f"/account/api/{page}").status_code == 404
    assert Client().get("/account/api/openapi.yaml")["Location"] == "/account/api/openapi.json"


def key_of(link: str) -> str:
    """Return the key in the link of a mail: what stands before the last slash."""
    return re.sub(r".*/([^/]+)/$", r"\1", link)


def pending(answer: Any) -> list[str]:
    assert answer.status_code == 401
    return [flow["id"] for flow in answer.json()["data"]["flows"] if flow.get("is_pending")]


def test_a_program_goes_from_sign_up_over_a_second_factor_to_a_new_password() -> None:
    app = App()
    assert pending(app.post("auth/signup", email=ZOE, password=cast.PASSWORD, name="Zoë")) == ["verify_email"]
    key = key_of(verification_link(EmailAddress.objects.get()))
    assert app.call("GET", "auth/email/verify", **{"X-Email-Verification-Key": key}).status_code == 200
    assert app.post("auth/email/verify", key=key).status_code == 401

    assert app.post("auth/login", email=ZOE, password=cast.PASSWORD).status_code == 200
    assert app.call("GET", "auth/session").json()["data"]["user"]["email"] == ZOE

    asked = app.call("GET", "account/authenticators/totp")
    assert asked.status_code == 404
    secret = asked.json()["meta"]["secret"]
    # Who takes over a session gets no further with it: the password is asked for once more.
    assert app.post("account/authenticators/totp", code=code_of(secret)).status_code == 401
    assert app.post("auth/reauthenticate", password=cast.PASSWORD).status_code == 200
    assert app.post("account/authenticators/totp", code=code_of(secret)).status_code == 200
    assert len(app.call("GET", "account/authenticators/recovery-codes").json()["data"]["unused_codes"]) == 10
    assert app.call("DELETE", "auth/session").status_code == 401

    cache.clear()
    again = App()
    assert pending(again.post("auth/login", email=ZOE, password=cast.PASSWORD)) == ["mfa_authenticate"]
    assert again.post("auth/2fa/authenticate", code=code_of(secret)).status_code == 200

    visitor = App()
    assert visitor.post("auth/password/request", email=ZOE).status_code == 200
    assert AccountMail.objects.filter(kind=AccountMailKind.RESET_PASSWORD, to_address=ZOE).exists()
    key = key_of(reset_link(User.objects.get()))
    assert visitor.call("GET", "auth/password/reset", **{"X-Password-Reset-Key": key}).status_code == 200
    assert visitor.post("auth/password/reset", key=key, password=NEW).status_code == 401
    assert visitor.post("auth/password/reset", key=key, password=cast.PASSWORD).status_code == 400
    assert again.call("GET", "auth/session").status_code in (401, 410)
    assert pending(App().post("auth/login", email=ZOE, password=NEW)) == ["mfa_authenticate"]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ('"\\ud800 a long pass phrase"', "lone_surrogate"),
        ("[" * 50_000, "invalid_json"),
        ("[" * 200 + "]" * 200, "too_deep"),
        ("9" * 5_000, "number_too_large"),
        ('"\xff"', "invalid_json"),
        ('"' + "x" * 2_200_000 + '"', "body_too_large"),
    ],
    ids=["surrogate", "nested", "deep", "number", "latin-1", "large"],
)
def test_what_is_not_plain_json_is_refused_in_the_form_of_the_api(value: str, code: str) -> None:
    body = f'{{"email": "{ZOE}", "password": {value}}}'.encode("latin-1")
    answer = Client().generic("POST", "/account/api/app/v1/auth/login", body, "application/json")
    assert answer.json()["status"] == answer.status_code
    assert 400 <= answer.status_code < 500
    assert [error["code"] for error in answer.json()["errors"]] == [code]


def test_errors_that_no_view_answered_are_json_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert App().call("GET", "nothing").json()["errors"][0]["code"] == "not_found"
    refused = App().call("POST", "config", {})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (405, "method_not_allowed")
    assert "GET" in refused["Allow"]
    monkeypatch.setattr("allauth.headless.base.views.ConfigView.get", None)
    answer = Client(raise_request_exception=False).get("/account/api/app/v1/config")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, "internal_error")
