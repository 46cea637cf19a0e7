"""`/metrics`: what is counted, what is so at the moment, and who may see it."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from certctl import __version__
from certctl.connectors import errors
from certctl.domain.keys import KeyType
from certctl.domain.orders import OPEN_STATES, Recovery
from certctl.lifecycle.access import hash_api_key, new_api_key
from certctl.lifecycle.metrics import METERS, Metrics
from certctl.lifecycle.scrape import GAUGES, Scrape
from certctl.storage import tables
from certctl.storage.api_keys import ApiKeyRecord, insert_api_key
from certctl.storage.conditions import ConditionRecord, ConditionState, begin_condition
from tests.support.clock import TurnableClock
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.exposition import Exposition
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio


def body(issuer_id: str) -> dict[str, Any]:
    csr = make_csr(make_key(KeyType.P256), ["metrics.example.org"])
    return {"issuer_id": issuer_id, "csr": csr}


async def issue(
    plane: ControlPlane, issuer_id: str = "iss-local", *, wait: int = 10
) -> dict[str, Any]:
    response = await plane.client.post(
        "/api/v1/certificates", json=body(issuer_id), headers={"Prefer": f"wait={wait}"}
    )
    assert response.status_code in {201, 202}, response.text
    made: dict[str, Any] = response.json()
    return made


async def scrape(plane: ControlPlane) -> Exposition:
    response = await plane.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return Exposition(response.text)


async def until(plane: ControlPlane, name: str, value: float, **labels: str) -> Exposition:
    for _ in range(200):
        seen = await scrape(plane)
        if seen.value(name, **labels) == value:
            return seen
        await asyncio.sleep(0.02)
    pytest.fail(f"{name} is {seen.value(name, **labels)}, not {value}")


async def test_every_metric_is_declared_and_every_declared_one_is_there(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        await issue(plane)
        made = await issue(plane, "iss-slow")
        await plane.client.post(
            f"/api/v1/certificates/{made['id']}/revoke", json={"reason": "superseded"}
        )
        seen = await until(
            plane, "certctl_revocations_total", 1, issuer_type="Scripted", outcome="confirmed"
        )
    declared = {meter.name.removesuffix("_total"): meter for meter in (*METERS, *GAUGES)}
    of_python = {name for name in seen.families if name.startswith("process_")}
    assert set(seen.families) - of_python == set(declared)
    assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= of_python
    for name, meter in declared.items():
        family = seen.families[name]
        assert (family.type, family.documentation) == (meter.kind, meter.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(meter.labels)


async def test_issuances_are_counted_by_type_and_outcome(plane: ControlPlane) -> None:
    for _ in range(3):
        made = await issue(plane)
    renewed = await plane.client.post(f"/api/v1/certificates/{made['id']}/renew", json={})
    assert renewed.status_code == 201
    seen = await scrape(plane)
    assert seen.value("certctl_issuance_total", issuer_type="GenericCA", outcome="issued") == 4
    assert seen.value("certctl_build_info", version=__version__) == 1
    assert seen.value("certctl_write_queue") == 0
    assert seen.value("certctl_database_up") == 1


async def test_a_request_that_is_repeated_is_counted_once(plane: ControlPlane) -> None:
    key = {"Idempotency-Key": "once-and-no-more"}
    request = body("iss-local")
    for _ in range(3):
        response = await plane.client.post("/api/v1/certificates", json=request, headers=key)
        assert response.status_code == 201
    seen = await scrape(plane)
    assert seen.value("certctl_issuance_total", issuer_type="GenericCA", outcome="issued") == 1


async def test_attempts_are_counted_and_timed_and_orders_end_once(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["pending", errors.NoAnswer("gone"), "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        assert (await issue(plane, "iss-slow"))["status"] == "issued"
        seen = await scrape(plane)
        attempts = {
            (labels["action"], labels["outcome"]): value
            for labels, value in seen.of("certctl_attempts")
        }
        assert attempts == {
            ("submit", "pending"): 1,
            ("poll", "no_answer"): 1,
            ("poll", "issued"): 1,
        }
        seconds = "certctl_attempt_duration_seconds"
        assert seen.value(f"{seconds}_count", issuer_type="Scripted", action="poll") == 2
        assert (
            seen.value(f"{seconds}_bucket", issuer_type="Scripted", action="poll", le="+Inf") == 2
        )
        assert seen.value("certctl_issuance_total", issuer_type="Scripted", outcome="issued") == 1
        ca.script = [errors.Refused("no")]
        await issue(plane, "iss-slow")
        seen = await scrape(plane)
    assert seen.value("certctl_issuance_total", issuer_type="Scripted", outcome="rejected") == 1
    assert seen.value("certctl_issuance_total", issuer_type="Scripted", outcome="issued") == 1


async def test_an_order_takes_from_when_it_was_made_whoever_ends_it(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["pending"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        made = await issue(plane, "iss-slow", wait=0)
        await until(
            plane,
            "certctl_attempts_total",
            1,
            issuer_type="Scripted",
            action="submit",
            outcome="pending",
        )
    two_hours = update(tables.orders).values(created_at=tables.orders.c.created_at - 7_200_000)
    await database.write(
        lambda t: t.execute(two_hours.where(tables.orders.c.id == made["order_id"]))
    )
    ca.script = ["issue"]
    async with control_plane(database, tmp_path, ca=ca) as plane:  # counts from nothing
        seen = await until(
            plane, "certctl_issuance_total", 1, issuer_type="Scripted", outcome="issued"
        )
        await issue(plane)
        seen = await scrape(plane)
    name = "certctl_issuance_duration_seconds"
    assert seen.value(f"{name}_count", issuer_type="Scripted") == 1
    assert seen.value(f"{name}_bucket", issuer_type="Scripted", le="3600.0") == 0
    assert seen.value(f"{name}_bucket", issuer_type="Scripted", le="21600.0") == 1
    assert seen.value(f"{name}_count", issuer_type="GenericCA") == 1
    assert seen.value(f"{name}_bucket", issuer_type="GenericCA", le="30.0") == 1


async def test_failed_attempts_are_counted_by_why(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = ScriptedCA([errors.Unavailable("away"), errors.RateLimited("slowly"), "pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        assert (await issue(plane, "iss-slow"))["status"] == "issued"
        ca.script = [errors.Refused("no")]
        await issue(plane, "iss-slow")
        local = plane.services.catalog.issuer("iss-local").connector

        async def broken(_request: Any) -> Any:
            raise errors.Misconfigured("the key is not there")

        monkeypatch.setattr(type(local), "issue", lambda _self, request: broken(request))
        answer = await plane.client.post("/api/v1/certificates", json=body("iss-local"))
        assert answer.status_code == 503
        seen = await scrape(plane)
    failures = {
        (labels["issuer_type"], labels["error_class"]): value
        for labels, value in seen.of("certctl_issuance_failures")
    }
    assert failures == {
        ("Scripted", "unavailable"): 1,
        ("Scripted", "rate_limited"): 1,
        ("Scripted", "refused"): 1,
        ("GenericCA", "misconfigured"): 1,
    }


async def test_requests_are_counted_by_route_and_never_by_what_was_sent(
    plane: ControlPlane,
) -> None:
    made = await issue(plane)
    for _ in range(2):
        await plane.client.get(f"/api/v1/certificates/{made['id']}")
    await plane.client.get("/api/v1/certificates/cert-planted")
    await plane.client.get("/planted", headers={"Authorization": ""})
    await plane.client.request("PLANTED", "/planted")
    seen = await scrape(plane)
    counts = {
        (labels["method"], labels["route"], labels["status"]): value
        for labels, value in seen.of("certctl_http_requests")
    }
    one = "/api/v1/certificates/{certificate_id}"
    assert counts == {
        ("POST", "/api/v1/certificates", "201"): 1,
        ("GET", one, "200"): 2,
        ("GET", one, "404"): 1,
        ("GET", "unknown", "401"): 1,
        ("other", "unknown", "404"): 1,
    }
    assert "planted" not in repr(seen.samples).lower()
    count = "certctl_http_request_duration_seconds_count"
    assert seen.value(count, method="GET", route=one) == 3


async def test_certificates_and_when_the_first_expires(plane: ControlPlane) -> None:
    made = [await issue(plane) for _ in range(3)]
    await plane.client.post(f"/api/v1/certificates/{made[0]['id']}/revoke")
    seen = await scrape(plane)
    statuses = {labels["status"]: value for labels, value in seen.of("certctl_certificates")}
    assert statuses == {"pending": 0, "issued": 2, "expired": 0, "revoked": 1, "failed": 0}
    expiring = {
        labels["within"]: value for labels, value in seen.of("certctl_certificates_expiring")
    }
    assert list(expiring) == ["1d", "7d", "30d"]
    earliest = seen.value("certctl_certificates_earliest_expiry_timestamp_seconds")
    not_after = min(datetime.fromisoformat(each["version"]["not_after"]) for each in made[1:])
    assert earliest == not_after.timestamp()


async def test_how_late_each_queue_is(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["pending"])
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        made = await issue(plane, "iss-slow", wait=0)
        late = update(tables.orders).values(due_at=tables.orders.c.due_at - 600_000)
        await database.write(
            lambda t: t.execute(late.where(tables.orders.c.id == made["order_id"]))
        )
        seen = await scrape(plane)
        lags = {labels["queue"]: value for labels, value in seen.of("certctl_queue_lag_seconds")}
        assert set(lags) == {"order", "revocation", "condition", "crl", "bulk_revocation"}
        assert 600 <= lags.pop("order") < 660
        assert max(lags.values()) < 60
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        now = database.clock.now_ms()
        condition = ConditionRecord("iss-slow", ConditionState.OPEN, "words", now, 1, now)
        await database.write(lambda t: begin_condition(t, condition, now))
        seen = await scrape(plane)
        assert seen.value("certctl_queue_lag_seconds", queue="order") == 0


async def test_what_a_person_decides_is_counted(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA([errors.NoAnswer("gone")], Recovery.ASK)
    async with control_plane(database, tmp_path, ca=ca) as plane:
        made = await issue(plane, "iss-slow", wait=0)
        address = f"/api/v1/orders/{made['order_id']}"
        seen = await until(plane, "certctl_events_total", 1, kind="order_uncertain")
        assert (
            seen.value("certctl_issuance_total", issuer_type="Scripted", outcome="rejected") is None
        )
        resolved = await plane.client.post(f"{address}/resolve", json={"state": "rejected"})
        assert resolved.status_code == 200, resolved.text
        other = await issue(plane, "iss-slow", wait=0)
        for _ in range(2):
            cancelled = await plane.client.post(f"/api/v1/orders/{other['order_id']}/cancel")
            assert cancelled.status_code == 200, cancelled.text
        seen = await scrape(plane)
    for outcome in ("rejected", "cancelled"):
        name = "certctl_issuance_total"
        assert seen.value(name, issuer_type="Scripted", outcome=outcome) == 1


async def test_open_orders_and_conditions_are_those_of_the_database(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["pending"])
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        for number in range(3):
            request = body("iss-slow") | {"owner": f"team {number}"}
            assert (
                await plane.client.post("/api/v1/certificates", json=request)
            ).status_code == 202
        await issue(plane)
        now = database.clock.now_ms()
        condition = ConditionRecord("iss-slow", ConditionState.OPEN, "words", now, 1, now)
        await database.write(lambda t: begin_condition(t, condition, now))
        seen = await scrape(plane)
    orders = {state: seen.value("certctl_orders", state=state.value) for state in OPEN_STATES}
    assert {state.value: count for state, count in orders.items() if count} == {"ready": 3}
    assert None not in orders.values()
    conditions = {
        (issuer, state): seen.value("certctl_issuer_condition", issuer=issuer, state=state)
        for issuer in ("iss-slow", "iss-local")
        for state in ("open", "quota")
    }
    assert conditions == {
        ("iss-slow", "open"): 1,
        ("iss-slow", "quota"): 0,
        ("iss-local", "open"): 0,
        ("iss-local", "quota"): 0,
    }


@pytest.mark.parametrize(("took", "fresh"), [(0.0, 5.0), (0.09, 5.0), (0.5, 25.0)])
async def test_the_database_is_asked_now_and_then_however_many_scrape(
    database: Database, monkeypatch: pytest.MonkeyPatch, took: float, fresh: float
) -> None:
    clock = TurnableClock()
    times = itertools.cycle([0.0, took])
    tell = Scrape(database, clock, Metrics(), {}, monotonic=lambda: next(times))
    reads = 0
    read = database.read

    async def counted(fn: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(fn)

    monkeypatch.setattr(database, "read", counted)
    await asyncio.gather(*(tell("") for _ in range(5)))
    clock.turn(seconds=fresh - 0.001)
    await tell("")
    assert reads == 2  # open work, and the inventory
    clock.turn(seconds=0.001)
    await tell("")
    assert reads == 4
    clock.turn(seconds=-3600)  # set right by hand
    await tell("")
    assert reads == 6


async def test_an_outage_of_the_database_is_shown(plane: ControlPlane) -> None:
    await issue(plane)
    await plane.services.database.close()
    seen = await scrape(plane)
    assert seen.value("certctl_database_up") == 0
    assert seen.value("certctl_issuance_total", issuer_type="GenericCA", outcome="issued") == 1
    assert "certctl_orders" not in seen.families


async def test_any_key_will_do_and_none_will_not(plane: ControlPlane, database: Database) -> None:
    key = new_api_key("viewer")
    record = ApiKeyRecord("viewer", "a viewer", "viewer", hash_api_key(key))
    await database.write(lambda t: insert_api_key(t, record, database.clock.now_ms()))
    headers = {"Authorization": f"Bearer {key}"}
    assert (await plane.client.get("/metrics", headers=headers)).status_code == 200
    for bad in ("", f"Bearer {new_api_key('viewer')}"):
        response = await plane.client.get("/metrics", headers={"Authorization": bad})
        assert response.status_code == 401
        assert "certctl_" not in response.text.replace("certctl_<", "")
    response = await plane.client.post("/metrics")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


async def test_openmetrics_for_who_asks_for_it(plane: ControlPlane) -> None:
    await issue(plane)
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    response = await plane.client.get("/metrics", headers={"Accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    seen = Exposition(response.text, is_openmetrics=True)
    assert seen.value("certctl_issuance_total", issuer_type="GenericCA", outcome="issued") == 1


async def test_the_description_says_that_a_key_is_needed(plane: ControlPlane) -> None:
    document = (await plane.client.get("/api/v1/openapi.json")).json()
    operation = document["paths"]["/metrics"]["get"]
    assert operation.get("security", document["security"]) == [{"api_key": []}]
    assert "text/plain" in operation["responses"]["200"]["content"]
