"""The project's own Python files, parsed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.services.environment import ROOT

PACKAGES = ("config", "core", "accounts", "newsletters")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    """Return the Python files below some folders of the project, migrations excepted."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "migrations" not in path.parts]


def functions(path: Path) -> Iterator[Function]:
    """Return every function of a file, methods and inner ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def decorators(function: Function) -> list[str]:
    """Return the names of a function's decorators, such as `router.get`."""
    return [
        ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
        for decorator in function.decorator_list
    ]


def body_lines(function: Function) -> int:
    """Return how many lines the body of a function has, its docstring not counted."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def place(path: Path, node: ast.AST) -> str:
    """Return `file:line` for the message of a failed test."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
