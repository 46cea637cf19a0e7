"""API keys over REST: made, listed, used, revoked; who comes with a wrong one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing
from sqlalchemy import update

from certctl.domain.errors import Unavailable
from certctl.lifecycle import access, refusals
from certctl.lifecycle.access import Access, new_api_key
from certctl.lifecycle.last_use import LastUse
from certctl.lifecycle.metrics import Metrics
from certctl.storage.api_keys import get_api_key, list_api_keys
from certctl.storage.audit import verify
from certctl.storage.tables import api_keys
from tests.support.callers import Caller, caller
from tests.support.clock import TurnableClock
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.exposition import Exposition
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from httpx2 import Response

    from certctl.storage.database import Connection, Database, Transaction

pytestmark = pytest.mark.anyio

KEYS = "/api/v1/keys"
CERTIFICATES = "/api/v1/certificates"
DAY_MS = 86_400_000


@pytest.fixture
def clock() -> TurnableClock:
    """Keys expire when a test says so."""
    return TurnableClock()


@pytest.fixture
async def plane(database: Database, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A control plane on that clock."""
    async with control_plane(database, tmp_path, run_scheduler=False) as running:
        yield running


def problem(answer: Response, status: int, code: str, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["type"] == f"urn:certctl:problem:{code}", body
    assert body["field"] == field
    assert body["hint"]


async def events(plane: ControlPlane, action: str) -> list[dict[str, Any]]:
    answer = await plane.client.get("/api/v1/audit", params={"limit": 500})
    return [event for event in answer.json()["data"] if event["action"] == action]


async def order(
    who: Caller, names: list[str], common_name: str | None = None, listed: list[str] | None = None
) -> Response:
    csr = make_csr(make_key(), names, common_name)
    return await who.post(CERTIFICATES, {"issuer_id": "iss-local", "csr": csr, "names": listed})


async def test_a_key_is_made_shown_once_and_works(plane: ControlPlane, database: Database) -> None:
    scope = {"issuers": ["iss-local"], "profiles": None, "names": ["*.example.org", "ip:10.0.0.1"]}
    with structlog.testing.capture_logs() as logs:
        answer = await plane.client.post(
            KEYS, json={"name": "deploy tool", "role": "operator", "scope": scope, "days": 90}
        )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"{KEYS}/{made['id']}"
    key = made.pop("key")
    assert key.startswith(f"certctl_{made['id']}_")
    assert made["scope"] == scope
    assert made["created_by"] == "admin"
    assert (made["status"], made["last_used_at"], made["revoked_at"]) == ("active", None, None)
    shown = await plane.client.get(f"{KEYS}/{made['id']}")
    assert shown.json() == made
    listed = (await plane.client.get(KEYS)).json()["data"]
    assert {each["id"] for each in listed} == {made["id"], "admin"}
    who = Caller(plane.client, made["id"], key)
    issued = await order(who, ["www.example.org"])
    assert issued.status_code == 201, issued.text
    (event,) = await events(plane, "certificate.issued")
    assert event["actor"] == made["id"]

    secret = key.removeprefix(f"certctl_{made['id']}_")
    assert len(base64.urlsafe_b64decode(f"{secret}=")) == 32, "256 bits"
    hashed = hashlib.sha256(key.encode()).hexdigest()

    def dump(connection: Connection) -> str:
        return repr(list_api_keys(connection))

    stored = await database.read(dump)
    assert hashed in stored
    assert secret not in stored
    audit = await plane.client.get("/api/v1/audit")
    for text in (shown.text, str(listed), audit.text, repr(logs)):
        assert secret not in text
        assert hashed not in text
    created = (await events(plane, "api_key.created"))[0]
    assert created["object_id"] == made["id"]
    assert created["detail"]["role"] == "operator"
    assert created["detail"]["scope"]["issuers"] == ["iss-local"]


async def test_pages(plane: ControlPlane) -> None:
    made = [(await caller(plane.client, "viewer")).id for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await plane.client.get(KEYS, params=params)).json()
        seen += [each["id"] for each in page["data"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted([*made, "admin"])
    assert len(seen) == 6


async def test_a_revoked_key_is_refused_at_once(plane: ControlPlane) -> None:
    who = await caller(plane.client, "viewer")
    assert (await who.get(CERTIFICATES)).status_code == 200
    for _ in "12":
        answer = await plane.client.post(f"{KEYS}/{who.id}/revoke")
        assert answer.status_code == 200
        assert answer.json()["status"] == "revoked"
    problem(await who.get(CERTIFICATES), 401, "api-key-invalid")
    assert len(await events(plane, "api_key.revoked")) == 1, "the second time changed nothing"
    problem(await plane.client.post(f"{KEYS}/nothing/revoke"), 404, "key-not-found")


async def test_a_key_expires(plane: ControlPlane, clock: TurnableClock) -> None:
    who = await caller(plane.client, "viewer", days=2)
    clock.turn(seconds=2 * 86_400 - 1)
    assert (await who.get(CERTIFICATES)).status_code == 200
    clock.turn(seconds=1)
    problem(await who.get(CERTIFICATES), 401, "api-key-invalid")
    assert (await plane.client.get(f"{KEYS}/{who.id}")).json()["status"] == "expired"
    body = {"name": "x", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}
    problem(await plane.client.post(KEYS, json=body), 422, "expiry-in-the-past", "expires_at")


async def test_the_last_admin_key_stays(plane: ControlPlane, clock: TurnableClock) -> None:
    problem(await plane.client.post(f"{KEYS}/admin/revoke"), 409, "last-admin-key")
    await caller(plane.client, "admin", {"issuers": ["iss-local"]})  # does not count
    brief = await caller(plane.client, "admin", days=1)
    await caller(plane.client, "operator")
    clock.turn(seconds=2 * 86_400)
    problem(await plane.client.post(f"{KEYS}/admin/revoke"), 409, "last-admin-key")
    other = await caller(plane.client, "admin")
    assert (await other.post(f"{KEYS}/admin/revoke")).status_code == 200
    problem(await other.post(f"{KEYS}/{other.id}/revoke"), 409, "last-admin-key")
    assert (await other.post(f"{KEYS}/{brief.id}/revoke")).status_code == 200


async def test_two_admins_who_revoke_each_other_leave_one(plane: ControlPlane) -> None:
    other = await caller(plane.client, "admin")
    answers = await asyncio.gather(
        other.post(f"{KEYS}/admin/revoke"), plane.client.post(f"{KEYS}/{other.id}/revoke")
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 409])


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"scope": {"issuers": ["iss-nothing"]}}, "issuer-not-found", "scope.issuers.0"),
        ({"scope": {"profiles": ["prof-mtls", "x"]}}, "profile-not-found", "scope.profiles.1"),
        ({"scope": {"names": ["a..b"]}}, "name-label-empty", "scope.names.0"),
        ({"scope": {"names": ["ip:10.0.0.0/8"]}}, "name-not-an-ip-address", "scope.names.0"),
        ({"scope": {}}, "invalid-body", "scope"),
        ({"scope": {"issuers": []}}, "invalid-body", "scope.issuers"),
        ({"role": "emperor"}, "invalid-body", "role"),
        ({"days": 1, "expires_at": "2126-01-01T00:00:00Z"}, "invalid-body", None),
    ],
)
async def test_what_no_key_can_be(
    plane: ControlPlane, body: dict[str, Any], code: str, field: str | None
) -> None:
    answer = await plane.client.post(KEYS, json={"name": "x", "role": "viewer", **body})
    problem(answer, 422, code, field)
    assert len((await plane.client.get(KEYS)).json()["data"]) == 1


async def test_every_name_is_held_against_the_scope(plane: ControlPlane) -> None:
    who = await caller(plane.client, "operator", {"names": ["*.example.org", "ip:10.0.0.1"]})
    for names in (["a.example.org"], ["*.b.example.org", "10.0.0.1"]):
        assert (await order(who, names)).status_code == 201
    good = await order(who, ["a.example.org"], common_name="A.Example.org")
    assert good.status_code == 201, good.text
    beyond = ["a.example.org", "b.example.com"]
    for asked, common_name, listed in [
        (["example.org"], None, None),
        (beyond, None, None),
        (["a.example.org", "10.0.0.2"], None, None),
        (["a.example.org"], None, beyond),
        (["a.example.org"], "evil.example.com", None),
        (["a.example.org"], "the boss", None),
        (["a.example.org"], "boss@example.com", None),
    ]:
        answer = await order(who, asked, common_name, listed)
        problem(answer, 403, "names-out-of-scope", "names")
    assert len((await who.get(CERTIFICATES)).json()["data"]) == 3
    assert len(await events(plane, "access.refused")) == 7


async def test_a_renewal_stays_within_the_scope(plane: ControlPlane) -> None:
    admin = Caller(plane.client, "admin", plane.key)
    who = await caller(plane.client, "operator", {"names": ["*.example.org"]})
    ids = {}
    for label, names, common_name in [
        ("mine", ["a.example.org"], None),
        ("mixed", ["a.example.org", "a.example.com"], None),
        ("labelled", ["a.example.org"], "the boss"),
    ]:
        made = await order(admin, names, common_name=common_name)
        assert made.status_code == 201, made.text
        ids[label] = made.json()["id"]
    assert [each["id"] for each in (await who.get(CERTIFICATES)).json()["data"]] == [ids["mine"]]
    csr = make_csr(make_key(which=1), [])
    assert (await who.post(f"{CERTIFICATES}/{ids['mine']}/renew", {"csr": csr})).status_code == 201
    for label in ("mixed", "labelled"):
        answer = await who.post(f"{CERTIFICATES}/{ids[label]}/renew", {"csr": csr})
        problem(answer, 404, "certificate-not-found")


async def test_last_use_is_written_now_and_then(
    plane: ControlPlane, database: Database, clock: TurnableClock
) -> None:
    who = await caller(plane.client, "viewer")
    used = plane.services.use_cases.last_use

    async def stored() -> int | None:
        record = await database.read(lambda connection: get_api_key(connection, who.id))
        assert record is not None
        return record.last_used_at

    first = clock.now_ms()
    await who.get(CERTIFICATES)
    assert await stored() is None, "nothing is written on a request's way"
    assert (await plane.client.get(f"{KEYS}/{who.id}")).json()["last_used_at"] is not None
    await used.flush()
    assert await stored() == first
    clock.turn(seconds=30)
    await who.get(CERTIFICATES)
    await used.flush()
    assert await stored() == first, "at most once a minute, whoever writes"
    clock.turn(seconds=31)
    await who.get(CERTIFICATES)
    await used.flush()
    assert await stored() == clock.now_ms()
    counter = await database.change_counter()
    clock.turn(seconds=120)
    await who.get(CERTIFICATES)
    await used.flush()
    assert await database.change_counter() == counter, "nobody loads anything because of it"


async def test_last_use_outlives_an_outage_and_a_stop(
    plane: ControlPlane, database: Database, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = LastUse(database)
    used.note("admin", clock.now_ms())
    with monkeypatch.context() as patched:
        patched.setattr(database, "write", _unavailable)
        await used.flush()
    stopping = asyncio.Event()
    stopping.set()
    await used.run(stopping)  # ends at once: what is left is written before
    await used.flush()
    record = await database.read(lambda connection: get_api_key(connection, "admin"))
    assert record is not None
    assert record.last_used_at == clock.now_ms()


async def _unavailable(*_: object) -> None:
    raise Unavailable("database-unavailable", "the database is away")


async def failures(plane: ControlPlane) -> dict[str, float]:
    text = (await plane.client.get("/metrics")).text
    seen = Exposition(text)
    return {
        fault.value: count
        for fault in access.LoginFault
        if (count := seen.value("certctl_login_failures_total", reason=fault.value))
    }


async def test_failed_logins_are_counted_by_their_fault(plane: ControlPlane) -> None:
    gone = await caller(plane.client, "viewer")
    await plane.client.post(f"{KEYS}/{gone.id}/revoke")
    for bad in ("", "Bearer nonsense", f"Bearer {new_api_key('nobody')}"):
        answer = await plane.client.get(CERTIFICATES, headers={"Authorization": bad})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    await plane.client.get(
        CERTIFICATES, headers={"Authorization": f"Bearer {new_api_key('admin')}"}
    )
    assert (await gone.get(CERTIFICATES)).status_code == 401
    assert await failures(plane) == {
        "missing": 1, "malformed": 1, "unknown": 1, "wrong": 1, "revoked": 1,
    }  # fmt: skip
    assert not await events(plane, "access.refused"), "who is not known is counted, not stored"


async def test_failed_logins_are_limited_and_a_valid_key_is_not(
    plane: ControlPlane, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    refresh = plane.services.catalog.refresh

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await refresh()

    monkeypatch.setattr(plane.services.catalog, "refresh", counted)

    async def fail() -> Response:
        bad = {"Authorization": f"Bearer {new_api_key('nobody')}"}
        return await plane.client.get(CERTIFICATES, headers=bad)

    answers = [await fail() for _ in range(access.BURST + 30)]
    assert [answer.status_code for answer in answers] == [401] * access.BURST + [429] * 30
    assert looks == access.BURST, "past the limit nobody asks the database"
    problem(answers[-1], 429, "too-many-failed-logins")
    seconds = int(answers[-1].headers["retry-after"])
    assert 1 <= seconds <= access.SECONDS
    assert (await plane.client.get(CERTIFICATES)).status_code == 200
    clock.turn(seconds=seconds)
    assert (await fail()).status_code == 401
    assert (await failures(plane))["limited"] == 30


async def test_a_key_that_another_process_made_is_no_failure(
    database: Database, tmp_path: Path, clock: TurnableClock
) -> None:
    async with (
        control_plane(database, tmp_path, run_scheduler=False) as first,
        control_plane(database, tmp_path, run_scheduler=False) as second,
    ):
        for _ in range(access.BURST + 5):
            made = await caller(first.client, "viewer")
            elsewhere = Caller(second.client, made.id, made.key)
            assert (await elsewhere.get(CERTIFICATES)).status_code == 200


async def test_refusals_are_written_some_of_them_a_minute(
    plane: ControlPlane, database: Database, clock: TurnableClock
) -> None:
    who = await caller(plane.client, "viewer")
    for _ in range(refusals.BURST + 7):
        problem(await who.post("/api/v1/issuers", {}), 403, "role-not-enough")
    written = await events(plane, "access.refused")
    assert len(written) == refusals.BURST
    assert written[0]["actor"] == who.id
    assert (written[0]["object_type"], written[0]["object_id"]) == ("route", "/api/v1/issuers")
    assert written[0]["detail"] == {
        "method": "POST",
        "route": "/api/v1/issuers",
        "code": "role-not-enough",
    }
    clock.turn(seconds=int(refusals.SECONDS))
    secret = "planted-in-the-wrong-place"
    await who.post(f"/api/v1/certificates/{secret}/revoke", {"reason": secret})
    (newest, *rest) = await events(plane, "access.refused")
    assert len(rest) == refusals.BURST
    assert newest["detail"]["left_out"] == 7
    assert secret not in str(newest)
    report = await database.read(lambda connection: verify(connection, database.audit_key))
    assert not report.problems


async def test_what_is_out_of_scope_is_written_with_its_id(plane: ControlPlane) -> None:
    admin = Caller(plane.client, "admin", plane.key)
    made = (await order(admin, ["a.example.com"])).json()
    who = await caller(plane.client, "operator", {"names": ["*.example.org"]})
    problem(await who.post(f"{CERTIFICATES}/{made['id']}/revoke"), 404, "certificate-not-found")
    (event,) = await events(plane, "access.refused")
    assert (event["object_type"], event["object_id"]) == ("certificate", made["id"])
    assert event["detail"]["route"] == "/api/v1/certificates/{certificate_id}/revoke"


async def test_a_refusal_is_one_also_while_the_database_is_away(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = await caller(plane.client, "viewer")
    monkeypatch.setattr(plane.services.database, "append", _unavailable)
    problem(await who.post("/api/v1/issuers", {}), 403, "role-not-enough")


async def test_a_key_with_a_role_of_a_newer_version_is_not_let_in(
    plane: ControlPlane, database: Database
) -> None:
    who = await caller(plane.client, "viewer")

    def write(transaction: Transaction) -> None:
        transaction.execute(update(api_keys).where(api_keys.c.id == who.id).values(role="janitor"))
        transaction.changed()

    await database.write(write)
    await plane.services.catalog.refresh()
    problem(await who.get(CERTIFICATES), 401, "api-key-invalid")


async def test_an_actor_is_made_once_for_each_key(plane: ControlPlane) -> None:
    services = plane.services
    checked = Access(services.catalog, services.clock, Metrics(), LastUse(services.database))
    first, second = [await checked.authenticate(plane.key) for _ in "12"]
    assert first is second
