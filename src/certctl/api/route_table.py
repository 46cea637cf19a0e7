"""Which route a request is for, and its rule: found before anything of the route runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import compile_path

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Mapping

    from certctl.api.rules import Rule
    from certctl.lifecycle.permissions import ObjectKind


@dataclass(frozen=True, slots=True)
class Match:
    """The route of a request: its address as the router spells it, and what stands in its place.

    Without a rule it is refused.
    """

    method: str
    template: str
    rule: Rule | None
    parameters: Mapping[str, str]

    def named(self) -> Iterable[tuple[ObjectKind, str]]:
        """The objects in the path."""
        if self.rule is None:
            return
        for reference in self.rule.references:
            if reference.place == "path":
                yield reference.kind, self.parameters[reference.field]


@dataclass(frozen=True, slots=True)
class _Address:
    template: str
    pattern: re.Pattern[str]
    methods: frozenset[str]


class RouteTable:
    """Every route, in the router's own order, so that both find the same one."""

    def __init__(
        self,
        routes: Iterable[tuple[str, Iterable[str]]],
        rules: Mapping[tuple[str, str], Rule],
    ) -> None:
        self._addresses = [
            _Address(template, compile_path(template)[0], frozenset(methods))
            for template, methods in routes
        ]
        self._rules = rules

    def find(self, method: str, path: str) -> Match | None:
        """The route of a request; None where no route has that address and method."""
        for address in self._addresses:
            if method in address.methods and (found := address.pattern.match(path)):
                rule = self._rules.get((method, address.template))
                return Match(method, address.template, rule, found.groupdict())
        return None

    def allowed(self, path: str) -> frozenset[str]:
        """The methods that an address takes; none where there is no such address."""
        return frozenset().union(
            *[address.methods for address in self._addresses if address.pattern.match(path)]
        )

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Method and address of every route."""
        for address in self._addresses:
            for method in sorted(address.methods):
                yield method, address.template
