"""Every route, for every role, in and out of scope. The walk is made from the router."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from certctl.api.app import route_table
from certctl.api.gateway import Gateway
from certctl.api.route_table import RouteTable
from certctl.api.rules import RULES, Reference
from certctl.domain.access import GLOBAL, Permission, Role, permissions_of
from certctl.domain.attempts import Attempts
from certctl.lifecycle import refusals
from certctl.lifecycle.permissions import ObjectKind
from tests.support.asgi import request as send_raw
from tests.support.callers import Caller, caller
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.foreign import foreign
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from httpx2 import Response

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

ROUTES = sorted(route_table())
#: A well-formed id of nothing.
NOTHING = "0" * 26
#: Where the scopes end. What is inside is in all three of them, what is outside in none.
SCOPES: dict[str, dict[str, Any]] = {
    "issuers": {"issuers": ["iss-local"]},
    "profiles": {"profiles": ["prof-tls-server"]},
    "names": {"names": ["*.inside.example.org"]},
}
#: What else a body needs, so that the route is about to do something.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/v1/certificates"): {"csr": make_csr(make_key(), ["new.inside.example.org"])},
    ("POST", "/api/v1/certificates/import"): {"certificate": foreign("a.inside.example.org").pem},
    ("POST", "/api/v1/bulk-revocations"): {"filter": {"owner": "web"}, "expected": 9},
    ("POST", "/api/v1/bulk-revocations/preview"): {"filter": {"owner": "web"}},
    ("POST", "/api/v1/keys"): {
        "name": "walk",
        "role": "viewer",
        "scope": {"names": ["a.inside.example.org"]},
    },
}
UNKNOWN = {
    ObjectKind.ISSUER: "iss-nothing",
    ObjectKind.PROFILE: "prof-nothing",
    ObjectKind.API_KEY: NOTHING,
    ObjectKind.BULK_REVOCATION: f"bulk-{NOTHING}",
    ObjectKind.CERTIFICATE: f"cert-{NOTHING}",
    ObjectKind.ORDER: f"ord-{NOTHING}",
    ObjectKind.VERSION: f"ver-{NOTHING}",
}
#: What a key sees all of, unless its scope says which.
CHOSEN = {ObjectKind.ISSUER: "issuers", ObjectKind.PROFILE: "profiles"}
Objects = dict[ObjectKind, str]


@dataclass(frozen=True, slots=True)
class World:
    """One of each on both sides. `hidden` is what no key with a scope may see."""

    plane: ControlPlane
    inside: Objects
    outside: Objects
    hidden: list[str]


async def order(plane: ControlPlane, name: str, issuer: str, profile: str) -> dict[str, Any]:
    csr = make_csr(make_key(), [name])
    answer = await plane.client.post(
        "/api/v1/certificates",
        json={"issuer_id": issuer, "profile_id": profile, "csr": csr, "owner": "web"},
        headers={"Prefer": "wait=20"},
    )
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def start_bulk(client: Caller) -> str:
    body = {"filter": {"owner": "nobody"}, "expected": 0}
    answer = await client.post("/api/v1/bulk-revocations", body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def objects(certificate: dict[str, Any], bulk: str, key: str) -> Objects:
    return {
        ObjectKind.ISSUER: certificate["issuer_id"],
        ObjectKind.PROFILE: certificate["profile_id"],
        ObjectKind.CERTIFICATE: certificate["id"],
        ObjectKind.VERSION: certificate["version"]["id"],
        ObjectKind.ORDER: certificate["order_id"],
        ObjectKind.BULK_REVOCATION: bulk,
        ObjectKind.API_KEY: key,
    }


@asynccontextmanager
async def world(database: Database, folder: Path) -> AsyncIterator[World]:
    async with control_plane(database, folder, ca=ScriptedCA(["issue"])) as plane:
        admin = await caller(plane.client, "admin")
        inner = await order(plane, "www.inside.example.org", "iss-local", "prof-tls-server")
        outer = await order(plane, "www.outside.example.com", "iss-slow", "prof-mtls")
        gone = await order(plane, "old.outside.example.com", "iss-slow", "prof-mtls")
        answer = await plane.client.post(f"/api/v1/certificates/{gone['id']}/revoke")
        assert answer.status_code in {200, 202}, answer.text
        outside = objects(outer, await start_bulk(admin), admin.id)
        hidden = [value for kind, value in outside.items() if kind not in CHOSEN]
        hidden += [outer["version"]["serial"], gone["id"], gone["version"]["serial"]]
        hidden += ["outside.example.com"]
        yield World(plane, objects(inner, "", ""), outside, hidden)


async def scoped(where: World, role: Role, part: str) -> tuple[Caller, Objects, list[str]]:
    """A caller with a scope, what is inside for it, and what it may not see."""
    scope = SCOPES[part]
    who = await caller(where.plane.client, role.value, scope)
    inside = dict(where.inside)
    if role is Role.ADMIN:
        mine = await caller(who.client, "viewer", scope, by=who.key)
        inside[ObjectKind.API_KEY] = mine.id
    if Permission.REVOKE in permissions_of(role, scoped=True):
        inside[ObjectKind.BULK_REVOCATION] = await start_bulk(who)
    hidden = [f'"{where.outside[kind]}"' for kind, name in CHOSEN.items() if name == part]
    return who, inside, [*hidden, *where.hidden]


def setting(body: dict[str, Any], field: str, value: str) -> dict[str, Any]:
    """A body with a value at a dotted place; ids that are named in the plural are lists."""
    name, _, rest = field.partition(".")
    if rest:
        return {**body, name: setting(body[name], rest, value)}
    return {**body, name: [value] if name.endswith("s") else value}


async def call(
    who: Caller,
    route: tuple[str, str],
    named: Objects,
    instead: tuple[Reference, str] | None = None,
    *,
    bare: bool = False,
) -> Response:
    """A request that names these objects, and another one in one of the places.

    A bare one names what the path has and nothing else.
    """
    method, path = route
    query: dict[str, str] = {}
    body = BODIES.get(route)
    for reference in RULES[route].references:
        value = named[reference.kind]
        if instead is not None and instead[0] == reference:
            value = instead[1]
        if reference.place == "path":
            path = path.replace(f"{{{reference.field}}}", value or "none")
        elif bare:
            continue
        elif reference.place == "query":
            query[reference.field] = value
        else:
            assert body is not None, f"say in BODIES what else {route} needs"
            body = setting(body, reference.field, value)
    return await who.send(method, path, params=query, json=body)


def said(answer: Response) -> tuple[int, Any]:
    """An answer without what differs each time."""
    body = answer.json()
    body.pop("request_id", None)
    return answer.status_code, body


def code(answer: Response) -> str:
    if answer.headers.get("content-type") != "application/problem+json":
        return ""
    return str(answer.json()["type"]).removeprefix("urn:certctl:problem:")


def refused(answer: Response, *, scoped: bool, role: Role, permission: Permission | None) -> bool:
    """Whether it is the refusal of somebody who may not do that at all."""
    has_role = permission in permissions_of(role, scoped=False)
    expected = "scope-not-enough" if scoped and has_role else "role-not-enough"
    return answer.status_code == 403 and code(answer) == expected


def admitted(answer: Response) -> bool:
    """Whether it got as far as the route: what it did there is for other tests."""
    return answer.status_code not in {401, 403, 500} and not code(answer).endswith("-not-found")


async def walk_scoped(where: World, role: Role, part: str) -> list[str]:
    """Every route with everything inside, then with one thing at a time from outside."""
    who, inside, hidden = await scoped(where, role, part)
    wrong = []
    for route in ROUTES:
        permission = RULES[route].permission
        may = permission is None or permission in permissions_of(role, scoped=True)
        answer = await call(who, route, inside)
        # Without the permission to begin a bulk revocation there is none that it may look at.
        is_there = all(inside[reference.kind] for reference in RULES[route].references)
        if may and (not admitted(answer) if is_there else answer.status_code >= 500):
            wrong.append(f"{route}: {answer.status_code} {answer.text}")
        if not may and not refused(answer, scoped=True, role=role, permission=permission):
            wrong.append(f"{route} was not refused: {answer.status_code} {answer.text}")
        answers = [answer, await call(who, route, inside, bare=True)]
        for reference in RULES[route].references:
            if CHOSEN.get(reference.kind, part) != part or not may:
                continue
            outside = await call(who, route, inside, (reference, where.outside[reference.kind]))
            unknown = await call(who, route, inside, (reference, UNKNOWN[reference.kind]))
            answers += [outside, unknown]
            if said(outside) != said(unknown):
                wrong.append(f"{route} {reference}: {said(outside)} is not {said(unknown)}")
            # A hold that is not there is told before a version that is not.
            expected = {404, 409} if reference.kind is ObjectKind.VERSION else {404}
            if reference.place == "path" and outside.status_code not in expected:
                wrong.append(f"{route} {reference}: {outside.status_code} {outside.text}")
        wrong += [
            f"{route} shows {secret}: {each.text}"
            for each in answers
            for secret in hidden
            if secret in each.text
        ]
    return wrong


async def walk_unscoped(where: World, role: Role) -> list[str]:
    who = await caller(where.plane.client, role.value)
    wrong = []
    for route in ROUTES:
        permission = RULES[route].permission
        answer = await call(who, route, where.outside)
        if permission is None or permission in permissions_of(role, scoped=False):
            if not admitted(answer):
                wrong.append(f"{route}: {answer.status_code} {answer.text}")
        elif not refused(answer, scoped=False, role=role, permission=permission):
            wrong.append(f"{route} was not refused: {answer.status_code} {answer.text}")
    return wrong


@pytest.mark.parametrize("role", Role)
async def test_every_route_for_every_role_in_and_out_of_scope(
    database: Database, tmp_path: Path, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "BURST", 10_000)
    async with world(database, tmp_path) as where:
        wrong = [
            f"{part}: {fault}" for part in SCOPES for fault in await walk_scoped(where, role, part)
        ]
        # Last: it may do away with what the others were not to touch.
        wrong += await walk_unscoped(where, role)
        await refusals_are_written_without_what_was_sent(where.plane)
    assert not wrong, "\n".join(wrong)


async def test_nobody_comes_in_without_a_key(plane: ControlPlane) -> None:
    plane.services.use_cases.access._failures = Attempts(burst=1000, seconds=1, sources=10)
    for route in ROUTES:
        method, path = route
        answer = await plane.client.request(method, path, headers={"Authorization": ""})
        is_open = RULES[route].permission is None
        assert answer.status_code == (200 if is_open else 401), (route, answer.text)


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    assert set(ROUTES) == set(RULES)


async def test_the_table_finds_the_route_that_the_router_takes(plane: ControlPlane) -> None:
    table = route_table()
    for method, template in ROUTES:
        path = template.replace("{", "").replace("}", "").replace("_", "-")
        match = table.find(method, path)
        assert match is not None
        assert match.template == template
    document = (await plane.client.get("/api/v1/openapi.json")).json()
    described = {
        (method.upper(), path) for path, each in document["paths"].items() for method in each
    }
    assert described | {("GET", "/api/v1/openapi.json")} == set(ROUTES)


async def test_every_id_that_a_request_can_name_is_in_its_rule(plane: ControlPlane) -> None:
    document = (await plane.client.get("/api/v1/openapi.json")).json()
    missing = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if RULES[method.upper(), path].permission in GLOBAL:
                continue  # no key with a scope comes as far
            declared = {
                (reference.place, reference.field)
                for reference in RULES[method.upper(), path].references
            }
            named = {
                (parameter["in"], parameter["name"])
                for parameter in operation.get("parameters", ())
                if parameter["name"].endswith("_id")
            }
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            named |= {("body", field) for field in ids_in(body.get("schema", {}), document)}
            missing += [(method, path, *each) for each in named - declared]
    assert not missing


def ids_in(schema: Any, document: Any, place: str = "") -> Iterator[str]:
    """Dotted places in a body that hold ids."""
    reference = schema.get("$ref")
    if reference is not None:
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    for alternative in schema.get("anyOf", ()):
        yield from ids_in(alternative, document, place)
    for name, inner in schema.get("properties", {}).items():
        where = f"{place}.{name}" if place else name
        if name.endswith(("_id", "_ids")):
            yield where
        yield from ids_in(inner, document, where)


async def test_a_route_without_a_rule_is_refused(plane: ControlPlane) -> None:
    ran = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        ran.append(scope["path"])

    table = RouteTable([("/api/v1/new/{thing}", {"POST"})], {})
    gateway = Gateway(application, plane.services, table, {})
    headers = {"Authorization": f"Bearer {plane.key}"}
    for method, path, status in [
        ("POST", "/api/v1/new/one", 403),
        ("GET", "/api/v1/new/one", 405),
        ("POST", "/api/v1/other", 404),
    ]:
        reply = await send_raw(gateway, method, path, headers=headers)
        assert reply is not None
        assert reply.status == status
    assert not ran


async def refusals_are_written_without_what_was_sent(plane: ControlPlane) -> None:
    answer = await plane.client.get("/api/v1/audit", params={"limit": 500})
    events = [each for each in answer.json()["data"] if each["action"] == "access.refused"]
    assert events
    for event in events:
        detail = event["detail"]
        assert (detail["method"], detail["route"]) in RULES
        assert event["actor"] != "admin"
