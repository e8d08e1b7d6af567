"""The router of every noun: what holds for all operations of a method is done and documented here, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ninja

from newsletters.api import codes, once, versions
from newsletters.api.contract import Page


class Router(ninja.Router):
    """Answers each POST once for an `Idempotency-Key`, and shows and heeds ETags of single things.

    So no operation can forget it.
    """

    def add_api_operation(
        self,
        path: str,
        methods: list[str],
        view_func: Callable[..., Any],
        *,
        response: Any = None,
        openapi_extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        [method] = methods
        answers, extra = dict(response), dict(openapi_extra or {})
        parameters, told = list(extra.get("parameters", [])), list(extra["x-codes"])
        endpoint = view_func
        if method == "POST":
            required = once.IDEMPOTENCY_HEADER in parameters
            parameters += [] if required else [once.OFFERED]
            told += codes.ONCE if required else codes.REPEATABLE
            endpoint = once.wrap(view_func, required=required)
        elif method in ("PATCH", "DELETE"):
            parameters.append(versions.IF_MATCH)
            told += codes.VERSION
            endpoint = versions.wrap(view_func)
        elif _is_one_thing(answers[200]):
            parameters.append(versions.IF_NONE_MATCH)
            answers |= {304: None}
            endpoint = versions.wrap(view_func)
        extra |= {"parameters": parameters, "x-codes": told}
        super().add_api_operation(path, methods, view_func, response=answers, openapi_extra=extra, **options)
        # Ninja reads the arguments off the endpoint itself.
        self.path_operations[path].operations[-1].view_func = endpoint


def _is_one_thing(answer: Any) -> bool:
    return isinstance(answer, type) and not issubclass(answer, Page)
