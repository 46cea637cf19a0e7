"""What an event says has changed, and that every action there is has been described."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import certctl
from certctl.domain import audit_actions
from certctl.domain.audit import CHANGED, LONGEST_VALUE, changes
from certctl.domain.audit_actions import ACTIONS, OBJECT_TYPES, actions_about, check_action
from certctl.domain.orders import OrderState
from certctl.domain.revocations import RevocationState

if TYPE_CHECKING:
    from collections.abc import Iterator

values = st.sampled_from([None, True, False, 0, 1, 2, "", "x", "xy"])
fields = st.dictionaries(st.sampled_from("abcd"), values)


@given(fields, fields)
def test_what_changed_leads_from_one_state_to_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    found = changes(before, after)
    state = dict(before)
    for name, told in found.items():
        assert ("from" in told) == (name in before)
        assert told.get("from") == before.get(name)
        if "to" in told:
            state[name] = told["to"]
        else:
            del state[name]
    assert json.dumps(state, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert changes(before, before) == {}


@given(fields, fields, st.sets(st.sampled_from("abcd")))
def test_of_a_secret_only_that_it_changed(
    before: dict[str, Any], after: dict[str, Any], secrets: set[str]
) -> None:
    found = changes(before, after, secrets=secrets)
    assert found.keys() == changes(before, after).keys()
    assert all(told == CHANGED for name, told in found.items() if name in secrets)
    assert all(told != CHANGED for name, told in found.items() if name not in secrets)


def test_a_number_is_not_a_truth_value() -> None:
    assert changes({"a": 1}, {"a": True}) == {"a": {"from": 1, "to": True}}


def test_a_long_value_is_not_told() -> None:
    assert changes({"a": "x"}, {"a": "x" * LONGEST_VALUE}) == {"a": CHANGED}


def literals() -> Iterator[str]:
    """Every text in the code that has the form of an action, `{}` standing for what is not fixed.

    The table itself is not looked at.
    """
    form = re.compile(r"[a-z_{}]+\.[a-z_{}]+")
    for path in Path(certctl.__file__).parent.rglob("*.py"):
        if path.name == Path(audit_actions.__file__).name:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str(text)):
                    found = text
                case ast.JoinedStr(values=parts):
                    found = "".join(
                        part.value if isinstance(part, ast.Constant) else "{}"  # type: ignore[misc] # a JoinedStr's are texts
                        for part in parts
                    )
                case _:
                    continue
            if form.fullmatch(found):
                yield found


#: What may stand where an action is not fixed.
STATES = {state.value for state in (*OrderState, *RevocationState)}
NOUNS = {"revocation", "release"}


def test_every_action_in_the_table_is_written_somewhere() -> None:
    written = {"audit.chain_opened"}  # by its name
    for text in literals():
        noun, _, rest = text.partition(".")
        for begun in NOUNS if noun == "{}" else {noun}:
            written |= {f"{begun}.{rest.replace('{}', state)}" for state in STATES}
    assert ACTIONS.keys() <= written


def audited() -> Iterator[tuple[str, int, str]]:
    """Fixed actions that are passed to something which makes audit events: file, line, action."""
    makers = re.compile(r"AuditEvent|_?event|_audit|_changed|audit")
    for path in Path(certctl.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if not makers.fullmatch(name):
                continue
            for part in [*node.args, *[keyword.value for keyword in node.keywords]]:
                for inner in ast.walk(part):
                    if (
                        isinstance(inner, ast.Constant)
                        and isinstance(inner.value, str)
                        and re.fullmatch(r"[a-z_]+\.[a-z_]+", inner.value)
                    ):
                        yield path.name, inner.lineno, inner.value


def test_every_action_that_can_be_written_is_in_the_table() -> None:
    found = list(audited())
    assert len(found) > 15
    assert [place for place in found if place[2] not in ACTIONS] == []


@pytest.mark.parametrize(
    ("action", "object_type"),
    [("certificate.eaten", "certificate"), ("certificate.issued", "issuer"), ("", "")],
)
def test_an_event_that_nobody_described_is_refused(action: str, object_type: str) -> None:
    with pytest.raises(ValueError, match="audit action"):
        check_action(action, object_type)


def test_actions_by_what_they_are_about() -> None:
    assert "order.pending" in actions_about("certificate")
    assert "order.pending" not in actions_about("issuer")
    assert set.union(*[set(actions_about(kind)) for kind in OBJECT_TYPES]) == set(ACTIONS)
