"""Certificates that certctl did not issue, brought over REST."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.errors import NotFound
from certctl.domain.imports import IMPORTED_PROFILE_ID, external_issuer_id
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.seeding import seed
from certctl.pki.certificates import chain_pem, to_pem
from certctl.pki.foreign import read_foreign
from tests.support.callers import Caller, caller
from tests.support.foreign import Foreign, foreign, self_signed
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from httpx2 import Response

    from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
IMPORT = f"{PATH}/import"
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def problem(answer: Response, status: int, code: str, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert (found["type"], found["field"]) == (f"urn:certctl:problem:{code}", field)
    assert found["hint"]


async def bring(plane: ControlPlane, what: Foreign, status: int = 201, **more: Any) -> Any:
    answer = await plane.client.post(IMPORT, json={"certificate": what.pem, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


def issuer_of(what: Foreign) -> str:
    read = read_foreign(what.pem, None)
    return external_issuer_id(read.issuer_dn, read.issuer_key_identifier)


async def test_it_is_kept_listed_and_watched(plane: ControlPlane) -> None:
    what = foreign("www.example.org", "10.0.0.1", common_name="www.example.org")
    body: dict[str, Any] = {"chain": what.chain, "owner": "web", "labels": {"from": "old-ca"}}
    result = await bring(plane, what, **body)
    assert (result["outcome"], result["dry_run"], result["warnings"]) == ("imported", False, [])
    kept = result["certificate"]
    assert kept == (await plane.client.get(f"{PATH}/{kept['id']}")).json()
    assert {name: kept[name] for name in ("status", "owner", "labels", "names", "common_name")} == {
        "status": "issued",
        "owner": "web",
        "labels": {"from": "old-ca"},
        "names": ["www.example.org", "10.0.0.1"],
        "common_name": "www.example.org",
    }
    assert (kept["issuer_id"], kept["profile_id"]) == (issuer_of(what), IMPORTED_PROFILE_ID)
    assert (kept["order_id"], kept["renew_at"]) == (None, None)
    version = kept["version"]
    assert (version["serial"], version["certificate"]) == (what.serial, what.pem)
    assert version["chain"] == what.chain
    (line,) = (await plane.client.get(PATH)).json()["data"]
    assert (line["id"], line["not_after"]) == (kept["id"], version["not_after"])
    assert (await plane.client.get(f"{PATH}/{kept['id']}/orders")).json()["data"] == []
    (event,) = (await plane.client.get(f"{PATH}/{kept['id']}/audit")).json()["data"]
    assert (event["action"], event["actor"]) == ("certificate.imported", "admin")
    assert event["detail"] == {
        "issuer_id": kept["issuer_id"],
        "serial": what.serial,
        "version_id": version["id"],
    }


async def test_twice_is_the_same_answer(plane: ControlPlane) -> None:
    what = foreign()
    first = await bring(plane, what, owner="web")
    again = await bring(plane, what, 200, owner="somebody else")
    assert (again["outcome"], again["certificate"]) == ("known", first["certificate"])
    both = await asyncio.gather(*[bring_any(plane, foreign_at_once) for _ in range(4)])
    assert sorted(outcome for outcome, _ in both) == ["imported", "known", "known", "known"]
    assert len({certificate_id for _, certificate_id in both}) == 1


foreign_at_once = foreign("at.once.example.org", ca=9)


async def bring_any(plane: ControlPlane, what: Foreign) -> tuple[str, str]:
    answer = await plane.client.post(IMPORT, json={"certificate": what.pem})
    result = answer.json()
    return result["outcome"], result["certificate"]["id"]


@on_sqlite
async def test_what_certctl_issued_is_known(plane: ControlPlane) -> None:
    csr = make_csr(make_key(), ["www.example.org"])
    made = (await plane.client.post(PATH, json={"issuer_id": "iss-local", "csr": csr})).json()
    body = {"certificate": made["version"]["certificate"], "chain": made["version"]["chain"]}
    answer = await plane.client.post(IMPORT, json=body)
    assert answer.status_code == 200
    assert answer.headers["Location"] == f"{PATH}/{made['id']}"
    result = answer.json()
    assert (result["outcome"], result["certificate"]) == ("known", made)
    assert len((await plane.client.get("/api/v1/issuers")).json()["data"]) == 1


@on_sqlite
async def test_a_dry_run_says_what_would_come_and_does_nothing(plane: ControlPlane) -> None:
    what = foreign()
    result = await bring(plane, what, 200, dry_run=True)
    assert (result["outcome"], result["dry_run"], result["certificate"]) == ("imported", True, None)
    assert (await plane.client.get(PATH)).json()["data"] == []
    assert len((await plane.client.get("/api/v1/issuers")).json()["data"]) == 1
    kept = (await bring(plane, what))["certificate"]
    result = await bring(plane, what, 200, dry_run=True)
    assert (result["outcome"], result["certificate"]) == ("known", kept)
    newer = foreign()
    result = await bring(plane, newer, 200, dry_run=True, replaces=kept["id"])
    assert (result["outcome"], result["certificate"]) == ("version_added", kept)
    assert (await plane.client.get(f"{PATH}/{kept['id']}")).json() == kept


@on_sqlite
async def test_an_expired_one_is_kept_with_a_warning(plane: ControlPlane) -> None:
    result = await bring(plane, foreign(age_days=100))
    assert result["warnings"] == ["it has expired"]
    assert result["certificate"]["status"] == "expired"


@on_sqlite
async def test_a_ca_certificate_is_watched_like_any_other(plane: ControlPlane) -> None:
    ca, root = foreign().ca.chain
    answer = await plane.client.post(
        IMPORT, json={"certificate": to_pem(ca), "chain": chain_pem([root])}
    )
    assert answer.status_code == 201, answer.text
    kept = answer.json()["certificate"]
    assert (kept["common_name"], kept["names"]) == ("Sub CA 0", [])
    issued = await bring(plane, foreign())
    assert issued["certificate"]["issuer_id"] != kept["issuer_id"]


# Newer ones


async def test_a_newer_one_is_another_certificate_or_the_next_version(plane: ControlPlane) -> None:
    old, new, older = foreign(age_days=20), foreign(), foreign(age_days=40)
    kept = (await bring(plane, old, owner="web"))["certificate"]
    path = f"{PATH}/{kept['id']}"
    apart = (await bring(plane, new))["certificate"]
    assert apart["id"] != kept["id"]
    newer = foreign(ca=1)  # such as the CA's next intermediate
    result = await bring(plane, newer, replaces=kept["id"])
    assert result["outcome"] == "version_added"
    now = result["certificate"]
    assert (now["id"], now["owner"], now["renew_at"]) == (kept["id"], "web", None)
    assert now["version"]["serial"] == newer.serial
    assert now["issuer_id"] == issuer_of(newer)
    # What is older than the newest is a version too, and not the newest.
    again = (await bring(plane, older, replaces=kept["id"]))["certificate"]
    assert again["version"]["serial"] == newer.serial
    versions = (await plane.client.get(f"{path}/versions")).json()["data"]
    assert {each["serial"] for each in versions} == {old.serial, newer.serial, older.serial}
    assert (await bring(plane, newer, 200, replaces=kept["id"]))["outcome"] == "known"


@on_sqlite
async def test_what_a_version_cannot_be_added_to(plane: ControlPlane) -> None:
    what = foreign()
    csr = make_csr(make_key(), ["www.example.org"])
    own = (await plane.client.post(PATH, json={"issuer_id": "iss-local", "csr": csr})).json()
    kept = (await bring(plane, foreign(age_days=1)))["certificate"]
    other = (await bring(plane, foreign("other.example.org")))["certificate"]
    for replaces, status, code in (
        ("cert-nothing", 422, "certificate-not-found"),
        (own["id"], 409, "certificate-not-imported"),
        (other["id"], 409, "import-names-differ"),
    ):
        answer = await plane.client.post(
            IMPORT, json={"certificate": what.pem, "replaces": replaces}
        )
        problem(answer, status, code, "replaces")
    body = {"certificate": what.pem, "replaces": kept["id"]}
    answer = await plane.client.post(IMPORT, json={**body, "owner": "x"})
    problem(answer, 422, "import-details-with-replaces", "owner")
    await plane.client.post(f"{PATH}/{kept['id']}/archive", json={"although_valid": True})
    problem(await plane.client.post(IMPORT, json=body), 409, "certificate-archived", "replaces")


async def test_a_serial_is_given_once(plane: ControlPlane) -> None:
    await bring(plane, foreign(serial=4711 << 64))
    answer = await plane.client.post(
        IMPORT, json={"certificate": foreign("other.org", serial=4711 << 64).pem}
    )
    problem(answer, 409, "import-serial-taken", "certificate")
    # Another CA may have given the same.
    await bring(plane, foreign(ca=1, serial=4711 << 64))
    for which in (0, 1):
        answer = await plane.client.post(
            IMPORT, json={"certificate": to_pem(self_signed(serial=1, which=which))}
        )
        assert answer.status_code == 201, answer.text


# What certctl does not do with them


async def test_it_is_neither_renewed_nor_revoked_here(plane: ControlPlane) -> None:
    kept = (await bring(plane, foreign(), owner="web"))["certificate"]
    path = f"{PATH}/{kept['id']}"
    version = f"{path}/versions/{kept['version']['id']}"
    for address in (
        f"{path}/renew",
        f"{path}/revoke",
        f"{path}/release",
        f"{version}/revoke",
        f"{version}/release",
    ):
        problem(await plane.client.post(address), 409, "certificate-imported")
    body = {"filter": {"owner": "web"}}
    preview = (await plane.client.post("/api/v1/bulk-revocations/preview", json=body)).json()
    assert (preview["data"], preview["total"]) == ([], 0)
    # Nor is its issuer, which has no holds, in the way of one for all the others.
    wanted = {**body, "expected": 0, "reason": "certificateHold"}
    answer = await plane.client.post("/api/v1/bulk-revocations", json=wanted)
    assert answer.status_code == 202, answer.text
    back = await plane.client.post(f"{path}/archive", json={"although_valid": True})
    assert back.json()["status"] == "archived"
    assert (await plane.client.post(f"{path}/unarchive")).json()["renew_at"] is None


@on_sqlite
async def test_its_issuer_cannot_issue_and_is_not_made_by_hand(plane: ControlPlane) -> None:
    what = foreign()
    issuer_id = (await bring(plane, what))["certificate"]["issuer_id"]
    path = f"/api/v1/issuers/{issuer_id}"
    issuer = (await plane.client.get(path)).json()
    assert (issuer["type"], issuer["status"], issuer["config"]) == ("External", "disabled", {})
    assert issuer["name"] == f"Sub CA 0 (imported, {issuer_id[-8:]})"
    assert issuer["problem"] is None
    body = {"issuer_id": issuer_id, "csr": make_csr(make_key(), ["www.example.org"])}
    problem(await plane.client.post(PATH, json=body), 422, "issuer-external", "issuer_id")
    body["issuer_id"], body["profile_id"] = "iss-local", IMPORTED_PROFILE_ID
    problem(await plane.client.post(PATH, json=body), 422, "profile-for-imports", "profile_id")
    problem(await plane.client.post(f"{path}/enable"), 409, "issuer-external", "enabled")
    changed = {"name": "Their CA", "type": "External", "enabled": True}
    problem(await plane.client.put(path, json=changed), 409, "issuer-external", "enabled")
    answer = await plane.client.put(path, json={**changed, "enabled": False})
    assert answer.json()["name"] == "Their CA", answer.text
    made = {"name": "By hand", "type": "external", "config": {}}
    answer = await plane.client.post("/api/v1/issuers", json=made)
    problem(answer, 422, "issuer-type-of-imports", "type")
    squatted = {"id": issuer_of(foreign(ca=2)), "name": "x", "type": "GenericCA", "config": {}}
    answer = await plane.client.post("/api/v1/issuers", json=squatted)
    problem(answer, 422, "issuer-id-reserved", "id")
    types = (await plane.client.get("/api/v1/issuers/types")).json()["data"]
    assert "External" not in {each["name"] for each in types}
    assert (await plane.client.post(f"{path}/test")).json()["host"] is None
    assert (await plane.client.get(f"{path}/ca")).status_code == 404
    problem(await plane.client.delete(path), 409, "issuer-in-use")
    # Archived, it still takes what comes from that CA: no import brings it back.
    assert (await plane.client.delete(path, params={"archive": "true"})).status_code == 204
    assert (await bring(plane, foreign("b.org")))["certificate"]["issuer_id"] == issuer_id


async def test_other_processes_cope_with_its_issuer(plane: ControlPlane) -> None:
    issuer_id = (await bring(plane, foreign()))["certificate"]["issuer_id"]
    other = Catalog(plane.services.database, plane.services.clock)
    await other.refresh()
    issuer = other.issuer(issuer_id)
    assert issuer.problem is None
    assert issuer.connector is not None
    use_cases = plane.services.use_cases
    await use_cases.crls.ensure()
    for use in (use_cases.crls.current, lambda which: use_cases.ocsp.answer(which, b"\x30\x00")):
        with pytest.raises(NotFound):
            await use(issuer_id)
    await seed(plane.services.database, {})  # as the next start does
    assert await other.catch_up()


@on_sqlite
async def test_its_profile_stays_as_it_is(plane: ControlPlane) -> None:
    path = f"/api/v1/profiles/{IMPORTED_PROFILE_ID}"
    profile = (await plane.client.get(path)).json()
    assert profile["enabled"] is False
    rules = {
        name: profile[name]
        for name in ("name", "usages", "name_kinds", "key_types", "default_validity_seconds")
    }
    body = {**rules, "max_validity_seconds": profile["max_validity_seconds"], "enabled": True}
    for answer in (
        await plane.client.put(path, json=body),
        await plane.client.post(f"{path}/enable"),
        await plane.client.post(f"{path}/disable"),
        await plane.client.delete(path),
        await plane.client.delete(path, params={"archive": "true"}),
    ):
        problem(answer, 409, "profile-for-imports")


@on_sqlite
async def test_metrics_count_no_condition_of_a_ca_that_is_not_asked(plane: ControlPlane) -> None:
    issuer_id = (await bring(plane, foreign()))["certificate"]["issuer_id"]
    text = (await plane.client.get("/metrics")).text
    assert 'issuer="iss-local"' in text
    assert issuer_id not in text


@on_sqlite
async def test_an_issuer_name_that_is_taken_is_no_hindrance(plane: ControlPlane) -> None:
    what = foreign()
    name = f"Sub CA 0 (imported, {issuer_of(what)[-8:]})"
    made = {"name": name, "type": "GenericCA", "config": {}}
    assert (await plane.client.post("/api/v1/issuers", json=made)).status_code == 201
    issuer_id = (await bring(plane, what))["certificate"]["issuer_id"]
    named = (await plane.client.get(f"/api/v1/issuers/{issuer_id}")).json()["name"]
    assert named == f"Sub CA 0 (imported, {issuer_id})"


# Scope


async def send(who: Caller, what: Foreign, **more: Any) -> Response:
    return await who.post(IMPORT, {"certificate": what.pem, **more})


@on_sqlite
async def test_only_within_the_scope_of_the_key(plane: ControlPlane) -> None:
    inside = foreign("a.inside.org")
    outside = foreign("b.outside.org")
    other_ca = foreign("c.inside.org", ca=1)
    issuer_id = (await bring(plane, outside))["certificate"]["issuer_id"]
    scope = {
        "issuers": [issuer_id],
        "profiles": [IMPORTED_PROFILE_ID],
        "names": ["*.inside.org"],
    }
    who = await caller(plane.client, "operator", scope)
    problem(await send(who, other_ca), 403, "import-out-of-scope", "certificate")
    mixed = foreign("a.inside.org", "b.outside.org")
    problem(await send(who, mixed), 403, "names-out-of-scope", "certificate")
    labelled = foreign("a.inside.org", common_name="bank.example.com")
    problem(await send(who, labelled), 403, "names-out-of-scope", "certificate")
    problem(await send(who, outside), 403, "names-out-of-scope", "certificate")
    answer = await send(who, inside, dry_run=True)
    assert answer.json()["outcome"] == "imported"
    assert (await send(who, inside)).status_code == 201
    narrow = await caller(plane.client, "operator", {"profiles": ["prof-tls-server"]})
    problem(await send(narrow, inside), 403, "import-out-of-scope", "certificate")


async def test_what_is_out_of_scope_is_as_if_it_were_not_there(plane: ControlPlane) -> None:
    csr = make_csr(make_key(), ["a.inside.org"])
    own = (await plane.client.post(PATH, json={"issuer_id": "iss-local", "csr": csr})).json()
    hidden = (await bring(plane, foreign("b.outside.org")))["certificate"]
    scope = {"profiles": [IMPORTED_PROFILE_ID], "names": ["*.inside.org"]}
    who = await caller(plane.client, "operator", scope)
    answer = await who.post(IMPORT, {"certificate": own["version"]["certificate"]})
    problem(answer, 409, "import-serial-taken", "certificate")
    assert own["id"] not in answer.text
    new = foreign("b.inside.org")
    unknown = await send(who, new, replaces="cert-nothing")
    beyond = await send(who, new, replaces=hidden["id"])
    problem(beyond, 422, "certificate-not-found", "replaces")
    for each in (unknown, beyond):
        assert each.json() == {**beyond.json(), "request_id": each.json()["request_id"]}


@on_sqlite
async def test_a_bad_certificate_is_refused_and_nothing_is_stored(plane: ControlPlane) -> None:
    what = foreign()
    for body, field in (
        ({"certificate": "planted"}, "certificate"),
        ({"certificate": what.pem, "chain": foreign(ca=1).chain}, "chain"),
        ({"certificate": what.pem, "replaces": "Planted"}, "replaces"),
        ({"certificate": "planted" * 20_000}, "certificate"),
        ({"certificate": what.pem, "chain": "planted" * 30_000}, "chain"),
    ):
        answer = await plane.client.post(IMPORT, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
        assert "planted" not in answer.text.lower()
    huge = await plane.client.post(IMPORT, json={"certificate": "x" * 300_000})
    problem(huge, 413, "body-too-large")
    assert (await plane.client.get(PATH)).json()["data"] == []
