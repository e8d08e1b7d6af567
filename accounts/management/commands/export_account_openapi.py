"""Write the contract of the API of accounts, as django-allauth and our sign-up form have it."""

from __future__ import annotations

import json
import re
from typing import Any

from allauth.headless.spec.internal.schema import get_schema
from django.core.management.base import BaseCommand

from accounts.doors.specification import FILE

DESCRIPTION = """\
Sign up, verify an address, log in, set up second factors and end sessions, by program. This is django-allauth's API
for apps: the session is named by the header `X-Session-Token`, which answers give out as `meta.session_token` and
change at log-in. 401 is the normal answer while something is missing; `data.flows` says what. Bodies are
`application/json`. Publishing has an API of its own, `/api/v1/openapi.json`, which takes API keys.
"""


# What Courant does not offer: telephone numbers, log-in by code, tokens that are renewed.
LEFT_OUT = ("/phone", "/auth/code", "/verify/resend", "/tokens/")
# What Courant adds (newsletters.web.joining).
ACCEPT_INVITATION = {
    "post": {
        "tags": ["Invitations"],
        "summary": "Accept an invitation",
        "description": "For people who have an account with the invited address; others sign up with `invitation`.",
        "parameters": [{"$ref": "#/components/parameters/SessionToken"}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["invitation"],
                        "properties": {
                            "invitation": {
                                "type": "string",
                                "description": "What follows /invitations/ in the mailed link.",
                            }
                        },
                    },
                    "example": {"invitation": "2QHlyWsCJzgAAAAAAAAADKdLXwl_6XFkm44L6-ulDMQ"},
                }
            },
        },
        "responses": {
            "200": {
                "description": "You are a member now.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["status", "data"],
                            "properties": {"status": {"type": "integer"}, "data": {"type": "object"}},
                        },
                        "example": {
                            "status": 200,
                            "data": {
                                "publisher": {"id": "pub_01kaj4v4a5e8rbm3h2cw6x9d7f", "name": "The Gazette"},
                                "role": "editor",
                                "limited": False,
                            },
                        },
                    }
                },
            },
            "400": {"$ref": "#/components/responses/Error"},
            "401": {"$ref": "#/components/responses/Authentication"},
            "403": {"description": "`other_address`: the invitation is for another address."},
            "409": {"description": "`already_member` or `invitation_accepted`."},
        },
    }
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document. Needs PyYAML, which is installed for development alone."""
    made: dict[str, Any] = get_schema()
    made["info"] = {"title": "Courant: accounts", "version": "1", "description": DESCRIPTION}
    made["servers"] = [{"url": "/", "description": "This installation"}]
    made["paths"] = {path: what for path, what in made["paths"].items() if not any(one in path for one in LEFT_OUT)}
    made["paths"]["/account/api/app/v1/account/invitations"] = ACCEPT_INVITATION
    made["tags"].append({"name": "Invitations", "description": "Joining the publishers that one is invited to."})
    tags = {tag for what in made["paths"].values() for one in what.values() for tag in one.get("tags", ())}
    made["tags"] = [tag for tag in made["tags"] if tag["name"] in tags]
    made.pop("x-tagGroups", None)
    _leave_out_unused(made)
    return made


def _leave_out_unused(made: dict[str, Any]) -> None:
    """Remove components that nothing refers to, again and again, since some refer to others."""
    while True:
        named = set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(made)))
        unused = [
            (kind, name)
            for kind, components in made["components"].items()
            for name in components
            if f"{kind}/{name}" not in named and kind != "securitySchemes"
        ]
        for kind, name in unused:
            del made["components"][kind][name]
        if not unused:
            return


class Command(BaseCommand):
    help = "Write accounts/doors/openapi.json, the contract of the API below /account/api/."

    def handle(self, *_args: Any, **_options: Any) -> None:
        FILE.write_text(json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n")
