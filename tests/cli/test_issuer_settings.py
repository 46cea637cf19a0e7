"""What is made of a type's JSON schema: what each setting takes, and values from text."""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, create_model

from certctl.cli.issuer_settings import settings_of
from certctl.cli.schema_settings import Kind, Setting
from certctl.domain.errors import InvalidInput
from certctl.schemas.issuers import IssuerTypeView
from tests.cli.fake_server import type_view


class Bits(IntEnum):
    SMALL = 1
    LARGE = 2


class Inner(BaseModel):
    a: int


def setting(annotation: Any, default: Any = ...) -> Setting:
    """The setting that a field of a connector's model becomes."""
    model = create_model("Config", field=(annotation, default))
    (found,) = settings_of(IssuerTypeView.model_validate(type_view("Some", model)))
    return found


def raw(schema: Any) -> tuple[Setting, ...]:
    """The settings of a type whose connector was not written with pydantic, or not by us."""
    view = {**type_view(), "config_schema": schema}
    return settings_of(IssuerTypeView.model_validate(view))


@pytest.mark.parametrize(
    ("annotation", "takes", "text", "value"),
    [
        (str, "text", " a = b ", " a = b "),
        (str | None, "text", "", ""),
        (int | str, "text", "7", "7"),
        (int | None, "whole number", " -7 ", -7),
        (float, "number", "1e3", 1000.0),
        (bool | None, "true or false", "OFF", False),
        (Literal["a", "B"] | None, "a or B", "b", "B"),
        (Bits, "1 or 2", "2", 2),
        (Literal["a"], "a", "A", "a"),
        (list[str], "list, with commas", " a,,b ", ["a", "b"]),
        (list[str], "list, with commas", '["a,b"]', ["a,b"]),
        (list[str], "list, with commas", "", []),
        (list[bool] | None, "list, with commas", "yes,no", [True, False]),
        (list[Literal["a", "B"]] | None, "list of a, B", "b, A", ["B", "a"]),
        (frozenset[int], "list, with commas", "1,2", [1, 2]),
        (dict[str, int], "JSON object", '{"a": 1}', {"a": 1}),
        (Inner, "JSON object", '{"a": 1}', {"a": 1}),
        (Any, "JSON", "null", None),
        (SecretStr | None, "secret", "a", "a"),
        (list[SecretStr], "secret", "a,b", ["a", "b"]),
    ],
)
def test_values_are_read_as_the_schema_says(
    annotation: Any, takes: str, text: str, value: Any
) -> None:
    found = setting(annotation)
    assert found.takes == takes
    assert found.read(text) == value
    assert type(found.read(text)) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "1.5"),
        (int, ""),
        (float, "one"),
        (bool, "2"),
        (Literal["a", "b"], "c"),
        (list[int], "1,x"),
        (dict[str, str], '["a"]'),
        (dict[str, str], "a=b"),
        (Any, "{"),
    ],
)
def test_what_does_not_fit_is_an_error_at_the_setting(annotation: Any, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        setting(annotation).read(text)
    assert caught.value.field == "config.field"
    assert caught.value.detail.startswith("field takes ")


@pytest.mark.parametrize(
    ("field", "takes"),
    [
        (Field(ge=1), "whole number, 1 or more"),
        (Field(le=9), "whole number, at most 9"),
        (Field(ge=1, le=86_400), "whole number, 1 to 86400"),
        (Field(gt=0), "whole number"),
    ],
)
def test_bounds_are_told(field: Any, takes: str) -> None:
    assert setting(int, field).takes == takes


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (str, "a b", "a b"),
        (str | None, None, ""),
        (bool, False, "false"),
        (int, 0, "0"),
        (list[str], ["a", "b"], "a,b"),
        (list[str], ["a,b"], '["a,b"]'),
        (list[int], [1, 2], "1,2"),
        (dict[str, str], {"a": "b"}, '{"a": "b"}'),
        (Bits, Bits.LARGE, "2"),
    ],
)
def test_a_default_is_shown_as_it_can_be_written(annotation: Any, default: Any, text: str) -> None:
    found = setting(annotation, default)
    assert found.default_text == text
    assert not found.required
    if text:
        assert found.read(text) == default


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_list_has_a_way_to_be_written(items: list[str]) -> None:
    found = setting(list[str], items)
    assert found.read(found.default_text) == items


@given(st.sampled_from(Kind), st.text())
def test_no_text_breaks_the_reading(kind: Kind, text: str) -> None:
    with suppress(InvalidInput):
        Setting("a", "A", "config.a", kind, "", required=False, secret=False).read(text)


def test_json_that_is_too_deep_is_an_error_as_any_other() -> None:
    with pytest.raises(InvalidInput):
        setting(dict[str, str]).read("[" * 100_000)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": {}},
        {"properties": {"a": True}},
        {"properties": {"a": {}}},
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"anyOf": []}}},
        {"properties": {"a": {"type": ["string", "null"]}}},
        {"properties": {"a": {"type": "null"}}},
        {"properties": {"a": {"type": "array", "items": True}}},
    ],
)
def test_a_schema_that_nobody_foresaw_is_no_crash(schema: dict[str, Any]) -> None:
    assert all(found.takes for found in raw(schema))


def test_a_secret_is_known_wherever_the_schema_says_so() -> None:
    secret = {"type": "string", "writeOnly": True}
    (found,) = raw({"properties": {"a": {"$ref": "#/$defs/S"}}, "$defs": {"S": secret}})
    assert found.secret
    (found,) = raw({"properties": {"a": {"type": "integer", "writeOnly": True}}})
    assert found.secret
