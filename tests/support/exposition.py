"""What `/metrics` says, read as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable


class Exposition:
    """One scrape: values by name and labels."""

    def __init__(self, text: str, *, is_openmetrics: bool = False) -> None:
        untyped: Any = openmetrics if is_openmetrics else None
        families: Iterable[Any] = (
            untyped.text_string_to_metric_families(text)
            if is_openmetrics
            else text_string_to_metric_families(text)
        )
        self.families = {family.name: family for family in families}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def of(self, family: str) -> list[tuple[dict[str, str], float]]:
        """The series of a metric with their values."""
        return [(sample.labels, sample.value) for sample in self.families[family].samples]

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series, None where there is none."""
        return self.samples.get((name, frozenset(labels.items())))
