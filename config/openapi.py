"""What Ninja's document leaves out: every operation's errors with their codes, examples, and what is not null."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accounts.access import KeyBearer
from core.problems import MEDIA_TYPE, Problem, title_of
from newsletters.api import codes
from newsletters.api.vocabulary import ENUMS, FIELDS, TAGS

REF = "#/components/schemas/"
HEADER_REF = "#/components/headers/"
RETRY = "Retry-After"
LIMIT_HEADERS = {
    "RateLimit-Policy": 'What may be asked, such as `"key";q=100;w=1`: 100 requests in 1 second '
    "(draft-ietf-httpapi-ratelimit-headers-10). Left out where nothing is limited.",
    "RateLimit": 'What is left of it, such as `"key";r=99;t=1`: 99 requests, all of them again after 1 second.',
}
# Of fields that have no example of their own.
EXAMPLES: dict[str, Any] = {"boolean": False, "integer": 1, "object": {}}
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
    described = {**LIMIT_HEADERS, RETRY: "Seconds to wait before the next request."}
    document["components"]["headers"] = {
        name: {"description": text, "schema": {"type": "integer" if name == RETRY else "string"}}
        for name, text in described.items()
    }
    for operations in document["paths"].values():
        for method, operation in operations.items():
            _complete_operation(operation, method, schemas)
    _add_problem(schemas)
    for name, schema in schemas.items():
        schema.setdefault("title", name)
        for field, fact in schema.get("properties", {}).items():
            _complete_field(name, field, fact)
    schemas |= {name: {"title": name, "type": "string", "enum": values} for name, values in ENUMS.items()}
    _show_examples(document)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]


def _complete_field(model: str, field: str, fact: dict[str, Any]) -> None:
    """Say what a field is, where its model does not."""
    fact.pop("title", None)
    optional = {"type": "null"} in fact.get("anyOf", [])
    # A field that may be left out has no value then; null is refused.
    if fact.get("default", ...) is None and not optional:
        del fact["default"]
    description, example = FIELDS.get(f"{model}.{field}", FIELDS.get(field, (None, None)))
    if description is not None:
        fact.setdefault("description", description)
    if example is not None:
        fact.setdefault("examples", [example])
    _name_enum(fact)


def _name_enum(fact: dict[str, Any]) -> None:
    for name, values in ENUMS.items():
        if fact.get("enum") == values:
            del fact["enum"], fact["type"]
            fact["$ref"] = REF + name


def _show_examples(document: dict[str, Any]) -> None:
    """Give each schema an example made of its fields', and each answer that of its schema."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        if "properties" in schema and "examples" not in schema:
            fields = schema["properties"].items()
            schema["examples"] = [{field: example_of(fact, schemas) for field, fact in fields}]


def example_of(fact: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return a value of the kind that a schema describes: its own example, or one made of what it consists of."""
    if "examples" in fact:
        return fact["examples"][0]
    if "$ref" in fact:
        return example_of(schemas[fact["$ref"].removeprefix(REF)], schemas)
    if "properties" in fact:
        return {field: example_of(one, schemas) for field, one in fact["properties"].items()}
    if "enum" in fact:
        return fact["enum"][0]
    if "anyOf" in fact and {"type": "null"} in fact["anyOf"]:
        return None
    return [example_of(fact["items"], schemas)] if fact["type"] == "array" else EXAMPLES[fact["type"]]


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
        parameter["schema"].pop("title", None)
        _name_enum(parameter["schema"])
        # Ninja writes the schema's examples, a list, where OpenAPI has a map.
        if isinstance(shown := parameter.pop("examples", None), list):
            parameter["schema"]["examples"] = shown
        parameter.setdefault("description", FIELDS.get(parameter["name"], ("",))[0])
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
                "properties": {"code": _enum(possible)},
                "required": ["code"],
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
