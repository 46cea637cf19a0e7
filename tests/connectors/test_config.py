"""What every connector's settings have in common."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretBytes, SecretStr, ValidationError

from certctl.connectors.config import (
    MASK,
    ConnectorConfig,
    describe_faults,
    find_faults,
    hide,
)


class Config(ConnectorConfig):
    """One with secrets of every shape."""

    env_prefix: ClassVar[str] = "CERTCTL_X_"

    url: str = "https://a.test"
    count: int = 3
    share: float = 0.5
    one: SecretStr | None = None
    raw: SecretBytes | None = None
    many: Annotated[tuple[SecretStr, ...], Field(max_length=3)] = ()
    named: dict[str, SecretStr] | None = None


def test_secrets_are_found_in_every_shape() -> None:
    assert Config.secret_fields() == ("one", "raw", "many", "named")
    config = Config.model_validate(
        {"one": "first", "raw": b"second", "many": ["third"], "named": {"a": "fourth"}, "count": 4}
    )
    assert set(config.secret_texts()) == {"first", "second", "third", "a", "fourth"}
    shown, secrets = config.parts()
    assert shown == {"count": 4}
    assert secrets == {
        "one": "first",
        "raw": "second",
        "many": ["third"],
        "named": {"a": "fourth"},
    }
    assert Config.model_validate({**shown, **secrets}) == config
    assert Config(one=None).parts() == ({}, {})


@pytest.mark.parametrize(
    "given",
    [
        {"url": "a\x00"},
        {"url": "\ud800"},
        {"one": "a\x00b"},
        {"many": ["a\x00"]},
        {"named": {"a\x00": "b"}},
        {"share": float("nan")},
        {"share": float("inf")},
    ],
)
def test_what_cannot_be_stored_everywhere_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(given)


def faults_of(given: Any) -> list[tuple[str | None, str]]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(given)
    return [(name, words) for name, words in find_faults(Config, caught.value)]


def test_faults_name_settings_and_repeat_nothing() -> None:
    faults = faults_of({"count": "planted", "planted": 1, "one": ["planted"], "many": [["p"]]})
    assert [name for name, _ in faults] == ["count", "one", "many", None]
    assert "planted" not in repr(faults)
    words = describe_faults(find_faults(Config, _error({"count": "x", "url": 5})), "CERTCTL_X_")
    assert words.startswith("CERTCTL_X_URL: ")
    assert "; CERTCTL_X_COUNT: " in words


def _error(given: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(given)
    return caught.value


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), min_size=1, max_size=4))
def test_no_name_that_was_sent_is_ever_in_the_words(sent: dict[str, Any]) -> None:
    error = _error({f"planted {name}": value for name, value in sent.items()})
    assert "planted" not in describe_faults(find_faults(Config, error))


def test_a_secret_in_words_is_masked_the_longest_first() -> None:
    words = hide("no: secretsecret, secret and abc", ["secret", "secretsecret", "abc"])
    assert words == f"no: {MASK}, {MASK} and abc"
