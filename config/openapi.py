"""What Ninja's document leaves out: every operation's errors with their codes, examples, and what is not null."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from accounts.access import KeyBearer
from core.problems import MEDIA_TYPE, Problem, title_of
from newsletters.api import codes

REF = "#/components/schemas/"
HEADER_REF = "#/components/headers/"
RETRY = "Retry-After"
LIMIT_HEADERS = {
    "RateLimit-Policy": 'What may be asked, such as `"key";q=100;w=1`: 100 requests in 1 second '
    "(draft-ietf-httpapi-ratelimit-headers-10). Left out where nothing is limited.",
    "RateLimit": 'What is left of it, such as `"key";r=99;t=1`: 99 requests, all of them again after 1 second.',
}
# What the schema of an error is called after.
NAMES = {
    400: "BadRequest",
    401: "NotAuthenticated",
    403: "NotAllowed",
    404: "NotFound",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "TooLarge",
    415: "MediaType",
    422: "Invalid",
    428: "PreconditionRequired",
    429: "TooManyRequests",
    500: "Internal",
    503: "Unavailable",
}


def complete(document: dict[str, Any]) -> None:
    """Change Ninja's document in place into one that says what really happens."""
    schemas = document["components"]["schemas"]
    # Ninja lists the models of query parameters as if something referred to them.
    for name in [name for name in schemas if name.endswith("Query")]:
        del schemas[name]
    _add_problem(schemas)
    described = {**LIMIT_HEADERS, RETRY: "Seconds to wait before the next request."}
    document["components"]["headers"] = {
        name: {"description": text, "schema": {"type": "integer" if name == RETRY else "string"}}
        for name, text in described.items()
    }
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete_operation(operation, method, schemas)
    for one in _properties(schemas):
        # A field that may be left out has no value then; null is refused.
        if one.get("default", ...) is None and {"type": "null"} not in one.get("anyOf", []):
            del one["default"]
    document["components"]["schemas"] = dict(sorted(schemas.items()))


def _properties(schemas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for schema in schemas.values():
        yield from schema.get("properties", {}).values()


def _add_problem(schemas: dict[str, Any]) -> None:
    problem = Problem.model_json_schema(ref_template=REF + "{model}")
    schemas |= problem.pop("$defs")
    schemas[Problem.__name__] = problem
    schemas["FieldProblem"]["properties"]["code"]["enum"] = sorted(codes.MEANINGS[422])


def _complete_operation(operation: dict[str, Any], method: str, schemas: dict[str, Any]) -> None:
    operation["security"] = [{KeyBearer.__name__: [operation["x-scope"]]}]
    for parameter in operation["parameters"]:
        # A parameter is given or left out; there is no null in an address.
        given = [one for one in parameter["schema"].pop("anyOf", []) if one != {"type": "null"}]
        parameter["schema"] |= given[0] if given else {}
    always = codes.EVERY if method == "get" else (*codes.EVERY, *codes.WRITE)
    told = {*operation.pop("x-codes"), *always}
    answers = operation["responses"]
    answers |= {status: _error(operation["operationId"], status, told, schemas) for status in _statuses(told)}
    for status, answer in answers.items():
        names = [*LIMIT_HEADERS, *([RETRY] if status in {429, 503} else [])]
        answer["headers"] = {name: {"$ref": HEADER_REF + name} for name in names}
    # Ninja's keys are numbers.
    operation["responses"] = {str(status): answers[status] for status in sorted(answers)}


def _error(operation_id: str, status: int, told: set[str], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the answer for one status of an operation; its schema lists the codes."""
    possible = _of(status, told)
    shared = [name for name, group in codes.SHARED.items() if _of(status, group) == possible]
    camel = "".join(word.capitalize() for word in operation_id.split("_"))
    name = f"{shared[0] if shared else camel}{NAMES[status]}Problem"
    example = {
        "type": f"urn:courant:problem:{possible[0]}",
        "title": title_of(status),
        "status": status,
        "detail": codes.MEANINGS[status][possible[0]],
        "code": possible[0],
        "errors": [],
    }
    schemas[name] = {
        "title": name,
        "description": _list(status, possible),
        "allOf": [
            {"$ref": REF + Problem.__name__},
            {
                "type": "object",
                "properties": {"status": {"type": "integer", "const": status}, "code": _enum(possible)},
                "required": ["status", "code"],
            },
        ],
        "examples": [example],
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": REF + name}}}
    return {"description": _list(status, possible), "content": content}


def _enum(possible: list[str]) -> dict[str, Any]:
    return {"type": "string", "enum": possible, "description": "Stable machine-readable word."}


def _statuses(told: set[str]) -> set[int]:
    return {codes.STATUS_OF[code] for code in told}


def _of(status: int, told: Iterable[str]) -> list[str]:
    return sorted({code for code in told if codes.STATUS_OF[code] == status})


def _list(status: int, possible: list[str]) -> str:
    lines = [f"* `{code}`: {codes.MEANINGS[status][code]}" for code in possible]
    return "\n".join([f"{title_of(status)}.", "", *lines])
