"""Profiles over REST: made, changed, put away; and what a change does to orders and renewals."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from certctl.connectors import errors
from certctl.connectors.registry import connector_type
from certctl.domain.keys import KeyType
from certctl.domain.names import NameKind
from certctl.domain.profiles import Abilities
from certctl.domain.usages import Usage
from certctl.lifecycle.access import hash_api_key, new_api_key
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.own_use import OwnUse
from certctl.lifecycle.presets import PRESETS
from certctl.lifecycle.seeding import seed
from certctl.schemas.profiles import (
    KeyTypeName,
    NameKindName,
    ProfileRules,
    ProfileUpdate,
    UsageName,
)
from certctl.storage.api_keys import ApiKeyRecord, insert_api_key
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.sample_issuer import Sample, settings
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certctl.connectors.contract import ConnectorContext
    from certctl.storage.database import Database, Transaction
    from tests.support.sample_issuer import SampleConfig

pytestmark = pytest.mark.anyio

PROFILES = "/api/v1/profiles"
CERTIFICATES = "/api/v1/certificates"
DAY = 86_400
RULES: dict[str, Any] = {
    "name": "Web",
    "usages": ["serverAuth"],
    "name_kinds": ["dns"],
    "default_validity_seconds": 30 * DAY,
    "max_validity_seconds": 90 * DAY,
}
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
async def plane(database: Database, tmp_path: Path, sample: Sample) -> AsyncIterator[ControlPlane]:
    """A control plane that knows the sample type of issuer."""
    async with control_plane(database, tmp_path, sample=sample, run_scheduler=False) as running:
        yield running


async def make(plane: ControlPlane, **body: Any) -> dict[str, Any]:
    """Make a profile."""
    answer = await plane.client.post(PROFILES, json={**RULES, **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"{PROFILES}/{made['id']}"
    return made


async def put(plane: ControlPlane, profile_id: str, **body: Any) -> Any:
    """Send a PUT."""
    return await plane.client.put(f"{PROFILES}/{profile_id}", json={**RULES, **body})


async def changed(plane: ControlPlane, profile_id: str, **body: Any) -> dict[str, Any]:
    """Change a profile."""
    answer = await put(plane, profile_id, **body)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


def problem(answer: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The problem document of an answer."""
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:certctl:problem:{code}", found
    assert found["field"] == field, found
    return found


async def order(plane: ControlPlane, profile_id: str, *names: str, **body: Any) -> Any:
    """Ask for a certificate."""
    csr = make_csr(make_key(), names or ["www.example.org"])
    return await plane.client.post(
        CERTIFICATES,
        json={"issuer_id": "iss-local", "profile_id": profile_id, "csr": csr, **body},
    )


async def renew(plane: ControlPlane, certificate_id: str, **body: Any) -> Any:
    """Ask for the next version."""
    return await plane.client.post(f"{CERTIFICATES}/{certificate_id}/renew", json=body)


async def events(plane: ControlPlane, action: str, profile_id: str) -> list[dict[str, Any]]:
    """What the audit log says about a profile, newest first: its details."""
    answer = await plane.client.get("/api/v1/audit", params={"limit": 200})
    return [
        event["detail"]
        for event in answer.json()["data"]
        if (event["action"], event["object_id"]) == (action, profile_id)
    ]


async def add_sample(plane: ControlPlane, name: str = "Sample") -> str:
    """Make an issuer of the sample type."""
    body = {"name": name, "type": "Sample", "config": settings()}
    answer = await plane.client.post("/api/v1/issuers", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


# Making


async def test_a_profile_is_made_shown_listed_and_ordered_with(plane: ControlPlane) -> None:
    rules = {
        "description": "Web servers of the shop",
        "key_types": ["ecdsa-p384", "ecdsa-p256", "rsa", "rsa"],
        "rsa_min_bits": 3072,
        "usages": ["clientAuth", "serverAuth", "clientAuth"],
        "name_kinds": ["ip", "dns"],
        "name_patterns": ["*.Shop.example.org.", "10.0.0.0/8"],
        "allowed_issuers": ["iss-local"],
        "must_staple": False,
        "new_key_on_renewal": True,
    }
    made = await make(plane, name="Größe & Söhne (EU)", **rules)
    created = made.pop("created_at")
    assert made == {
        **RULES,
        **rules,
        "id": "prof-groe-sohne-eu",
        "name": "Größe & Söhne (EU)",
        "key_types": ["ecdsa-p256", "ecdsa-p384", "rsa"],
        "usages": ["clientAuth", "serverAuth"],
        "name_kinds": ["dns", "ip"],
        "name_patterns": ["dns:*.shop.example.org", "ip:10.0.0.0/8"],
        "enabled": True,
        "revision": 1,
        "archived_at": None,
        "updated_at": created,
        "warnings": [],
    }
    shown = (await plane.client.get(f"{PROFILES}/{made['id']}")).json()
    assert shown == {**made, "created_at": created}
    listed = (await plane.client.get(PROFILES)).json()["data"]
    assert [each["id"] for each in listed] == sorted([made["id"], *(p.id for p in PRESETS)])
    assert (await order(plane, made["id"], "a.shop.example.org", "10.0.0.1")).status_code == 201
    problem(await order(plane, made["id"], "10.0.0.1", "shop.example.org"), 422,
            "name-not-allowed", "names.1")  # fmt: skip
    (event,) = await events(plane, "profile.created", made["id"])
    told = event["changes"]
    assert told["name"] == {"to": made["name"]}
    assert told["enabled"] == {"to": True}
    assert told["name_patterns"] == {"to": made["name_patterns"]}
    assert told["max_validity"] == {"to": 90 * DAY}


async def test_what_is_left_out_has_its_default(plane: ControlPlane) -> None:
    made = await make(plane)
    assert made["key_types"] == sorted(KeyType)
    assert made["rsa_min_bits"] == 2048
    assert made["name_patterns"] is made["allowed_issuers"] is None
    assert made["must_staple"] is made["new_key_on_renewal"] is False
    problem(await order(plane, made["id"], "10.0.0.1"), 422, "name-kind-not-allowed", "names.0")


def test_rest_has_the_words_of_the_domain() -> None:
    from typing import get_args

    assert set(get_args(KeyTypeName)) == set(KeyType)
    assert set(get_args(NameKindName)) == set(NameKind)
    assert set(get_args(UsageName)) == set(Usage)
    assert set(ProfileRules.model_fields["key_types"].default) == set(KeyType)


async def test_ids_are_made_from_names_and_stay_unique(plane: ControlPlane) -> None:
    assert (await make(plane, name="Web A"))["id"] == "prof-web-a"
    assert (await make(plane, name="web-a!"))["id"].startswith("prof-web-a-")
    assert (await make(plane, name="★"))["id"] == "prof-profile"
    assert (await make(plane, name="named", id="prof-given"))["id"] == "prof-given"
    taken = {**RULES, "name": "other", "id": "prof-given"}
    problem(await plane.client.post(PROFILES, json=taken), 409, "profile-exists", "id")
    name = {**RULES, "name": "TLS server"}
    problem(await plane.client.post(PROFILES, json=name), 409, "profile-name-taken", "name")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"default_validity_seconds": 91 * DAY}, "profile-default-over-maximum",
         "default_validity_seconds"),
        ({"name_patterns": ["*", "ip:*"]}, "profile-pattern-of-other-kind", "name_patterns.1"),
        ({"name_kinds": ["dns", "ip"], "name_patterns": ["*"]}, "profile-kind-without-pattern",
         "name_patterns"),
        ({"name_patterns": ["planted*"]}, "pattern-star-misplaced", "name_patterns.0"),
        ({"name_patterns": []}, "body-invalid", "name_patterns"),
        ({"allowed_issuers": []}, "body-invalid", "allowed_issuers"),
        ({"allowed_issuers": ["iss-local", "iss-planted"]}, "issuer-not-found",
         "allowed_issuers.1"),
        ({"usages": []}, "body-invalid", "usages"),
        ({"usages": ["planted"]}, "body-invalid", "usages.0"),
        ({"key_types": []}, "body-invalid", "key_types"),
        ({"rsa_min_bits": 1024}, "body-invalid", "rsa_min_bits"),
        ({"max_validity_seconds": 59}, "body-invalid", "max_validity_seconds"),
        ({"name": "planted\x00"}, "body-invalid", "name"),
        ({"description": "planted\x00"}, "body-invalid", "description"),
        ({"id": "iss-planted"}, "body-invalid", "id"),
        ({"planted": 1}, "body-invalid", None),
    ],
)  # fmt: skip
@on_sqlite
async def test_rules_that_cannot_be_are_refused_and_not_echoed(
    plane: ControlPlane, body: dict[str, Any], code: str, field: str | None
) -> None:
    answer = await plane.client.post(PROFILES, json={**RULES, **body})
    assert answer.status_code == 422
    found = answer.json()
    if code == "body-invalid":
        assert field is None or found["field"] == field
    else:
        problem(answer, 422, code, field)
    assert "planted" not in answer.text.replace("iss-planted", "planted")
    assert len((await plane.client.get(PROFILES)).json()["data"]) == len(PRESETS)


@on_sqlite
async def test_no_body_is_a_fault_of_the_server(plane: ControlPlane) -> None:
    made = await make(plane)
    loop = asyncio.get_running_loop()
    values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
    names = st.sampled_from(list(ProfileUpdate.model_fields))

    @hypothesis_settings(
        max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.dictionaries(names, values, max_size=4))
    def send(body: dict[str, Any]) -> None:
        answer = asyncio.run_coroutine_threadsafe(put(plane, made["id"], **body), loop).result(20)
        assert answer.status_code in {200, 409, 422}, answer.text

    await asyncio.to_thread(send)


# Changing


async def test_a_put_replaces_everything(plane: ControlPlane) -> None:
    made = await make(plane, name_patterns=["*"], description="as it was")
    view = await changed(plane, made["id"], name="Renamed", max_validity_seconds=60 * DAY)
    assert view["revision"] == 2
    assert view["name"] == "Renamed"
    assert view["description"] == ""
    assert view["name_patterns"] is None
    assert view["created_at"] == made["created_at"]
    (event,) = await events(plane, "profile.updated", made["id"])
    assert event == {
        "revision": 2,
        "changes": {
            "name": {"from": "Web", "to": "Renamed"},
            "description": {"from": "as it was", "to": ""},
            "name_patterns": {"from": ["dns:*"], "to": None},
            "max_validity": {"from": 90 * DAY, "to": 60 * DAY},
        },
    }
    again = await changed(plane, made["id"], name="Renamed", max_validity_seconds=60 * DAY)
    assert again == view, "what changes nothing is no change"
    assert len(await events(plane, "profile.updated", made["id"])) == 1


async def test_a_put_of_another_revision_or_name_is_a_conflict(plane: ControlPlane) -> None:
    made = await make(plane)
    await changed(plane, made["id"], must_staple=True, revision=1)
    problem(await put(plane, made["id"], revision=1), 409, "profile-changed", "revision")
    problem(await put(plane, made["id"], name="TLS server"), 409, "profile-name-taken", "name")
    problem(await put(plane, "prof-none"), 404, "profile-not-found")
    both = await asyncio.gather(
        *[put(plane, made["id"], name=name, revision=2) for name in ("One", "Two")]
    )
    assert sorted(answer.status_code for answer in both) == [200, 409]


async def test_a_change_is_for_what_comes_next(plane: ControlPlane) -> None:
    made = await make(plane)
    issued = (await order(plane, made["id"])).json()
    await changed(plane, made["id"], name_patterns=["*.example.net"])
    same = (await plane.client.get(f"{CERTIFICATES}/{issued['id']}")).json()
    assert same == issued
    problem(await order(plane, made["id"]), 422, "name-not-allowed", "names.0")
    problem(await renew(plane, issued["id"]), 422, "name-not-allowed", "names.0")
    assert (await order(plane, made["id"], "www.example.net")).status_code == 201
    await changed(plane, made["id"], allowed_issuers=[await add_sample(plane)])
    problem(await order(plane, made["id"]), 422, "issuer-not-allowed", "issuer_id")
    problem(await renew(plane, issued["id"]), 422, "issuer-not-allowed", "issuer_id")
    await changed(plane, made["id"], default_validity_seconds=2 * DAY, max_validity_seconds=3 * DAY)
    problem(await renew(plane, issued["id"], validity_days=4), 422, "validity-over-profile",
            "validity_days")  # fmt: skip
    renewed = await renew(plane, issued["id"])
    assert renewed.status_code == 201, renewed.text
    await changed(plane, made["id"], name_patterns=["*.example.net"], new_key_on_renewal=True)
    problem(await renew(plane, issued["id"]), 422, "name-not-allowed", "names.0")
    await changed(plane, made["id"], new_key_on_renewal=True)
    waiting = await renew(plane, issued["id"])
    assert waiting.status_code == 202
    problem(await renew(plane, issued["id"], csr=make_csr(make_key())), 422, "key-reused", "csr")
    csr = make_csr(make_key(KeyType.P384))
    await changed(plane, made["id"], key_types=["rsa"])
    problem(await renew(plane, issued["id"], csr=csr), 422, "key-type-not-allowed", "csr")
    await changed(plane, made["id"])
    assert (await renew(plane, issued["id"], csr=csr)).status_code == 201


async def test_what_was_ordered_goes_on_as_it_was_ordered(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["pending", "pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        made = await make(plane)
        answer = await order(plane, made["id"], issuer_id="iss-slow")
        assert answer.status_code == 202, answer.text
        await changed(
            plane,
            made["id"],
            usages=["clientAuth"],
            name_patterns=["*.example.net"],
            allowed_issuers=["iss-local"],
            default_validity_seconds=DAY,
            max_validity_seconds=DAY,
            enabled=False,
        )
        for _ in range(500):
            found = (await plane.client.get(f"{CERTIFICATES}/{answer.json()['id']}")).json()
            if found["status"] == "issued":
                break
            await asyncio.sleep(0.02)
        assert found["status"] == "issued"
        assert found["names"] == ["www.example.org"]
        (event,) = await events(plane, "profile.updated", made["id"])
        assert event["changes"]["enabled"] == {"from": True, "to": False}


async def test_another_process_holds_requests_against_the_change(plane: ControlPlane) -> None:
    made = await make(plane)
    other = Catalog(plane.services.database, plane.services.clock, connector_type)
    await other.refresh()
    assert other.usable_profile(made["id"]).name_patterns is None
    await changed(plane, made["id"], name_patterns=["*.example.net"])
    await other.refresh()
    assert [str(p) for p in other.usable_profile(made["id"]).name_patterns or ()] == [
        "dns:*.example.net"
    ]


# Issuers


async def test_an_issuer_that_can_never_follow_is_refused_when_the_profile_is_saved(
    plane: ControlPlane, sample: Sample
) -> None:
    able, issuer_id = await add_sample(plane, "Able"), await add_sample(plane)
    connector: Any = sample.built[-1]
    connector.abilities = Abilities(usages=frozenset({Usage.SERVER_AUTH}), must_staple=False)
    allowed = [able, issuer_id]
    made = await make(plane, allowed_issuers=allowed)
    bodies: list[tuple[dict[str, Any], str]] = [
        ({"usages": ["clientAuth"]}, "usage-not-supported"),
        ({"must_staple": True}, "must-staple-not-supported"),
    ]
    for body, code in bodies:
        answer = await put(plane, made["id"], allowed_issuers=allowed, **body)
        problem(answer, 422, code, "allowed_issuers.1")
        answer = await plane.client.post(
            PROFILES, json={**RULES, "name": "n", "allowed_issuers": allowed, **body}
        )
        problem(answer, 422, code, "allowed_issuers.1")
        # Any issuer is allowed: then it is for each request to fit the issuer that it names.
        free = await make(plane, name=f"any {code}", **body)
        answer = await order(plane, free["id"], issuer_id=issuer_id)
        problem(answer, 422, code, "profile_id")
    assert (await plane.client.get(f"{PROFILES}/{made['id']}")).json() == made
    # What the CA can do may have changed since the profile was saved.
    connector.abilities = Abilities(usages=frozenset({Usage.CLIENT_AUTH}))
    answer = await order(plane, made["id"], issuer_id=issuer_id)
    problem(answer, 422, "usage-not-supported", "profile_id")
    view = (await plane.client.get(f"{PROFILES}/{made['id']}")).json()
    assert view["warnings"] == [
        {"issuer_id": issuer_id, "detail": "this issuer cannot issue certificates for serverAuth"}
    ]


async def test_issuers_of_which_little_is_known_are_named_in_warnings(
    plane: ControlPlane, sample: Sample
) -> None:
    partly, disabled, archived, gone = [await add_sample(plane, name) for name in "abcd"]
    sample.built[0].abilities = replace(Abilities(), max_validity=10 * DAY)
    made = await make(plane, allowed_issuers=[partly, disabled, archived, gone])
    assert made["warnings"] == [{"issuer_id": partly, "detail": "it gives at most 10 days"}]
    await plane.client.post(f"/api/v1/issuers/{disabled}/disable")
    await plane.client.delete(f"/api/v1/issuers/{archived}?archive=true")
    assert (await plane.client.delete(f"/api/v1/issuers/{gone}")).status_code == 204
    view = await changed(
        plane, made["id"], name="n", allowed_issuers=[partly, disabled, archived, gone]
    )
    assert view["warnings"][1:] == [
        {"issuer_id": disabled, "detail": "it is disabled"},
        {"issuer_id": archived, "detail": "it is archived"},
        {"issuer_id": gone, "detail": "there is no issuer of that id any more"},
    ]
    answer = await plane.client.post(
        PROFILES, json={**RULES, "name": "m", "allowed_issuers": [gone]}
    )
    problem(answer, 422, "issuer-not-found", "allowed_issuers.0")
    problem(await order(plane, made["id"]), 422, "issuer-not-allowed", "issuer_id")


async def test_an_issuer_that_is_not_ready_is_named_in_a_warning(
    database: Database, tmp_path: Path, sample: Sample
) -> None:
    async with control_plane(database, tmp_path, sample=sample, run_scheduler=False) as plane:
        issuer_id = await add_sample(plane)

    async def fail(_config: SampleConfig, _context: ConnectorContext) -> None:
        raise errors.Misconfigured("there is no key.pem")

    sample.build = fail
    async with control_plane(database, tmp_path, sample=sample, run_scheduler=False) as plane:
        made = await make(plane, allowed_issuers=[issuer_id], usages=["timeStamping"])
        (warning,) = made["warnings"]
        assert warning["issuer_id"] == issuer_id
        assert warning["detail"].endswith("there is no key.pem")


# Disabling, archiving, deleting


async def test_a_disabled_profile_takes_no_requests(plane: ControlPlane) -> None:
    made = await make(plane, enabled=False)
    problem(await order(plane, made["id"]), 422, "profile-disabled", "profile_id")
    assert (await plane.client.post(f"{PROFILES}/{made['id']}/enable")).json()["enabled"] is True
    issued = (await order(plane, made["id"])).json()
    for _ in range(2):
        view = (await plane.client.post(f"{PROFILES}/{made['id']}/disable")).json()
    assert (view["enabled"], view["revision"]) == (False, 3)
    problem(await renew(plane, issued["id"]), 422, "profile-disabled", "profile_id")
    assert (await plane.client.post(f"{CERTIFICATES}/{issued['id']}/revoke", json={})).is_success
    assert len(await events(plane, "profile.disabled", made["id"])) == 1
    assert len(await events(plane, "profile.enabled", made["id"])) == 1
    for verb in ("enable", "disable"):
        problem(await plane.client.post(f"{PROFILES}/prof-none/{verb}"), 404, "profile-not-found")


async def test_a_profile_in_use_can_be_archived_only(plane: ControlPlane) -> None:
    made = await make(plane)
    address = f"{PROFILES}/{made['id']}"
    issued = (await order(plane, made["id"])).json()
    problem(await plane.client.delete(address), 409, "profile-in-use")
    for _ in range(2):
        assert (await plane.client.delete(address, params={"archive": "true"})).status_code == 204
    view = (await plane.client.get(address)).json()
    assert view["name"].startswith("Web (archived ")
    assert view["enabled"] is False
    assert view["archived_at"] is not None
    ids = [each["id"] for each in (await plane.client.get(PROFILES)).json()["data"]]
    assert made["id"] not in ids
    everything = await plane.client.get(PROFILES, params={"archived": "true"})
    assert made["id"] in [each["id"] for each in everything.json()["data"]]
    problem(await order(plane, made["id"]), 422, "profile-archived", "profile_id")
    problem(await renew(plane, issued["id"]), 422, "profile-archived", "profile_id")
    problem(await plane.client.post(f"{address}/enable"), 409, "profile-archived")
    problem(await put(plane, made["id"]), 409, "profile-archived")
    assert (await plane.client.get(f"{CERTIFICATES}/{issued['id']}")).json() == issued
    assert len(await events(plane, "profile.archived", made["id"])) == 1
    assert (await make(plane))["name"] == "Web", "its name is free"


async def test_a_profile_that_nothing_uses_is_deleted(plane: ControlPlane) -> None:
    made = await make(plane)
    address = f"{PROFILES}/{made['id']}"
    assert (await plane.client.delete(address)).status_code == 204
    problem(await plane.client.get(address), 404, "profile-not-found", "profile_id")
    problem(await plane.client.delete(address), 404, "profile-not-found")
    problem(await plane.client.delete(f"{address}?archive=true"), 404, "profile-not-found")
    problem(await order(plane, made["id"]), 422, "profile-not-found", "profile_id")
    (event,) = await events(plane, "profile.deleted", made["id"])
    assert event["name"] == "Web"
    assert event["rules"]["usages"] == ["serverAuth"]


async def test_a_request_in_the_moment_of_a_deletion_stores_nothing(
    plane: ControlPlane,
) -> None:
    made = await make(plane)
    database = plane.services.database
    # As another process does it, before this one has heard.
    await database.write(
        lambda t: t.execute(text("DELETE FROM profiles WHERE id = :id"), {"id": made["id"]})
    )
    problem(await order(plane, made["id"]), 409, "issuer-or-profile-gone")
    listed = (await plane.client.get(CERTIFICATES)).json()["data"]
    assert listed == []


async def test_must_staple_is_only_for_issuers_that_tell_a_status(plane: ControlPlane) -> None:
    body = {**RULES, "must_staple": True, "allowed_issuers": ["iss-local"]}
    answer = await plane.client.post(PROFILES, json=body)  # there is no public status address
    problem(answer, 422, "must-staple-not-supported", "allowed_issuers.0")


async def test_whoever_is_no_admin_only_looks(plane: ControlPlane) -> None:
    made = await make(plane)
    key = new_api_key("looker")
    record = ApiKeyRecord("looker", "looker", "viewer", hash_api_key(key))
    await plane.services.database.write(lambda t: insert_api_key(t, record, 1))
    headers = {"Authorization": f"Bearer {key}"}
    address = f"{PROFILES}/{made['id']}"
    for method, path, body in [
        ("POST", PROFILES, {**RULES, "name": "other"}),
        ("PUT", address, {**RULES, "name": "other"}),
        ("DELETE", address, None),
        ("DELETE", f"{address}?archive=true", None),
        ("POST", f"{address}/enable", None),
        ("POST", f"{address}/disable", None),
    ]:
        answer = await plane.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 403, (method, path)
    for path in (PROFILES, address):
        assert (await plane.client.get(path, headers=headers)).status_code == 200
    assert (await plane.client.get(address)).json() == made


# The built-in ones


async def test_seeding_never_overwrites_an_edit(plane: ControlPlane) -> None:
    edited = await changed(plane, "prof-tls-server", name="Our servers", name_patterns=["*"])
    assert (await plane.client.post(f"{PROFILES}/prof-smime/disable")).status_code == 200
    archived = await plane.client.delete(f"{PROFILES}/prof-mtls?archive=true")
    assert archived.status_code == 204
    problem(await plane.client.delete(f"{PROFILES}/prof-tls-client"), 409, "profile-built-in")
    before = (await plane.client.get(PROFILES, params={"archived": "true"})).json()
    await seed(plane.services.database, {})
    await plane.services.catalog.refresh()
    after = (await plane.client.get(PROFILES, params={"archived": "true"})).json()
    assert after == before
    assert (await plane.client.get(f"{PROFILES}/prof-tls-server")).json() == edited


async def test_a_built_in_profile_whose_name_is_taken_comes_all_the_same(
    plane: ControlPlane,
) -> None:
    database = plane.services.database
    await database.write(lambda t: t.execute(text("DELETE FROM profiles WHERE id = 'prof-mtls'")))
    await make(plane, name="Mutual TLS")
    await seed(database, {})
    await plane.services.catalog.refresh()
    view = (await plane.client.get(f"{PROFILES}/prof-mtls")).json()
    assert view["name"] == "Mutual TLS (prof-mtls)"


async def test_a_row_of_the_release_before_allows_what_it_allowed(plane: ControlPlane) -> None:
    made = await make(plane)
    rules = (
        '{"description": "d", "key_types": ["rsa", "ecdsa-p256"], "rsa_min_bits": 2048, '
        '"usages": ["serverAuth"], "name_kinds": ["dns"], "default_validity": 86400, '
        '"max_validity": 86400, "must_staple": false, "new_key_on_renewal": false}'
    )

    def write(transaction: Transaction) -> None:
        statement = text("UPDATE profiles SET rules = :rules WHERE id = :id")
        transaction.execute(statement, {"id": made["id"], "rules": rules})
        transaction.changed()

    await plane.services.database.write(write)
    await plane.services.catalog.refresh()
    view = (await plane.client.get(f"{PROFILES}/{made['id']}")).json()
    assert view["name_patterns"] is view["allowed_issuers"] is None
    assert view["max_validity_seconds"] == DAY
    assert (await order(plane, made["id"])).status_code == 201


@on_sqlite
async def test_the_profile_of_the_servers_own_certificate_stays_usable(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnUse("prof-tls-server", "iss-local", ("localhost", "127.0.0.1"))
    monkeypatch.setattr(plane.services.use_cases.profiles, "_own_use", own)
    address = f"{PROFILES}/prof-tls-server"
    kinds = ["dns", "ip"]
    for answer in [
        await plane.client.post(f"{address}/disable"),
        await plane.client.delete(f"{address}?archive=true"),
        await put(plane, "prof-tls-server", name_kinds=kinds, enabled=False),
        await put(plane, "prof-tls-server", name_kinds=kinds, usages=["clientAuth"]),
        await put(plane, "prof-tls-server", name_kinds=kinds, key_types=["rsa"]),
        await put(plane, "prof-tls-server", name_kinds=["dns"]),
        await put(
            plane,
            "prof-tls-server",
            name_kinds=kinds,
            name_patterns=["*.example.org", "10.0.0.0/8"],
        ),
        await put(
            plane,
            "prof-tls-server",
            name_kinds=kinds,
            allowed_issuers=[await add_sample(plane)],
        ),
    ]:
        problem(answer, 409, "profile-needed")
    await changed(
        plane,
        "prof-tls-server",
        name="TLS server",
        name_kinds=kinds,
        name_patterns=["localhost", "*.example.org", "127.0.0.0/8"],
        allowed_issuers=["iss-local"],
    )
    assert (await plane.client.post(f"{PROFILES}/prof-mtls/disable")).status_code == 200
