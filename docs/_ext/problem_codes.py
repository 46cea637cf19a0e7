"""Every problem code in certctl's source, read from the source itself.

A code that cannot be read is an error of the documentation's build, so that the table of problem
types is complete or is not built.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from certctl.api.problems import from_error
from certctl.domain import errors

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.CertctlError)
}
#: What the commands raise on the operator's own machine is not an answer of the server; what our
#: own CA finds wrong with an operator's files reaches nobody but as an issuer's `problem`.
_NOT_SERVER = frozenset({"ca", "cli", "client", "operation"})


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A problem code, the class of the error that carries it, and its words (`…` where they vary).

    `kind` is the name of a class in `certctl.domain.errors`, or "" for the framework's own answers.
    """

    code: str
    kind: str
    status: int
    detail: str


class UnreadableCode(Exception):
    """A place in the source makes a problem in a way that this module does not understand."""


def find_problems(package: Path) -> list[Problem]:
    """The problems that the server under this package folder can answer with, sorted by code.

    Where several places use one code, the words are those of the first.
    """
    found: dict[tuple[str, str], Problem] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] in _NOT_SERVER:
            continue
        for problem in _Reader(".".join([package.name, *parts]), path).read():
            found.setdefault((problem.code, problem.kind), problem)
    return sorted(found.values())


class _Reader:
    """Reads one module."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        text = path.read_text(encoding="utf-8")
        self._tree = ast.parse(text)
        self._has_tables = "_REFUSALS" in text or "_FRAMEWORK" in text

    @cached_property
    def _values(self) -> dict[str, Any]:
        """The module's own names. Imported only when asked for: not every module can be."""
        return vars(importlib.import_module(self._name))

    def read(self) -> list[Problem]:
        """The problems that this module makes."""
        found = []
        if self._has_tables:
            found += [
                _problem("InvalidInput", code, words[0])
                for code, words in self._values.get("_REFUSALS", {}).items()
            ]
            found += [
                Problem(code, "", status, detail)
                for status, (code, _title, detail) in self._values.get("_FRAMEWORK", {}).items()
            ]
        functions = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for function in functions:
            for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
                found += self._from_call(function, call)
        return found

    def _from_call(
        self, function: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call
    ) -> list[Problem]:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else None
        name = call.func.id if isinstance(call.func, ast.Name) else name
        match call.args:
            case [ast.Constant(value=int(status)), ast.Constant(value=str(code)), _, detail, *_]:
                return [Problem(code, "", status, self._text(detail))]
            case [code_node, detail_node, *_] if name in _KINDS:
                return [
                    _problem(name, code, detail)
                    for code, detail in self._codes(function, code_node, detail_node)
                ]
            case _:
                return []

    def _codes(
        self,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        code: ast.expr,
        detail: ast.expr,
    ) -> list[tuple[str, str]]:
        match code:
            case ast.Constant(value=str(text)):
                return [(text, self._text(detail))]
            case ast.IfExp():
                return [
                    *self._codes(function, code.body, detail),
                    *self._codes(function, code.orelse, detail),
                ]
            case ast.Attribute(attr="code"):  # another problem, passed on
                return []
            case ast.Name(id=name):
                arguments = function.args
                if name in {argument.arg for argument in [*arguments.args, *arguments.kwonlyargs]}:
                    return []  # the callers' codes stand in the module's _REFUSALS
                if pairs := self._assigned(function, name):
                    return pairs
        raise UnreadableCode(f"{self._path}:{code.lineno}: a problem code that cannot be read")

    def _assigned(
        self, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str
    ) -> list[tuple[str, str]]:
        """Codes and words from assignments such as `code, detail = "key-too-short", "…"`."""
        pairs = []
        for node in ast.walk(function):
            match node:
                case ast.Assign(
                    targets=[ast.Tuple(elts=[ast.Name(id=target), _])],
                    value=ast.Tuple(elts=[ast.Constant(value=str(code)), detail]),
                ) if target == name:
                    pairs.append((code, self._text(detail)))
        return pairs

    def _text(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.JoinedStr():
                return "".join([self._text(part) for part in node.values])
            case ast.FormattedValue(value=ast.Name(id=name)) if name in self._values:
                return str(self._values[name])
            case _:
                return "…"


def _problem(kind: str, code: str, detail: str) -> Problem:
    return Problem(code, kind, from_error(_KINDS[kind](code, detail), None).status_code, detail)
