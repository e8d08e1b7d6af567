"""What a client that was written against an older document would find broken in a newer one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def breaks(old: Json, new: Json) -> list[str]:
    """Return a line for each removed or narrowed promise; new things and wider ones break nobody."""
    return sorted({*_operations(old, new), *_schemas(old, new)})


def _operations(old: Json, new: Json) -> Iterator[str]:
    for path, methods in old["paths"].items():
        for method, was in methods.items():
            name = f"{method.upper()} {path}"
            now = new["paths"].get(path, {}).get(method)
            if now is None:
                yield f"{name} is gone"
                continue
            yield from _operation(name, was, now)


def _operation(name: str, was: Json, now: Json) -> Iterator[str]:
    if was["operationId"] != now["operationId"]:
        yield f"{name} is called {now['operationId']}"
    if was.get("x-scope") != now.get("x-scope"):
        yield f"{name} needs the scope {now.get('x-scope')}"
    yield from _parameters(name, was.get("parameters", []), now.get("parameters", []))
    if not was.get("requestBody", {}).get("required") and now.get("requestBody", {}).get("required"):
        yield f"{name} needs a body"
    for status, answer in was["responses"].items():
        there = now["responses"].get(status, {}).get("content", {})
        if status < "400" and status not in now["responses"]:
            yield f"{name} no longer answers {status}"
        for media_type, content in answer.get("content", {}).items():
            if status < "400" and content["schema"] != there.get(media_type, {}).get("schema"):
                yield f"{name} answers {status} with another schema"


def _parameters(name: str, was: list[Json], now: list[Json]) -> Iterator[str]:
    after = {(one["in"], one["name"]): one for one in now}
    before = {(one["in"], one["name"]): one for one in was}
    for key, one in after.items():
        if one.get("required") and not before.get(key, {}).get("required"):
            yield f"{name} needs the parameter {key[1]}"
    for key, one in before.items():
        if key not in after:
            yield f"{name} no longer takes the parameter {key[1]}"
        else:
            yield from _value(f"{name} parameter {key[1]}", one["schema"], after[key]["schema"])


def _schemas(old: Json, new: Json) -> Iterator[str]:
    for name, was in old["components"]["schemas"].items():
        now = new["components"]["schemas"].get(name)
        # Which schema describes an error may change; its codes are looked at below.
        if now is None and not name.endswith("Problem"):
            yield f"schema {name} is gone"
        elif now is not None:
            yield from _schema(name, was, now)


def _schema(name: str, was: Json, now: Json) -> Iterator[str]:
    yield from _value(name, was, now)
    is_input = name.endswith(("In", "Patch"))
    needed_before, needed_now = set(was.get("required", [])), set(now.get("required", []))
    if is_input:
        yield from (f"{name} needs {field}" for field in needed_now - needed_before)
    else:
        yield from (f"{name} may lack {field}" for field in needed_before - needed_now)
    for field, fact in was.get("properties", {}).items():
        if field not in now.get("properties", {}):
            yield f"{name}.{field} is gone"
        else:
            yield from _value(f"{name}.{field}", fact, now["properties"][field])


def _value(name: str, was: Json, now: Json) -> Iterator[str]:
    for value in was.get("enum", []):
        if "enum" in now and value not in now["enum"]:
            yield f"{name} no longer has the value {value}"
    for word in ("type", "format", "$ref", "const"):
        if was.get(word) != now.get(word):
            yield f"{name} has another {word}"
    if _kinds(was) != _kinds(now):
        yield f"{name} is of another kind"
    for word, narrower in (("maxLength", int.__lt__), ("maxItems", int.__lt__), ("minLength", int.__gt__)):
        if word in now and (word not in was or narrower(now[word], was[word])):
            yield f"{name} has a narrower {word}"


def _kinds(fact: Json) -> list[tuple[Any, Any]]:
    return sorted((str(one.get("type")), str(one.get("$ref"))) for one in fact.get("anyOf", []))
