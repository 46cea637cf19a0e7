"""The rules for alerts name metrics, labels and values that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it ships no type information

from certctl.domain import orders
from certctl.lifecycle.access import LoginFault
from certctl.lifecycle.metrics import METERS, Meter
from certctl.lifecycle.outcomes import FAILURES
from certctl.lifecycle.scrape import GAUGES, WINDOWS

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "certctl.rules.yml"
LOADED = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
METRICS: dict[str, Meter] = {
    meter.name + part: meter
    for meter in (*METERS, *GAUGES)
    for part in (("_bucket", "_count", "_sum") if meter.kind == "histogram" else ("",))
}
#: What labels can be, where that is a closed list.
VALUES: dict[str, set[str]] = {
    "state": {state.value for state in orders.OPEN_STATES} | {"open", "quota"},
    "within": set(WINDOWS),
    "error_class": {outcome.value for outcome in FAILURES},
    "reason": {fault.value for fault in LoginFault},
}
#: What Prometheus itself gives.
_GIVEN = {"job", "instance"}
_METRIC = re.compile(r"\b(certctl_\w+)(?:\{(.*?)\})?", re.DOTALL)
_MATCHER = re.compile(r'(\w+)\s*=~?\s*"(.*?)"')
_GROUPING = re.compile(r"\bby \((.*?)\)")


@pytest.mark.parametrize("rule", LOADED, ids=lambda rule: str(rule["alert"]))
def test_what_a_rule_names_is_there(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    used = _METRIC.findall(expression)
    labels = set(_GIVEN)
    for name, matchers in used:
        assert name in METRICS
        labels |= set(METRICS[name].labels)
        labels |= {"le"} if name.endswith("_bucket") else set()
        for label, pattern in _MATCHER.findall(matchers):
            assert label in METRICS[name].labels
            if label in VALUES:
                assert set(pattern.split("|")) <= VALUES[label]
    assert used or rule["alert"] == "CertctlDown"
    for names in _GROUPING.findall(expression):
        assert set(re.split(r",\s*", names)) <= labels
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]
