"""The environment at the start: every setting of every connector comes into effect."""

from __future__ import annotations

import asyncio
import json
import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pytest
from pydantic import SecretBytes, SecretStr
from structlog.testing import capture_logs

from certctl.connectors.contract import ConnectorType
from certctl.connectors.registry import config_from_environment, connector_type
from certctl.domain.errors import Misconfigured
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.seeding import seed
from certctl.pki.certificates import chain_pem
from certctl.storage.audit import list_events
from certctl.storage.issuers import IssuerRecord, get_issuer, insert_issuer, list_issuers
from tests.ca.test_files import PASSWORD, key_pem, write
from tests.support.pki import make_ca, make_key, make_root
from tests.support.sample_issuer import Sample, SampleConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic.fields import FieldInfo

    from certctl.connectors.contract import ConnectorContext
    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def _local_ca(folder: Path) -> dict[str, str]:
    key = make_key(which=1)
    certificates = chain_pem([make_ca(key, make_root()), make_root()[1]])
    certificate_path, key_path = write(folder, certificates, key_pem(key, password=PASSWORD))
    return {
        "cert_path": str(certificate_path),
        "key_path": str(key_path),
        "key_password": PASSWORD,
    }


def _nothing(_folder: Path) -> dict[str, str]:
    return {}


#: Settings that must be something in particular, by type of issuer: a connector that is added with
#: a setting that no made-up value fits gets a line here.
SAMPLES: dict[str, Callable[[Path], dict[str, str]]] = {
    "GenericCA": _local_ca,
    "Sample": lambda _folder: {"api_url": "https://made-up.test/v2"},
}


def made_up(name: str, annotation: Any, default: Any, field: FieldInfo) -> str:
    """A value of a setting as the environment has it, other than its default."""
    arguments = [part for part in get_args(annotation) if part is not type(None)]
    kind = get_origin(annotation) or annotation
    if kind in {typing.Union, types.UnionType}:
        return made_up(name, arguments[0], default, field)
    if kind in {tuple, list, set, frozenset}:
        return f"{made_up(f'{name}-1', arguments[0], None, field)}, x{name}-2"
    if kind is Literal or issubclass(kind, Enum):
        values = arguments if kind is Literal else list(kind)
        text = next(str(getattr(v, "value", v)) for v in values if v != default)
    elif kind in {int, float}:
        text = str(_number(default, field))
    elif name.endswith("url"):
        text = f"https://{name.replace('_', '-')}.example.test/api"
    else:
        text = {
            bool: str(not default).lower(),
            dict: json.dumps({f"{name}-key": f"{name}-value"}),
            SecretStr: f"secret of {name}",
            SecretBytes: f"secret of {name}",
        }.get(kind, f"/made/up/{name}.pem" if name.endswith("_path") else f"made up {name}")
    return text


def _number(default: Any, field: FieldInfo) -> int:
    limits = {
        name: getattr(part, name)
        for part in field.metadata
        for name in ("ge", "le")
        if hasattr(part, name)
    }
    low, high = int(limits.get("ge", 1)), int(limits.get("le", 1_000_000))
    return low if default != low else high


def full_environment(kind: ConnectorType, folder: Path) -> dict[str, str]:
    """A variable for every setting of a connector."""
    given = SAMPLES.get(kind.name, _nothing)(folder)
    prefix = kind.config.env_prefix
    return {
        prefix + name.upper(): given.get(name)
        or made_up(name, field.annotation, field.default, field)
        for name, field in kind.config.model_fields.items()
    }


async def test_every_setting_of_every_connector_comes_into_effect(
    database: Database, tmp_path: Path
) -> None:
    sample = Sample()
    kinds = sample.types
    environment: dict[str, str] = {}
    for kind in kinds:
        environment |= full_environment(kind, tmp_path)
    built: dict[str, Any] = {}

    def watched(kind: ConnectorType) -> ConnectorType:
        async def make(config: Any, context: ConnectorContext) -> Any:
            built[context.issuer_id] = config
            return await sample.kind.factory(config, context)

        return ConnectorType(kind.name, kind.aliases, kind.title, kind.issuer_id, kind.config, make)

    by_name = {kind.name: watched(kind) for kind in kinds}
    await seed(database, environment, kinds)
    catalog = Catalog(database, database.clock, by_name.__getitem__)
    await catalog.refresh()
    for kind in kinds:
        record = catalog.issuer(kind.issuer_id).record
        assert (record.name, record.source) == (kind.title, "env")
        config = built[kind.issuer_id]
        assert config == kind.config.model_validate(
            config_from_environment(kind.config, environment)
        )
        for name, field in kind.config.model_fields.items():
            value = getattr(config, name)
            assert name in config.model_fields_set
            assert value != field.default, f"{kind.name}: {name}"
            shown = json.dumps(record.config)
            if name in kind.config.secret_fields():
                assert environment[kind.config.env_prefix + name.upper()] not in shown
    assert built["iss-sample"].other_keys[1].get_secret_value() == "xother_keys-2"
    assert built["iss-sample"].products == ("made up products-1", "xproducts-2")
    # The same environment again changes nothing.
    before = await database.read(lambda c: list_issuers(c, database.keyring))
    await seed(database, environment, kinds)
    assert await database.read(lambda c: list_issuers(c, database.keyring)) == before


@on_sqlite
async def test_the_local_ca_signs_from_a_full_environment(
    database: Database, tmp_path: Path
) -> None:
    kind = connector_type("GenericCA")
    await seed(database, full_environment(kind, tmp_path))
    catalog = Catalog(database, database.clock)
    await catalog.refresh()
    _, connector = catalog.usable_issuer("iss-local")
    assert "signs until" in (await connector.check()).detail


async def test_only_what_is_set_makes_an_issuer(database: Database) -> None:
    sample = Sample()
    empty = dict.fromkeys([f"CERTCTL_SAMPLE_{n.upper()}" for n in SampleConfig.model_fields], "")
    # Names that only begin alike are nobody's.
    await seed(database, {**empty, "CERTCTL_SAMPLE_API_URL_2": "x"}, sample.types)
    found = await database.read(lambda c: list_issuers(c, database.keyring))
    assert [record.id for record in found] == ["iss-local"]
    assert found[0].config == {}


@on_sqlite
async def test_an_empty_variable_is_an_unset_one(database: Database) -> None:
    await seed(database, {"CERTCTL_CA_VALIDITY_DAYS": "", "CERTCTL_CA_COMMON_NAME": "Our CA"})
    record = await database.read(lambda c: get_issuer(c, database.keyring, "iss-local"))
    assert record is not None
    assert record.config == {"common_name": "Our CA"}


@on_sqlite
async def test_an_environment_that_does_not_validate_refuses_the_start(
    database: Database,
) -> None:
    environment = {
        "CERTCTL_SAMPLE_API_KEY": "a planted key",
        "CERTCTL_SAMPLE_RETRIES": "planted",
    }
    with pytest.raises(Misconfigured) as caught:
        await seed(database, environment, Sample().types)
    assert "settings of the Sample issuer: CERTCTL_SAMPLE_API_URL: Field" in caught.value.detail
    assert "CERTCTL_SAMPLE_RETRIES: " in caught.value.detail
    assert "planted" not in str(caught.value)
    assert await database.read(lambda c: list_issuers(c, database.keyring)) == []


async def test_a_changed_environment_is_followed_and_audited_by_name(database: Database) -> None:
    sample = Sample()
    environment = {
        "CERTCTL_SAMPLE_API_URL": "https://a.test",
        "CERTCTL_SAMPLE_API_KEY": "the first planted key",
    }
    await seed(database, environment, sample.types)
    environment["CERTCTL_SAMPLE_API_KEY"] = "the second planted key"
    await seed(database, environment, sample.types)
    record = await database.read(lambda c: get_issuer(c, database.keyring, "iss-sample"))
    assert record is not None
    assert (record.revision, record.secrets) == (2, {"api_key": "the second planted key"})
    audit = await database.read(lambda c: list_events(c, limit=100, before=None))
    details = [e.detail for e in audit if e.object_id == "iss-sample"]
    assert {"revision": 2, "changes": {"config.api_key": "changed"}} in details
    assert "planted" not in repr(details)
    # Once nothing is set any more, it stays as it was: only its variables are gone.
    await seed(database, {}, sample.types)
    assert await database.read(lambda c: get_issuer(c, database.keyring, "iss-sample")) == record


async def test_what_was_changed_over_the_api_is_not_touched(database: Database) -> None:
    sample = Sample()
    now = database.clock.now_ms()
    config = {"api_url": "https://a.test", "retries": 3}
    made = IssuerRecord(
        "iss-sample", "Ours", "Sample", config, {"api_key": "a key"}, "api", True, 1, now, now
    )
    await database.write(lambda t: insert_issuer(t, database.keyring, made))
    environment = {"CERTCTL_SAMPLE_API_URL": "https://a.test", "CERTCTL_SAMPLE_API_KEY": "a key"}
    with capture_logs() as logs:
        await seed(database, environment, sample.types)
        assert logs == [], "it comes to the same, defaults included"
        environment["CERTCTL_SAMPLE_RETRIES"] = "4"
        await seed(database, environment, sample.types)
    assert [line["event"] for line in logs] == ["environment not applied"]
    found = await database.read(lambda c: get_issuer(c, database.keyring, "iss-sample"))
    assert found == made


async def test_a_name_that_is_taken_is_no_obstacle(database: Database) -> None:
    now = database.clock.now_ms()
    taken = IssuerRecord("iss-other", "Sample CA", "GenericCA", {}, {}, "api", True, 1, now, now)
    await database.write(lambda t: insert_issuer(t, database.keyring, taken))
    environment = {
        "CERTCTL_SAMPLE_API_URL": "https://a.test",
        "CERTCTL_SAMPLE_API_KEY": "some key",
    }
    await seed(database, environment, Sample().types)
    record = await database.read(lambda c: get_issuer(c, database.keyring, "iss-sample"))
    assert record is not None
    assert record.name == "Sample CA (iss-sample)"


@on_sqlite
async def test_an_issuer_of_another_type_with_that_id_is_left_alone(database: Database) -> None:
    now = database.clock.now_ms()
    other = IssuerRecord("iss-sample", "Other", "GenericCA", {}, {}, "env", True, 1, now, now)
    await database.write(lambda t: insert_issuer(t, database.keyring, other))
    environment = {
        "CERTCTL_SAMPLE_API_URL": "https://a.test",
        "CERTCTL_SAMPLE_API_KEY": "some key",
    }
    with capture_logs() as logs:
        await seed(database, environment, Sample().types)
    assert await database.read(lambda c: get_issuer(c, database.keyring, "iss-sample")) == other
    (warning,) = [line for line in logs if line["event"] == "environment not applied"]
    assert "of another type" in warning["reason"]


async def test_two_first_starts_at_once_make_one_issuer(database: Database) -> None:
    sample = Sample()
    environment = {
        "CERTCTL_SAMPLE_API_URL": "https://a.test",
        "CERTCTL_SAMPLE_API_KEY": "some key",
    }
    await asyncio.gather(*[seed(database, environment, sample.types) for _ in range(4)])
    found = await database.read(lambda c: list_issuers(c, database.keyring))
    assert [record.id for record in found] == ["iss-local", "iss-sample"]
