"""Issuers over REST."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from certctl.connectors import errors
from certctl.connectors.config import MASK
from certctl.connectors.local import LocalConfig
from certctl.lifecycle.access import hash_api_key, new_api_key
from certctl.lifecycle.catalog import Catalog
from certctl.schemas import issuers as schemas
from certctl.storage.api_keys import ApiKeyRecord, insert_api_key
from certctl.storage.sealed_values import StoredState
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.sample_issuer import Sample, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from certctl.connectors.contract import ConnectorContext, ConnectorState
    from certctl.storage.database import Database
    from tests.support.sample_issuer import SampleConfig

pytestmark = pytest.mark.anyio

ISSUERS = "/api/v1/issuers"
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
async def plane(database: Database, tmp_path: Path, sample: Sample) -> AsyncIterator[ControlPlane]:
    """A control plane that knows the sample type."""
    async with serving(database, tmp_path, sample) as running:
        yield running


@asynccontextmanager
async def serving(
    database: Database,
    data_dir: Path,
    sample: Sample,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[ControlPlane]:
    """One start of it."""
    async with control_plane(
        database, data_dir, sample=sample, environment=environment, run_scheduler=False
    ) as running:
        yield running


async def make(plane: ControlPlane, name: str = "Sample", **body: Any) -> dict[str, Any]:
    """Make an issuer of the sample type."""
    given = {"name": name, "type": "Sample", "config": settings(), **body}
    answer = await plane.client.post(ISSUERS, json=given)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"{ISSUERS}/{made['id']}"
    return made


async def problem(answer: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The problem document of an answer."""
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:certctl:problem:{code}", found
    assert found["field"] == field
    return found


async def put(plane: ControlPlane, issuer_id: str, **body: Any) -> Any:
    """Send a PUT."""
    return await plane.client.put(f"{ISSUERS}/{issuer_id}", json={"name": "Sample", **body})


async def order(plane: ControlPlane, issuer_id: str) -> Any:
    """Ask the issuer for a certificate."""
    csr = make_csr(make_key(), ["www.example.org"])
    return await plane.client.post(
        "/api/v1/certificates", json={"issuer_id": issuer_id, "csr": csr}
    )


def live(plane: ControlPlane, issuer_id: str) -> Any:
    """The connector at work."""
    return plane.services.catalog.issuer(issuer_id).connector


async def events(plane: ControlPlane, action: str) -> list[dict[str, Any]]:
    """What the audit log says."""
    answer = await plane.client.get("/api/v1/audit", params={"limit": 200})
    return [event for event in answer.json()["data"] if event["action"] == action]


async def test_an_issuer_is_made_shown_and_listed(plane: ControlPlane, sample: Sample) -> None:
    made = await make(
        plane,
        "Größe & Söhne (EU)",
        config=settings(retries="5", region="us", password="of the key file"),
        limits={"max_concurrency": 4, "max_calls_per_minute": 60},
    )
    assert made["id"] == "iss-groe-sohne-eu"
    assert made["type"] == "Sample"
    assert made["source"] == "api"
    assert made["status"] == "ready"
    assert made["revision"] == 1
    assert made["environment"] is None
    assert made["limits"] == {"max_concurrency": 4, "max_calls_per_minute": 60}
    assert made["config"] == {
        "api_url": "https://ca.sample.test/v1",
        "api_key": MASK,
        "password": MASK,
        "region": "us",
        "retries": 5,
    }
    assert (await plane.client.get(f"{ISSUERS}/{made['id']}")).json() == made
    listed = (await plane.client.get(ISSUERS)).json()["data"]
    assert [issuer["id"] for issuer in listed] == sorted([made["id"], "iss-local"])
    assert live(plane, made["id"]).config.api_key.get_secret_value() == "the first key of all"
    assert len(sample.built) == 1, "what was tried is what is used"
    (event,) = [e for e in await events(plane, "issuer.created") if e["object_id"] == made["id"]]
    assert event["detail"] == {
        "changes": {
            "name": {"to": "Größe & Söhne (EU)"},
            "type": {"to": "Sample"},
            "source": {"to": "api"},
            "enabled": {"to": True},
            "limits.max_concurrency": {"to": 4},
            "limits.max_calls_per_minute": {"to": 60},
            "config.api_url": {"to": "https://ca.sample.test/v1"},
            "config.api_key": "changed",
            "config.password": "changed",
            "config.region": {"to": "us"},
            "config.retries": {"to": 5},
        }
    }


async def test_ids_are_made_from_names_and_stay_unique(plane: ControlPlane) -> None:
    first = await make(plane, "Web CA")
    second = await make(plane, "web-ca!")
    assert first["id"] == "iss-web-ca"
    assert second["id"].startswith("iss-web-ca-")
    assert (await make(plane, "★"))["id"] == "iss-issuer"
    assert (await make(plane, "named", id="iss-given"))["id"] == "iss-given"
    body = {"name": "other", "type": "sample-ALIAS", "config": settings()}
    taken = await plane.client.post(ISSUERS, json={**body, "id": "iss-given"})
    await problem(taken, 409, "issuer-exists", "id")
    name = await plane.client.post(ISSUERS, json={**body, "name": "Web CA"})
    await problem(name, 409, "issuer-name-taken", "name")
    reserved = await plane.client.post(ISSUERS, json={**body, "id": "iss-local"})
    await problem(reserved, 422, "issuer-id-reserved", "id")
    alias = await plane.client.post(ISSUERS, json=body)
    assert alias.json()["type"] == "Sample", "stored under its own name"


async def test_types_come_with_their_forms(plane: ControlPlane) -> None:
    listed = (await plane.client.get(f"{ISSUERS}/types")).json()["data"]
    kinds = {kind["name"]: kind for kind in listed}
    assert {"GenericCA", "Sample"} <= kinds.keys()
    sample = kinds["Sample"]
    assert sample["env_prefix"] == "CERTCTL_SAMPLE_"
    assert sample["aliases"] == ["Sample-alias"]
    form = sample["config_schema"]
    assert form["required"] == ["api_url", "api_key"]
    secret = {name for name, field in form["properties"].items() if field.get("writeOnly")}
    assert secret == {"api_key", "password", "other_keys"}
    assert form["properties"]["retries"]["default"] == 3
    for kind in listed:
        assert all("description" in f for f in kind["config_schema"]["properties"].values())
    local = kinds["GenericCA"]["config_schema"]["properties"]
    assert {n for n, f in local.items() if f.get("writeOnly")} == set(LocalConfig.secret_fields())


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({}, "config.api_url", "api_url: Field required"),
        (settings(api_url="planted-in-a-url"), "config.api_url", "is no address"),
        (settings(retries=11), "config.retries", "less than or equal to 10"),
        (settings(retries=10**400), "config.retries", "less than or equal to 10"),
        (settings(region="planted"), "config.region", "'eu' or 'us'"),
        (settings(api_key=["planted"]), "config.api_key", "valid string"),
        (settings(api_key=None), "config.api_key", "valid string"),
        (settings(api_key="planted\x00"), "config.api_key", "NUL"),
        (settings(products=["a", "planted\x00"]), "config.products", "NUL"),
        (settings(ca_path="\ud800planted"), "config.ca_path", "surrogate"),
        (settings(planted="x"), "config", "a setting that is not known"),
        (settings(**{"\ud800planted": "x"}), "config", ""),
    ],
)
@on_sqlite
async def test_settings_are_validated_and_not_echoed(
    plane: ControlPlane, config: dict[str, Any], field: str, words: str
) -> None:
    body = json.dumps({"name": "x", "type": "Sample", "config": config})
    answer = await plane.client.post(
        ISSUERS, content=body, headers={"Content-Type": "application/json"}
    )
    found = await problem(answer, 422, "issuer-settings-invalid", field)
    assert words in found["detail"]
    assert "planted" not in answer.text
    assert len((await plane.client.get(ISSUERS)).json()["data"]) == 1


async def test_an_unknown_type_names_the_known_ones(plane: ControlPlane) -> None:
    body = {"name": "x", "type": "Planted\x00", "config": {}}
    found = await problem(
        await plane.client.post(ISSUERS, json=body), 422, "issuer-type-unknown", "type"
    )
    assert "GenericCA" in found["detail"]
    assert "Planted" not in json.dumps(found)


async def test_a_put_replaces_everything_and_keeps_the_secrets(
    plane: ControlPlane, sample: Sample
) -> None:
    made = await make(
        plane, config=settings(password="of the file", retries=1, other_keys=["key 1", "key 2"])
    )
    before = live(plane, made["id"])
    await make(plane, "other")
    other = live(plane, "iss-other")
    answer = await put(
        plane,
        made["id"],
        name="Renamed",
        config={**made["config"], "region": "us", "retries": 1},
        limits={"max_concurrency": 2},
        revision=1,
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["revision"] == 2
    assert changed["name"] == "Renamed"
    assert changed["config"]["region"] == "us"
    assert changed["limits"] == {"max_concurrency": 2, "max_calls_per_minute": None}
    now = live(plane, made["id"])
    assert now is not before
    assert now is sample.built[-1]
    assert now.config.api_key.get_secret_value() == "the first key of all"
    assert now.config.password == SecretStr("of the file")
    assert [key.get_secret_value() for key in now.config.other_keys] == ["key 1", "key 2"]
    assert live(plane, "iss-other") is other, "the others keep their connectors"
    (event,) = await events(plane, "issuer.updated")
    assert event["detail"] == {
        "revision": 2,
        "changes": {
            "name": {"from": made["name"], "to": "Renamed"},
            "limits.max_concurrency": {"to": 2},
            "config.region": {"to": "us"},
        },
    }
    # Left out: kept. Null: taken away. Another value: replaced.
    answer = await put(
        plane,
        made["id"],
        config={"api_url": "https://two.test", "api_key": "the second key", "password": None},
    )
    assert answer.json()["config"] == {
        "api_url": "https://two.test",
        "api_key": MASK,
        "other_keys": MASK,
    }
    now = live(plane, made["id"])
    assert now.config.api_key.get_secret_value() == "the second key"
    assert now.config.password is None
    assert now.config.retries == 3, "what is left out has its default"
    (newest, _) = await events(plane, "issuer.updated")
    assert newest["detail"]["changes"] == {
        "name": {"from": "Renamed", "to": "Sample"},
        "limits.max_concurrency": {"from": 2},
        "config.api_url": {"from": "https://ca.sample.test/v1", "to": "https://two.test"},
        "config.api_key": "changed",
        "config.password": "changed",
        "config.region": {"from": "us"},
        "config.retries": {"from": 1},
    }


async def test_a_put_without_settings_keeps_them(plane: ControlPlane) -> None:
    made = await make(plane)
    answer = await put(plane, made["id"], name="Renamed", enabled=False)
    assert answer.json()["config"] == made["config"]
    assert answer.json()["status"] == "disabled"


async def test_a_put_of_another_revision_or_type_is_a_conflict(
    plane: ControlPlane, sample: Sample
) -> None:
    made = await make(plane)
    assert (await put(plane, made["id"], config=settings(), revision=1)).status_code == 200
    await problem(
        await put(plane, made["id"], config=settings(), revision=1),
        409,
        "issuer-changed",
        "revision",
    )
    kind = await put(plane, made["id"], type="local", config={})
    await problem(kind, 409, "issuer-type-fixed", "type")
    assert (await put(plane, made["id"], type="sample-alias")).status_code == 200
    await make(plane, "Other")
    taken = await put(plane, made["id"], name="Other")
    await problem(taken, 409, "issuer-name-taken", "name")
    await problem(await put(plane, "iss-none"), 404, "issuer-not-found")
    # Somebody else's change while the settings are tried.
    trying, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(config: SampleConfig, _context: ConnectorContext) -> None:
        if config.retries == 9:
            trying.set()
            await go_on.wait()

    sample.build = slowly
    late = asyncio.create_task(put(plane, made["id"], config=settings(retries=9)))
    await trying.wait()
    assert (await put(plane, made["id"], config=settings(retries=8))).status_code == 200
    go_on.set()
    await problem(await late, 409, "issuer-changed", "revision")
    assert live(plane, made["id"]).config.retries == 8


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Misconfigured("there is no file"), 422, "issuer-settings-refused"),
        (errors.Unauthorized("who are you"), 422, "issuer-settings-refused"),
        (errors.Unavailable("nobody there"), 503, "issuer-not-reachable"),
        (RuntimeError("a mistake"), 422, "issuer-settings-refused"),
    ],
)
async def test_settings_that_cannot_be_used_leave_the_old_ones_at_work(
    plane: ControlPlane, sample: Sample, error: Exception, status: int, code: str
) -> None:
    made = await make(plane)
    before = live(plane, made["id"])

    async def refuse(config: SampleConfig, context: ConnectorContext) -> None:
        await context.state.put_if_absent("account", b"never to be stored")
        error.args = (f"{error.args[0]} {config.api_key.get_secret_value()}",)
        if isinstance(error, errors.IssuerError):
            error.detail = error.args[0]
        raise error

    sample.build = refuse
    with capture_logs() as logs:
        answer = await put(plane, made["id"], config=settings(api_key="a key that is planted"))
    await problem(answer, status, code, "config")
    created = await plane.client.post(
        ISSUERS, json={"name": "n", "id": "iss-n", "type": "Sample", "config": settings()}
    )
    assert created.status_code == status
    assert "a key that is planted" not in answer.text + repr(logs)
    assert "the first key" not in created.text
    assert live(plane, made["id"]) is before
    assert (await plane.client.get(f"{ISSUERS}/{made['id']}")).json() == made
    stored = await plane.services.database.read(
        lambda c: c.execute(text("SELECT count(*) FROM sealed_values WHERE name = 'account'"))
    )
    assert stored.scalar_one() == 0, "what was refused leaves nothing behind"
    sample.build = None
    assert (await put(plane, made["id"], config=settings(retries=4))).status_code == 200


async def test_what_a_connector_keeps_while_it_is_tried_is_stored_with_its_issuer(
    plane: ControlPlane, sample: Sample
) -> None:
    seen: list[bytes] = []

    async def remember(config: SampleConfig, context: ConnectorContext) -> None:
        value = str(config.retries).encode()
        seen.append(await context.state.put_if_absent("account", value))
        assert await context.state.get("account") == seen[-1]

    sample.build = remember
    made = await make(plane, config=settings(retries=1))
    assert (await put(plane, made["id"], config=settings(retries=2))).status_code == 200
    other = Catalog(plane.services.database, plane.services.clock, sample.find)
    await other.refresh()
    assert seen == [b"1", b"1", b"1"]


async def test_what_a_connector_keeps_later_is_stored_too(
    plane: ControlPlane, sample: Sample
) -> None:
    states: list[ConnectorState] = []

    async def keep(_config: SampleConfig, context: ConnectorContext) -> None:
        states.append(context.state)

    sample.build = keep
    made = await make(plane)
    await put(plane, made["id"], config=settings(retries=2))
    for number, state in enumerate(states):
        await state.put_if_absent(f"token {number}", b"kept")
    stored = StoredState(plane.services.database, made["id"])
    assert [await stored.get(f"token {number}") for number in range(2)] == [b"kept"] * 2
    assert await states[0].get("token 1") == b"kept"


async def test_of_two_that_keep_a_state_at_once_both_use_the_first(
    plane: ControlPlane, sample: Sample
) -> None:
    made = await make(plane)
    stored = StoredState(plane.services.database, made["id"])
    used: list[bytes] = []

    async def remember(_config: SampleConfig, context: ConnectorContext) -> None:
        used.append(await context.state.put_if_absent("account", b"ours"))
        await stored.put_if_absent("account", b"the other process's")

    sample.build = remember
    assert (await put(plane, made["id"], config=settings(retries=2))).status_code == 200
    assert used == [b"ours", b"the other process's"], "built again from what is stored"
    assert live(plane, made["id"]) is sample.built[-1]


async def test_a_call_under_way_ends_on_the_connector_that_it_began_with(
    database: Database, tmp_path: Path, sample: Sample
) -> None:
    async with control_plane(database, tmp_path, sample=sample) as plane:
        made = await make(plane)
        before = live(plane, made["id"])
        answer = await order(plane, made["id"])
        assert answer.status_code == 202, answer.text
        await sample.begun.wait()
        assert (await put(plane, made["id"], config=settings(retries=7))).status_code == 200
        assert live(plane, made["id"]) is not before
        assert before.finished == 0
        sample.may_end.set()
        address = f"/api/v1/orders/{answer.json()['order_id']}"
        for _ in range(500):
            if (await plane.client.get(address)).json()["state"] == "pending":
                break
            await asyncio.sleep(0.01)
        assert before.finished == 1
        assert live(plane, made["id"]).finished == 0


async def test_another_process_sees_a_change(plane: ControlPlane, sample: Sample) -> None:
    other = Catalog(plane.services.database, plane.services.clock, sample.find)
    stopping = asyncio.Event()
    watching = asyncio.create_task(other.watch(stopping))
    made = await make(plane)
    await put(plane, made["id"], config=settings(api_key="the key of now"))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        found = {issuer.record.id: issuer for issuer in other.issuers()}.get(made["id"])
        if found is not None and found.record.revision == 2:
            break
        assert loop.time() - begun < 2
        await asyncio.sleep(0.02)
    connector: Any = found.connector
    assert connector.config.api_key.get_secret_value() == "the key of now"
    stopping.set()
    await watching


async def test_an_issuer_is_disabled_and_enabled(plane: ControlPlane) -> None:
    made = await make(plane)
    address = f"{ISSUERS}/{made['id']}"
    for _ in range(2):
        answer = await plane.client.post(f"{address}/disable")
        assert (answer.status_code, answer.json()["status"]) == (200, "disabled")
    await problem(await order(plane, made["id"]), 422, "issuer-disabled", "issuer_id")
    answer = await plane.client.post(f"{address}/enable")
    assert (answer.json()["status"], answer.json()["revision"]) == ("ready", 3)
    assert (await order(plane, made["id"])).status_code == 202
    (event,) = await events(plane, "issuer.disabled")
    assert event["detail"] == {
        "revision": 2,
        "changes": {"enabled": {"from": True, "to": False}},
    }
    for action in ("enable", "disable", "test"):
        missing = await plane.client.post(f"{ISSUERS}/iss-none/{action}")
        assert missing.status_code == 404


async def test_an_unused_issuer_is_deleted_with_its_secrets(
    plane: ControlPlane, sample: Sample
) -> None:
    async def remember(_config: SampleConfig, context: ConnectorContext) -> None:
        await context.state.put_if_absent("account", b"a")

    sample.build = remember
    made = await make(plane)
    local = await plane.client.post(ISSUERS, json={"name": "Second root", "type": "local"})
    assert local.status_code == 201
    for issuer_id in (made["id"], "iss-second-root"):
        await plane.client.post(f"{ISSUERS}/{issuer_id}/test")
        answer = await plane.client.delete(f"{ISSUERS}/{issuer_id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await plane.client.get(f"{ISSUERS}/{issuer_id}")).status_code == 404
        assert (await plane.client.delete(f"{ISSUERS}/{issuer_id}")).status_code == 404

        def left(connection: Any, which: str = issuer_id) -> int:
            return sum(
                connection.execute(
                    text(f"SELECT count(*) FROM {table} WHERE {column} = :which"),  # noqa: S608 - constants
                    {"which": which},
                ).scalar_one()
                for table, column in [
                    ("issuers", "id"),
                    ("sealed_values", "scope"),
                    ("issuer_checks", "issuer_id"),
                    ("crls", "issuer_id"),
                ]
            )

        assert await plane.services.database.read(left) == 0
    again = await make(plane)
    assert again["id"] == made["id"]
    assert again["revision"] == 1
    assert live(plane, again["id"]) is sample.built[-1], "not the deleted one's"


async def test_an_issuer_in_use_is_archived_instead(plane: ControlPlane) -> None:
    second = await plane.client.post(ISSUERS, json={"name": "Second root", "type": "local"})
    issuer_id = second.json()["id"]
    issued = (await order(plane, issuer_id)).json()
    address = f"{ISSUERS}/{issuer_id}"
    found = await problem(await plane.client.delete(address), 409, "issuer-in-use")
    assert "archive" in found["hint"]
    for _ in range(2):
        answer = await plane.client.delete(address, params={"archive": "true"})
        assert answer.status_code == 204
    assert (await plane.client.get(address)).json()["status"] == "archived"
    listed = (await plane.client.get(ISSUERS)).json()["data"]
    assert issuer_id not in {issuer["id"] for issuer in listed}
    every = (await plane.client.get(ISSUERS, params={"archived": "true"})).json()["data"]
    assert issuer_id in {issuer["id"] for issuer in every}
    await problem(await order(plane, issuer_id), 422, "issuer-archived", "issuer_id")
    await problem(await plane.client.post(f"{address}/enable"), 409, "issuer-archived")
    # Its settings can still be changed: revoking may need another credential one day.
    kept = await put(plane, issuer_id, name="old root", config={"crl_validity_hours": 48})
    assert (kept.status_code, kept.json()["status"]) == (200, "archived")
    assert kept.json()["enabled"] is False
    revoked = await plane.client.post(f"/api/v1/certificates/{issued['id']}/revoke", json={})
    assert revoked.status_code == 200
    use_cases = plane.services.use_cases
    assert plane.services.catalog.issuer(issuer_id).connector is not None
    await use_cases.crls.ensure()
    again = await plane.client.post(ISSUERS, json={"name": "Second root", "type": "local"})
    assert again.status_code == 201, "its name is free"
    assert again.json()["id"] != issuer_id


async def test_an_issuer_of_the_environment_is_not_deleted_under_it(
    database: Database, tmp_path: Path, sample: Sample
) -> None:
    environment = {
        "CERTCTL_SAMPLE_API_URL": "https://env.test",
        "CERTCTL_SAMPLE_API_KEY": "the environment's key",
    }
    async with serving(database, tmp_path, sample, environment) as plane:
        for issuer_id in ("iss-sample", "iss-local"):
            found = await problem(
                await plane.client.delete(f"{ISSUERS}/{issuer_id}"), 409, "issuer-in-environment"
            )
            assert "archive" in found["hint"]
        address = f"{ISSUERS}/iss-sample"
        archived = await plane.client.delete(address, params={"archive": "true"})
        assert archived.status_code == 204
    with capture_logs() as logs:
        async with serving(database, tmp_path, sample, environment) as plane:
            assert (await plane.client.get(address)).json()["status"] == "archived"
    assert "the issuer is archived" in {entry.get("reason") for entry in logs}


async def test_environment_then_put_then_restart(
    database: Database, tmp_path: Path, sample: Sample
) -> None:
    environment = {
        "CERTCTL_SAMPLE_API_URL": "https://env.test",
        "CERTCTL_SAMPLE_API_KEY": "key of the environment",
    }
    address = f"{ISSUERS}/iss-sample"

    def key(plane: ControlPlane) -> str:
        secret: str = live(plane, "iss-sample").config.api_key.get_secret_value()
        return secret

    async with serving(database, tmp_path, sample, environment) as plane:
        shown = (await plane.client.get(address)).json()
        assert (shown["source"], shown["environment"]) == ("env", "applied")
        assert key(plane) == "key of the environment"
        local = (await plane.client.get(f"{ISSUERS}/iss-local")).json()
        assert (local["source"], local["environment"]) == ("env", None)
    # Environment and restart.
    environment["CERTCTL_SAMPLE_API_KEY"] = "second key of the environment"
    async with serving(database, tmp_path, sample, environment) as plane:
        assert key(plane) == "second key of the environment"
        # PUT and no restart.
        changed = await put(plane, "iss-sample", config=settings(api_key="key of the put"))
        assert (changed.json()["source"], changed.json()["environment"]) == ("api", "differs")
        assert key(plane) == "key of the put"
    # A restart with a differing environment: reported, not applied.
    environment["CERTCTL_SAMPLE_API_KEY"] = "third key of the environment"
    with capture_logs() as logs:
        async with serving(database, tmp_path, sample, environment) as plane:
            shown = (await plane.client.get(address)).json()
            assert (shown["source"], shown["environment"]) == ("api", "differs")
            assert key(plane) == "key of the put"
            # Until a PUT hands it back.
            twice = await put(plane, "iss-sample", source="env", config=settings())
            await problem(twice, 422, "issuer-settings-twice", "config")
            back = await put(plane, "iss-sample", source="env", name="Handed back")
            assert back.status_code == 200, back.text
            assert (back.json()["source"], back.json()["environment"]) == ("env", "applied")
            assert back.json()["config"]["api_url"] == "https://env.test"
            assert key(plane) == "third key of the environment"
            made = await make(plane, "made here")
            absent = await put(plane, made["id"], source="env")
            await problem(absent, 422, "issuer-not-in-environment", "source")
    (warning,) = [entry for entry in logs if entry["event"] == "environment not applied"]
    assert warning["issuer"] == "iss-sample"
    environment["CERTCTL_SAMPLE_API_KEY"] = "fourth key of the environment"
    async with serving(database, tmp_path, sample, environment) as plane:
        assert key(plane) == "fourth key of the environment"
        assert (await plane.client.get(address)).json()["name"] == "Handed back"


async def test_an_issuer_is_tested_and_the_answer_kept(
    plane: ControlPlane, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(plane)
    healthy: list[str] = []

    async def heard(issuer_id: str) -> None:
        healthy.append(issuer_id)

    issuers = plane.services.use_cases.issuers
    monkeypatch.setattr(issuers, "_on_healthy", heard)
    monkeypatch.setattr(issuers, "_check_seconds", 0.05)
    address = f"{ISSUERS}/{made['id']}"

    async def check() -> dict[str, Any]:
        answer = await plane.client.post(f"{address}/test")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert (await plane.client.get(address)).json()["check"] == found
        assert 0 <= found["duration_ms"] < 5000
        return found

    assert made["check"] is None
    good = await check()
    assert (good["status"], good["detail"], good["host"]) == ("ok", "hello", "ca.sample.test")
    assert healthy == [made["id"]]
    sample.check = errors.Unauthorized("E-401: no such\x00 key \ud800", code="AUTH\x00-1")
    bad = await check()
    assert (bad["status"], bad["code"], bad["host"]) == ("failed", "AUTH-1", "ca.sample.test")
    assert bad["detail"] == "E-401: no such key ?"
    sample.check = errors.Refused("you sent: the first key of all")
    assert (await check())["detail"] == f"you sent: {MASK}"
    sample.check = "hang"
    assert (await check())["detail"] == "no answer within 0.05 seconds"
    sample.check = KeyError("the first key of all")
    with capture_logs() as logs:
        assert "KeyError" in (await check())["detail"]
    assert "the first key" not in repr(logs)
    assert healthy == [made["id"]]
    assert len(await events(plane, "issuer.tested")) == 5
    local = await plane.client.post(f"{ISSUERS}/iss-local/test")
    assert (local.json()["status"], local.json()["host"]) == ("ok", None)


async def test_a_broken_issuer_fails_its_test_until_what_is_wrong_is_mended(
    database: Database, tmp_path: Path, sample: Sample
) -> None:
    async with serving(database, tmp_path, sample) as plane:
        made = await make(plane, config=settings(password="planted password"))

    async def broken(_config: SampleConfig, _context: ConnectorContext) -> None:
        raise errors.Misconfigured("key.pem is missing")

    sample.build = broken
    async with serving(database, tmp_path, sample) as plane:
        address = f"{ISSUERS}/{made['id']}"
        shown = (await plane.client.get(address)).json()
        assert (shown["status"], shown["problem"]) == ("failed", "key.pem is missing")
        assert shown["config"]["password"] == MASK
        check = (await plane.client.post(f"{address}/test")).json()
        assert (check["status"], check["detail"]) == ("failed", "key.pem is missing")
        await problem(await order(plane, made["id"]), 503, "issuer-not-ready", "issuer_id")
        sample.build = None
        assert (await plane.client.post(f"{address}/test")).json()["status"] == "ok"
        assert (await plane.client.get(address)).json()["status"] == "ready"


async def test_of_an_unknown_type_no_setting_is_shown(
    database: Database, tmp_path: Path, sample: Sample
) -> None:
    async with serving(database, tmp_path, sample) as plane:
        made = await make(plane, config=settings(password="planted password"))
    async with control_plane(database, tmp_path) as plane:
        answer = await plane.client.get(f"{ISSUERS}/{made['id']}")
        assert answer.json()["config"] == {}
        assert answer.json()["status"] == "failed"
        assert "unknown issuer type" in answer.json()["problem"]
        put_it = await plane.client.put(
            f"{ISSUERS}/{made['id']}", json={"name": "x", "config": settings()}
        )
        await problem(put_it, 422, "issuer-type-unknown", "type")
        assert (await plane.client.post(f"{ISSUERS}/{made['id']}/test")).status_code == 200
        assert (await plane.client.delete(f"{ISSUERS}/{made['id']}")).status_code == 204


async def test_a_planted_secret_never_comes_back(
    database: Database, tmp_path: Path, sample: Sample
) -> None:
    planted = [f"planted secret number {number}" for number in range(9)]
    said: list[str] = []

    async def careless(config: SampleConfig, _context: ConnectorContext) -> None:
        if config.retries == 0:
            raise errors.Misconfigured(f"no good: {config.api_key.get_secret_value()}")
        if config.retries == 1:
            raise ValueError(config.api_key.get_secret_value())

    sample.build = careless
    environment = {
        "CERTCTL_SAMPLE_API_URL": "https://env.test",
        "CERTCTL_SAMPLE_API_KEY": planted[0],
        "CERTCTL_SAMPLE_OTHER_KEYS": f"{planted[1]},{planted[2]}",
    }
    with capture_logs() as logs:
        async with serving(database, tmp_path, sample, environment) as plane:

            async def call(method: str, path: str = "", **body: Any) -> None:
                answer = await plane.client.request(method, ISSUERS + path, json=body or None)
                said.append(answer.text + repr(answer.headers))

            await call("GET")
            config = settings(api_key=planted[3], password=planted[4])
            await call("POST", name="one", type="Sample", config=config)
            for retries in (0, 1, 99):
                bad = settings(api_key=planted[5], other_keys=[planted[6]], retries=retries)
                await call("POST", name="two", type="Sample", config=bad)
                await call("PUT", "/iss-one", name="one", config=bad)
            await call("PUT", "/iss-one", name="one", config=settings(api_url=planted[7]))
            await call("PUT", "/iss-one", name="one", config=settings(**{planted[8]: 1}))
            await call("POST", name="one", type=planted[8][:40], config={})
            for check in (errors.Refused(planted[3]), RuntimeError(planted[4])):
                sample.check = check
                await call("POST", "/iss-one/test")
            for path in ("", "/iss-one", "/types", "?archived=true", "/iss-sample"):
                await call("GET", path)
            await call("DELETE", "/iss-one")
            audit = await plane.client.get("/api/v1/audit", params={"limit": 200})
            said.append(audit.text)
            said.append((await plane.client.get("/api/v1/openapi.json")).text)
    said.append(repr(logs))
    for secret in planted:
        assert not [text for text in said if secret in text]


async def test_only_an_admin_changes_issuers(plane: ControlPlane) -> None:
    made = await make(plane)
    now = plane.services.clock.now_ms()
    key = new_api_key("viewer")
    record = ApiKeyRecord("viewer", "viewer", "viewer", hash_api_key(key))
    await plane.services.database.write(lambda t: insert_api_key(t, record, now))
    headers = {"Authorization": f"Bearer {key}"}
    body = {"name": "x", "type": "Sample", "config": settings()}
    address = f"{ISSUERS}/{made['id']}"
    for method, path, sent in [
        ("POST", ISSUERS, body),
        ("PUT", address, {"name": "x"}),
        ("DELETE", address, None),
        ("DELETE", f"{address}?archive=true", None),
        ("POST", f"{address}/enable", None),
        ("POST", f"{address}/disable", None),
        ("POST", f"{address}/test", None),
    ]:
        answer = await plane.client.request(method, path, json=sent, headers=headers)
        assert answer.status_code == 403, (method, path)
    for path in (ISSUERS, address, f"{ISSUERS}/types"):
        assert (await plane.client.get(path, headers=headers)).status_code == 200
    assert (await plane.client.get(address)).json() == made


async def test_the_issuer_that_the_server_needs_stays(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane.services.use_cases.issuers, "_needed", "iss-local")
    address = f"{ISSUERS}/iss-local"
    for answer in [
        await plane.client.post(f"{address}/disable"),
        await plane.client.delete(address),
        await plane.client.delete(address, params={"archive": "true"}),
        await plane.client.put(address, json={"name": "Local CA", "enabled": False}),
    ]:
        await problem(answer, 409, "issuer-needed")
    assert (await plane.client.get(address)).json()["status"] == "ready"


async def test_a_new_issuer_that_signs_status_gets_its_crl(
    database: Database, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path) as plane:
        answer = await plane.client.post(ISSUERS, json={"name": "Second root", "type": "local"})
        issuer_id = answer.json()["id"]
        crls = plane.services.use_cases.crls
        for _ in range(500):
            try:
                assert (await crls.current(issuer_id)).number == 1
                break
            except Exception:  # noqa: BLE001 - not made yet
                await asyncio.sleep(0.01)
        else:
            raise AssertionError("no CRL")


def test_the_mask_is_the_same_everywhere() -> None:
    assert schemas.MASK == MASK


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from([MASK, "\x00", "\ud800", "a" * 70_000, 10**300]),
)
deep = st.integers(1, 400).map(lambda depth: json.loads("[" * depth + "]" * depth))
values = st.recursive(
    st.one_of(scalars, deep),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=8,
)
names = st.sampled_from(
    [*LocalConfig.model_fields, "api_url", "api_key", "password", "products", "other_keys", "\x00"]
)


texts = st.text(st.characters(exclude_categories=()), max_size=130)
bodies = st.fixed_dictionaries(
    {
        "name": st.one_of(st.uuids().map(str), texts),
        "type": st.sampled_from(["Sample", "local"]),
        "config": st.one_of(
            st.just({}),
            st.just(settings()),
            st.dictionaries(names, values, max_size=4),
            st.dictionaries(names, values, max_size=2).map(lambda config: settings(**config)),
            values,
        ),
    },
    optional={
        "id": st.one_of(st.none(), values),
        "enabled": st.one_of(st.booleans(), values),
        "limits": st.one_of(st.just({"max_concurrency": 3}), values),
        "revision": st.one_of(st.none(), st.none(), values),
        "source": st.one_of(st.just("api"), st.just("env"), values),
    },
)
ONLY_PUT, ONLY_POST = {"revision", "source"}, {"id", "type"}


async def test_no_body_is_a_fault_of_the_server(plane: ControlPlane) -> None:
    generated: list[str] = []

    @hypothesis_settings(
        max_examples=80,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(body=bodies)
    # What chance finds is another thing on each machine; these are taken for certain.
    @example(body={"name": "one that is taken", "type": "Sample", "config": settings()})
    @example(body={"name": "another that is taken", "type": "Sample", "config": settings()})
    @example(body={"name": "a CA that is taken", "type": "local", "config": {}})
    def collect(body: dict[str, Any]) -> None:
        generated.append(json.dumps(body))

    collect()
    made = await make(plane)
    seen = Counter[int]()
    for number, text_ in enumerate(generated):
        for method, path in [("POST", ""), ("PUT", f"/{made['id']}"), ("PUT", "/iss-local")]:
            whole = json.loads(text_)
            out_of_place = ONLY_PUT if method == "POST" else ONLY_POST
            if number % 4:  # else they stay, where they do not belong
                whole = {name: whole[name] for name in whole.keys() - out_of_place}
            body = json.dumps(whole)
            answer = await plane.client.request(
                method,
                ISSUERS + path,
                content=body.encode(),
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code < 500, (answer.text, body[:300])
            seen[answer.status_code] += 1
    assert seen[200] > 2, seen
    assert seen[201] > 2, seen
    assert seen[422] > 20, seen
    listed = await plane.client.get(ISSUERS)
    assert listed.status_code == 200
