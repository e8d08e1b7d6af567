"""The contract as a file: it is what the code says, it is valid, and it breaks no client unannounced."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from newsletters.api.vocabulary import ENUMS, FIELDS, TAGS
from tests.api.compatibility import breaks
from tests.api.documented import DOCUMENT
from tests.services.environment import ROOT

FILE = "docs/openapi.json"
Json = dict[str, Any]
SCHEMAS: Json = DOCUMENT["components"]["schemas"]


def committed() -> Json:
    return dict(json.loads((ROOT / FILE).read_text(encoding="utf-8")))


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    return done.stdout.strip() if done.returncode == 0 else ""


def published() -> Json | None:
    """Return the document of the last release; before the first one, the file as it was before its last change."""
    tag = git("describe", "--tags", "--abbrev=0", "--match", "v*")
    for commit in [tag] if tag else git("log", "--format=%H", "-n", "2", "--", FILE).split():
        text = git("show", f"{commit}:{FILE}")
        if text and json.loads(text) != committed():
            return dict(json.loads(text))
    return None


def test_the_file_is_what_the_code_says() -> None:
    assert committed() == json.loads(json.dumps(DOCUMENT, default=str)), "run `make openapi`"


def test_the_document_is_valid() -> None:
    validate(committed())


def test_nothing_is_broken_that_no_decision_names() -> None:
    before = published()
    decisions = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "decisions").glob("*.md"))
    broken = [] if before is None else breaks(before, committed())
    unnamed = [line for line in broken if f"Breaking: {line}" not in decisions]
    assert unnamed == [], "name each in a decision record as `Breaking: …`"


def _drop_path(new: Json) -> None:
    del new["paths"]["/api/v1/senders"]


def _drop_field(new: Json) -> None:
    del new["components"]["schemas"]["IssueOut"]["properties"]["subject"]


def _drop_value(new: Json) -> None:
    new["components"]["schemas"]["IssueState"]["enum"].remove("paused")


def _need_field(new: Json) -> None:
    new["components"]["schemas"]["IssueIn"]["required"].append("preheader")


def _need_parameter(new: Json) -> None:
    new["paths"]["/api/v1/senders"]["get"]["parameters"][0]["required"] = True


def _change_type(new: Json) -> None:
    new["components"]["schemas"]["ProgressOut"]["properties"]["sent"]["type"] = "string"


def _shorten(new: Json) -> None:
    new["components"]["schemas"]["IssueIn"]["properties"]["subject"]["maxLength"] = 100


def _rename(new: Json) -> None:
    new["paths"]["/api/v1/senders"]["get"]["operationId"] = "senders"


def _make_optional(new: Json) -> None:
    new["components"]["schemas"]["IssueOut"]["required"].remove("subject")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_drop_path, "GET /api/v1/senders is gone"),
        (_drop_field, "IssueOut.subject is gone"),
        (_drop_value, "IssueState no longer has the value paused"),
        (_need_field, "IssueIn needs preheader"),
        (_need_parameter, "GET /api/v1/senders needs the parameter limit"),
        (_change_type, "ProgressOut.sent has another type"),
        (_shorten, "IssueIn.subject has a narrower maxLength"),
        (_rename, "GET /api/v1/senders is called senders"),
        (_make_optional, "IssueOut may lack subject"),
    ],
)
def test_a_breaking_change_is_found(change: Callable[[Json], None], line: str) -> None:
    new = copy.deepcopy(committed())
    change(new)
    assert breaks(committed(), new) == [line]


def test_what_is_new_breaks_nobody() -> None:
    new = copy.deepcopy(committed())
    new["paths"]["/api/v1/weather"] = {"get": {"operationId": "get_weather", "responses": {}}}
    new["components"]["schemas"]["IssueOut"]["properties"]["weather"] = {"type": "string"}
    new["components"]["schemas"]["IssueIn"]["properties"]["weather"] = {"type": "string"}
    new["components"]["schemas"]["IssueState"]["enum"].append("framed")
    assert breaks(committed(), new) == []


@pytest.mark.parametrize("name", [name for name, one in SCHEMAS.items() if "properties" in one])
def test_every_field_says_what_it_is(name: str) -> None:
    silent = [field for field, fact in SCHEMAS[name]["properties"].items() if not fact.get("description")]
    assert silent == []
    assert SCHEMAS[name].get("description"), "a docstring"


@pytest.mark.parametrize("name", [name for name, one in SCHEMAS.items() if "examples" in one])
def test_every_example_is_of_its_schema(name: str) -> None:
    validator = Draft202012Validator(SCHEMAS[name] | {"components": DOCUMENT["components"]})
    for example in SCHEMAS[name]["examples"]:
        assert [error.message for error in validator.iter_errors(example)] == []


def test_every_schema_of_an_object_has_an_example() -> None:
    assert [name for name, one in SCHEMAS.items() if "properties" in one and "examples" not in one] == []


def test_operations_have_names_and_areas_that_are_explained() -> None:
    operations = [one for methods in DOCUMENT["paths"].values() for one in methods.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    assert {tag for one in operations for tag in one["tags"]} == set(TAGS)
    assert all(parameter["description"] for one in operations for parameter in one["parameters"])


def test_no_word_is_kept_for_nothing() -> None:
    text = json.dumps(DOCUMENT, default=str)
    fields = {field for one in SCHEMAS.values() for field in one.get("properties", {})}
    parameters = {
        one["name"] for path in DOCUMENT["paths"].values() for op in path.values() for one in op["parameters"]
    }
    models = {f"{name}.{field}" for name, one in SCHEMAS.items() for field in one.get("properties", {})}
    assert set(FIELDS) - fields - parameters - models == set()
    assert [name for name in ENUMS if f'"#/components/schemas/{name}"' not in text] == []
