"""Connectors of other packages: found by entry point, left out when they cannot be used."""

from __future__ import annotations

import sys
from textwrap import dedent
from typing import TYPE_CHECKING, ClassVar

import pytest
from structlog.testing import capture_logs

from certctl.connectors import registry
from certctl.connectors.config import ConnectorConfig
from certctl.connectors.errors import Misconfigured
from certctl.connectors.registry import (
    all_connector_types,
    config_from_environment,
    connector_type,
    environment_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = """
from typing import ClassVar
from pydantic import Field, SecretStr
from certctl.connectors.config import ConnectorConfig
from certctl.connectors.contract import ConnectorType

class Config(ConnectorConfig):
    env_prefix: ClassVar[str] = "CERTCTL_OTHER_"
    api_key: SecretStr = Field(description="Key of the account")

async def build(config, context):
    raise AssertionError("no test builds it")

def kind(**changes):
    given = dict(
        name="Other", aliases=("other-ca",), title="Other CA", issuer_id="iss-other",
        config=Config, factory=build,
    )
    return ConnectorType(**{**given, **changes})

CONNECTOR = kind()
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """A place for packages, on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    _forget()
    made = Packages(tmp_path)
    yield made
    for name in made.modules:
        sys.modules.pop(name, None)
    _forget()


def _forget() -> None:
    all_connector_types.cache_clear()
    registry.connector_types.cache_clear()


class Packages:
    """Installed packages, each a module and what an installer writes beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.modules: list[str] = []

    def install(self, name: str, more: str = "", *, module: str = MODULE) -> None:
        """Install one whose entry point names `CONNECTOR` of its module."""
        (self._folder / f"{name}.py").write_text(module + dedent(more))
        info = self._folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[certctl.connectors]\n{name} = {name}:CONNECTOR\n")
        self.modules.append(name)


def test_a_connector_of_another_package_is_found_by_name_and_alias(packages: Packages) -> None:
    packages.install("other_ca")
    with capture_logs() as logs:
        names = [kind.name for kind in all_connector_types()]
    assert names == sorted(names)
    assert {"GenericCA", "Other"} <= set(names)
    assert connector_type("OTHER-ca") is connector_type("Other")
    assert logs == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("raise ImportError('no library')", "cannot be used: ImportError: no library"),
        ("raise SystemExit(3)", "cannot be used: SystemExit: 3"),
        ("del CONNECTOR", "cannot be used: AttributeError"),
        ("CONNECTOR = Config", "is not a certctl.connectors.contract.ConnectorType"),
        ("CONNECTOR = kind(name='GenericCA')", "GenericCA has the name or alias genericca"),
        ("CONNECTOR = kind(name='Local')", "GenericCA has the name or alias local already"),
        ("CONNECTOR = kind(aliases=('LOCAL_CA',))", "the name or alias local_ca already"),
        ("CONNECTOR = kind(issuer_id='iss-local')", "the issuer id iss-local already"),
        ("Config.env_prefix = 'CERTCTL_CA_'", "the env_prefix CERTCTL_CA_ already"),
        (
            """
            class Config(ConnectorConfig):
                env_prefix: ClassVar[str] = "CERTCTL_"
                ca_key_path: str = Field(default="", description="Clashes")
            CONNECTOR = kind(config=Config)
            """,
            "the environment variable CERTCTL_CA_KEY_PATH already",
        ),
        ("CONNECTOR = kind(name='a name')", "its name or an alias is not"),
        ("CONNECTOR = kind(name='x' * 41)", "its name or an alias is not"),
        ("CONNECTOR = kind(aliases=(None,))", "its name or an alias is not"),
        ("CONNECTOR = kind(issuer_id='other')", "its issuer_id is not"),
        ("CONNECTOR = kind(title='')", "its title is not"),
        ("CONNECTOR = kind(config=dict)", "its config is not a subclass"),
        ("CONNECTOR = kind(factory=None)", "its factory cannot be called"),
        ("Config.env_prefix = 'certctl_other_'", "its env_prefix is not upper-case"),
        ("del Config.env_prefix", "its env_prefix is not upper-case"),
        (
            """
            class Config(ConnectorConfig):
                env_prefix: ClassVar[str] = "CERTCTL_OTHER_"
                model_config = {"arbitrary_types_allowed": True}
                thing: type(len) = Field(default=len, description="No JSON")
            CONNECTOR = kind(config=Config)
            """,
            "cannot be used: PydanticInvalidForJsonSchema",
        ),
    ],
)
def test_one_that_cannot_be_used_is_left_out_and_said_to_be(
    packages: Packages, more: str, words: str
) -> None:
    packages.install("bad_ca", more)
    with capture_logs() as logs:
        names = [kind.name for kind in all_connector_types()]
    assert "GenericCA" in names
    assert "bad_ca" not in repr(all_connector_types())
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("connector left out", "error")
    assert line["entry_point"] == "bad_ca:CONNECTOR"
    assert words in line["problem"]
    assert connector_type("local").name == "GenericCA"


def test_of_two_that_clash_every_process_takes_the_same(packages: Packages) -> None:
    packages.install("z_ca")
    packages.install("a_ca", "CONNECTOR = kind(title='The first by name')")
    with capture_logs() as logs:
        assert connector_type("Other").title == "The first by name"
    assert [line["entry_point"] for line in logs] == ["z_ca:CONNECTOR"]


def test_a_good_one_beside_a_bad_one_is_there(packages: Packages) -> None:
    packages.install("bad_ca", "1 / 0")
    packages.install("good_ca")
    with capture_logs() as logs:
        assert connector_type("Other").title == "Other CA"
    assert len(logs) == 1


def test_an_unknown_type_names_the_known_ones_and_not_what_was_sent() -> None:
    with pytest.raises(Misconfigured, match=r"known types: .*GenericCA") as caught:
        connector_type("planted")
    assert "planted" not in str(caught.value)


def test_the_environment_names_exactly_its_variables() -> None:
    class Config(ConnectorConfig):
        env_prefix: ClassVar[str] = "CERTCTL_X_"
        url: str = ""
        count: int = 0
        names: tuple[str, ...] | None = None
        options: dict[str, list[int]] | None = None

    assert environment_names(Config) == {
        "CERTCTL_X_URL",
        "CERTCTL_X_COUNT",
        "CERTCTL_X_NAMES",
        "CERTCTL_X_OPTIONS",
    }
    environment = {
        "CERTCTL_X_URL": "",
        "CERTCTL_X_COUNT": "5",
        "CERTCTL_X_NAMES": " a, b,,c ",
        "CERTCTL_X_OPTIONS": '{"a": [1]}',
        "CERTCTL_X_URL_2": "not it",
        "CERTCTL_X": "nor this",
        "certctl_x_url": "nor this",
    }
    given = config_from_environment(Config, environment)
    assert given == {"count": "5", "names": ["a", "b", "c"], "options": {"a": [1]}}
    config = Config.model_validate(given)
    assert (config.count, config.names, config.options) == (5, ("a", "b", "c"), {"a": [1]})
    assert config_from_environment(Config, {"CERTCTL_X_OPTIONS": "no json"}) == {
        "options": "no json"
    }
