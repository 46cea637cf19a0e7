"""The other commands, and how failures look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tests.cli.fake_server import (
    BULK,
    CERTIFICATE,
    KEY,
    KEY_ID,
    NOW,
    ORDER,
    Reply,
    Seen,
    bulk_view,
    certificate_view,
    issuer_view,
    key_view,
    order_view,
    problem,
    profile_view,
    revocation_line,
    revocation_view,
    summary,
    type_view,
    version_view,
)
from tests.cli.test_rendering import drawn

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.cli.tables import Table
    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer

ISSUER = issuer_view(
    "iss-local", type="GenericCA", config={"url": "https://ca.example.org"}, source="env"
)
PROFILE = profile_view("prof-tls-server")
EVENT = {
    "chain_id": "chain-1",
    "seq": 1,
    "at": NOW,
    "actor": "admin",
    "action": "certificate.issued",
    "object_type": "certificate",
    "object_id": CERTIFICATE,
    "detail": {},
    "request_id": None,
}


@pytest.fixture
def filled(server: FakeServer) -> FakeServer:
    """A server with one of each."""
    for path, row in {
        "certificates": summary(1),
        "orders": order_view("pending"),
        "issuers": ISSUER,
        "issuers/types": type_view(),
        "profiles": PROFILE,
        "keys": key_view(),
        "audit": EVENT,
        "revocations": revocation_line(1),
        "bulk-revocations": bulk_view(),
        f"certificates/{CERTIFICATE}/versions": version_view(1, revocation=revocation_view()),
        f"certificates/{CERTIFICATE}/orders": order_view("pending"),
        f"certificates/{CERTIFICATE}/audit": EVENT,
    }.items():
        server.on("GET", f"/api/v1/{path}", Reply(200, {"data": [row], "next": None}))
    attempt = {
        "number": 1,
        "action": "issue",
        "outcome": "pending",
        "detail": "the CA\x1b[31m works on it",
        "started_at": NOW,
        "duration_ms": 12,
    }
    order = order_view("pending", history=[attempt], reference={"id": "42"}, due_at=NOW)
    server.on(
        "GET",
        f"/api/v1/certificates/{CERTIFICATE}",
        Reply(200, certificate_view(None, status="pending")),
    )
    server.on("GET", f"/api/v1/orders/{ORDER}", Reply(200, order))
    server.on("POST", f"/api/v1/orders/{ORDER}/cancel", Reply(200, order_view("cancelled")))
    server.on("GET", f"/api/v1/bulk-revocations/{BULK}", Reply(200, bulk_view()))
    server.on("POST", f"/api/v1/bulk-revocations/{BULK}/cancel", Reply(200, bulk_view("cancelled")))
    server.on("GET", "/api/v1/issuers/iss-local", Reply(200, ISSUER))
    server.on("GET", "/api/v1/issuers/iss-local/ca", Reply(200, b"-----BEGIN CERTIFICATE-----\n"))
    server.on("GET", f"/api/v1/keys/{KEY_ID}", Reply(200, key_view()))
    server.on("POST", f"/api/v1/keys/{KEY_ID}/revoke", Reply(200, key_view(status="revoked")))
    server.on("GET", "/api/v1/profiles/prof-tls-server", Reply(200, PROFILE))
    download = f"/api/v1/certificates/{CERTIFICATE}/download"
    server.on("GET", download, Reply(200, b"\x30\x82 file"))
    sealing = {
        "source": "file",
        "keys": [{"key_id": "0a0b0c0d", "current": True, "values": 12}],
    }
    server.on("GET", "/api/v1/secrets", Reply(200, sealing))
    server.on("POST", "/api/v1/secrets/rotate", Reply(200, {**sealing, "resealed": 12}))
    verified = {"chains": 1, "events": 6, "problems": []}
    server.on("POST", "/api/v1/audit/verify", Reply(200, verified))
    return server


#: What lists, where it comes from, and what is in its row.
LISTS = {
    "certs": ("certificates", f"cert-{1:026d}"),
    f"certs versions {CERTIFICATE}": (f"certificates/{CERTIFICATE}/versions", f"ver-{1:026d}"),
    f"certs orders {CERTIFICATE}": (f"certificates/{CERTIFICATE}/orders", ORDER),
    "revocations": ("revocations", f"cert-{1:026d}"),
    "revocations bulk": ("bulk-revocations", BULK),
    "orders": ("orders", ORDER),
    "issuers": ("issuers", "iss-local"),
    "issuers types": ("issuers/types", "AcmeTrust"),
    "profiles": ("profiles", "prof-tls-server"),
    "keys": ("keys", KEY_ID),
    "audit": ("audit", CERTIFICATE),
}
SHOWN = {
    ("certs", "show", CERTIFICATE): ("Status       pending", f"Order        {ORDER}"),
    ("certs", "show", CERTIFICATE, "--json"): (CERTIFICATE,),
    ("orders", "show", ORDER): ("CA's reference  id 42", "1. issue: pending", "works on it"),
    ("orders", "cancel", ORDER): (f"Order {ORDER} is cancelled.",),
    ("issuers", "show", "iss-local"): ("https://ca.example.org", "environment"),
    ("issuers", "ca", "iss-local"): ("-----BEGIN CERTIFICATE-----",),
    ("profiles", "show", "prof-tls-server"): ("397 d", "2048 bits or more"),
    ("keys", "show", KEY_ID): ("Names      *.example.org", "Last used  never", "operator"),
    ("keys", "revoke", KEY_ID): (f"Key {KEY_ID} (deploy tool) is revoked.",),
    ("audit", "verify"): ("unaltered: 6 events in 1 chain checked",),
    ("issuers", "types", "acmetrust"): ("api_url", "CERTCTL_ACME_TRUST_API_URL", "(required)"),
    ("secrets",): ("a file in the server's data directory", "0a0b0c0d  from now on  12"),
    ("secrets", "rotate"): ("Sealed anew: 12", "0a0b0c0d  from now on  12"),
    ("revocations", "follow", BULK): ("State            done", "owner web team", "3 of 3"),
    ("revocations", "cancel", BULK): ("State            cancelled",),
}


@pytest.mark.parametrize("noun", LISTS)
def test_lists(run: Run, filled: FakeServer, noun: str) -> None:
    result = run(*noun.split())
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert LISTS[noun][1] in lines[1]
    assert "…" not in result.stdout, "nothing is cut where a program may read"


@pytest.mark.parametrize("noun", [*LISTS, "profiles rules", "issuers types AcmeTrust"])
def test_every_table_fits(
    run: Run, filled: FakeServer, noun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Table] = []
    monkeypatch.setattr("certctl.cli.tables.draw", shown.append)
    assert run(*noun.split()).exit_code == 0
    (table,) = shown
    for width in (60, 80, 200):
        lines = drawn(table, width)
        assert all(cell_len(line) <= width for line in lines), (width, lines)
        if noun in LISTS:
            assert any(LISTS[noun][1] in line for line in lines), "an id is whole"


@pytest.mark.parametrize("noun", LISTS)
def test_lists_in_json(run: Run, filled: FakeServer, noun: str) -> None:
    after, before = run(*noun.split(), "--json"), run("--json", *noun.split())
    assert after.exit_code == 0
    assert after.stdout == before.stdout
    served = filled.answers["GET", f"/api/v1/{LISTS[noun][0]}"]
    expected = dict(served[0].body["data"][0])
    expected.pop("history", None)
    (shown,) = json.loads(after.stdout)["data"]
    if "filter" in shown:
        shown["filter"] = {name: part for name, part in shown["filter"].items() if part}
    assert shown == expected


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_single_objects(run: Run, filled: FakeServer, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    for expected in SHOWN[arguments]:
        assert expected in result.stdout
    assert "\x1b" not in result.stdout
    if arguments[:2] != ("issuers", "ca"):
        assert isinstance(json.loads(run(*arguments, "--json").stdout), dict)


@pytest.mark.parametrize("noun", LISTS)
def test_an_empty_list(run: Run, server: FakeServer, noun: str) -> None:
    server.on("GET", f"/api/v1/{LISTS[noun][0]}", Reply(200, {"data": [], "next": None}))
    result = run(*noun.split())
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr
    assert json.loads(run(*noun.split(), "--json").stdout) == {"data": [], "next": None}


def pages(seen: Seen) -> Reply:
    start = int(seen.query.get("cursor", "0"))
    count = min(int(seen.query["limit"]), 1200 - start)
    rows = [summary(start + number) for number in range(count)]
    end = start + count
    return Reply(200, {"data": rows, "next": str(end) if end < 1200 else None})


@pytest.mark.parametrize(
    ("arguments", "rows", "requests"),
    [((), 50, 1), (("--limit", "3"), 3, 1), (("--limit", "700"), 700, 2), (("--all",), 1200, 3)],
)
def test_pages_are_joined(
    run: Run, server: FakeServer, arguments: tuple[str, ...], rows: int, requests: int
) -> None:
    server.on("GET", "/api/v1/certificates", pages)
    result = run("certs", *arguments)
    assert len(result.stdout.splitlines()) == rows + 1
    assert len(server.seen) == requests
    assert ("There are more" in result.stderr) == (rows < 1200)


def test_revocations_by_state_and_bulk(run: Run, filled: FakeServer) -> None:
    assert run("revocations", "--state", "refused", "--bulk", BULK).exit_code == 0
    assert (filled.seen[0].query["state"], filled.seen[0].query["bulk_id"]) == ("refused", BULK)
    assert run("revocations", "--state", "no-such-state").exit_code == 2


def test_the_end_of_a_hold_is_told_from_a_revocation(run: Run, server: FakeServer) -> None:
    row = revocation_line(1, "requested", action="release", reason="certificateHold")
    server.on("GET", "/api/v1/revocations", Reply(200, {"data": [row], "next": None}))
    assert "release requested" in run("revocations").stdout


def test_a_revoked_certificate_in_the_list(run: Run, server: FakeServer) -> None:
    rows = [summary(1, status="revoked")]
    server.on("GET", "/api/v1/certificates", Reply(200, {"data": rows, "next": None}))
    header, line = run("certs").stdout.splitlines()
    assert line[header.index("STATUS") :].startswith("revoked ")


def test_a_certificate_is_shown_with_its_versions(run: Run, server: FakeServer) -> None:
    refused = revocation_view("refused", problem="the CA's own words")
    versions = [version_view(2), version_view(1, revocation=refused)]
    view = certificate_view(None, renew_at="2126-01-01T12:00:00Z", version=versions[0])
    path = f"/api/v1/certificates/{CERTIFICATE}"
    server.on("GET", path, Reply(200, view))
    server.on("GET", f"{path}/versions", Reply(200, {"data": versions, "next": "more"}))
    server.on("GET", f"{path}/orders", Reply(200, {"data": [], "next": None}))
    server.on("GET", f"{path}/audit", problem(403, "role-not-enough"))
    shown = run("certs", "show", CERTIFICATE).stdout
    assert "Renew at     2126-01-01 12:00:00 UTC" in shown
    newest, _, older = shown.partition(versions[1]["id"])
    assert versions[0]["id"] in newest
    assert "Revocation" not in newest
    assert "Revocation   refused: keyCompromise, 2026-01-01 12:00:00 UTC" in older
    assert "Problem      the CA's own words" in older
    assert f"certctl certs versions {CERTIFICATE}" in older
    as_json = json.loads(run("certs", "show", CERTIFICATE, "--json").stdout)
    assert as_json == view


def test_a_version_is_downloaded_by_its_id(run: Run, filled: FakeServer) -> None:
    assert run("certs", "download", CERTIFICATE, "--version", "ver-1").exit_code == 0
    assert run("certs", "download", CERTIFICATE).exit_code == 0
    first, second = filled.requests("GET", f"/api/v1/certificates/{CERTIFICATE}/download")
    assert first.query["version"] == "ver-1"
    assert "version" not in second.query


def test_orders_by_state(run: Run, filled: FakeServer) -> None:
    assert run("orders", "--state", "pending").exit_code == 0
    assert filled.seen[0].query["state"] == "pending"
    assert run("orders", "--state", "no-such-state").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [("certs", "download", CERTIFICATE, "--format", "der"), ("issuers", "ca", "iss-local")],
)
def test_downloads(run: Run, filled: FakeServer, folder: Path, arguments: tuple[str, ...]) -> None:
    content = run(*arguments).stdout_bytes
    assert content
    (folder / "taken").write_text("mine")
    assert run(*arguments, "--out", "taken").exit_code == 2
    assert (folder / "taken").read_text() == "mine"
    assert run(*arguments, "--out", "taken", "--force").exit_code == 0
    assert (folder / "taken").read_bytes() == content
    assert run(*arguments, "--out", "new").exit_code == 0
    assert (folder / "new").read_bytes() == content
    assert {path.name for path in folder.iterdir()} == {"taken", "new"}
    assert run(*arguments, "--out", "no/folder").exit_code == 1


def test_audit_problems_have_an_exit_code(run: Run, server: FakeServer) -> None:
    found = {"chains": 2, "events": 6, "problems": ["chain-1: event 3 was altered"]}
    server.on("POST", "/api/v1/audit/verify", Reply(200, found))
    result = run("audit", "verify")
    assert result.exit_code == 9
    assert "event 3 was altered" in result.stdout
    as_json = run("audit", "verify", "--json")
    assert as_json.exit_code == 9
    assert json.loads(as_json.stdout) == found


# Failures


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(400, 3), (401, 5), (403, 5), (404, 6), (409, 3), (422, 3), (500, 1), (502, 4), (503, 4)],
)
def test_exit_codes(run: Run, server: FakeServer, status: int, exit_code: int) -> None:
    server.on("GET", "/api/v1/certificates", problem(status, "some-code"))
    result = run("certs")
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("Error: the detail of some-code\nHint: ")


def test_failures_in_json_are_the_problem_document(run: Run, server: FakeServer) -> None:
    reply = problem(404, "certificate-not-found")
    server.on("GET", "/api/v1/certificates/cert-none", reply)
    result = run("certs", "show", "cert-none", "--json")
    assert (result.exit_code, result.stdout) == (6, "")
    assert json.loads(result.stderr) == reply.body


def test_a_proxy_that_answers_is_told_apart(run: Run, server: FakeServer) -> None:
    server.on("GET", "/api/v1/certificates", Reply(502, b"<html>bad gateway</html>"))
    result = run("certs")
    assert result.exit_code == 4
    assert "502" in result.stderr
    server.on("GET", "/api/v1/certificates", Reply(200, b"<html>welcome</html>"))
    result = run("certs")
    assert result.exit_code == 1
    assert "an answer that cannot be read" in result.stderr


def test_no_server_running(run: Run, monkeypatch: pytest.MonkeyPatch, socket_enabled: None) -> None:
    monkeypatch.setenv("CERTCTL_SERVER_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("CERTCTL_API_KEY", KEY)
    result = run("certs")
    assert result.exit_code == 4
    assert "Connection refused" in result.stderr
    assert "Hint: is it running?" in result.stderr
    assert json.loads(run("certs", "--json").stderr)["type"] == "urn:certctl:problem:not-reachable"


def test_no_server_found(run: Run) -> None:
    result = run("certs")
    assert result.exit_code == 4
    for place in ("CERTCTL_SERVER_URL", "./data", "/var/lib/certctl"):
        assert place in result.stderr


def test_a_certificate_that_is_not_trusted(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CERTCTL_CA_BUNDLE")
    result = run("certs")
    assert result.exit_code == 4
    assert "is not trusted" in result.stderr
    assert "CERTCTL_CA_BUNDLE" in result.stderr
    assert server.seen == []


def test_options_go_before_the_environment(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    server.on("GET", "/api/v1/certificates", Reply(200, {"data": [], "next": None}))
    monkeypatch.setenv("CERTCTL_SERVER_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("CERTCTL_CA_BUNDLE", "missing.pem")
    options = ("--server", server.url, "--ca-bundle", str(server.ca))
    assert run(*options, "certs").exit_code == 0

    monkeypatch.setenv("CERTCTL_API_KEY", "another")
    local = folder / "elsewhere"
    local.mkdir()
    (local / "admin.key").write_text(f"{KEY}\n")
    (local / "ca.pem").write_text(server.ca.read_text())
    (local / "server.json").write_text(json.dumps({"url": server.url}))
    assert run("--data-dir", str(local), "certs").exit_code == 0


@pytest.mark.parametrize("noun", LISTS)
def test_the_key_is_never_shown(run: Run, filled: FakeServer, noun: str) -> None:
    assert KEY not in run(*noun.split()).output
    filled.on("GET", "/api/v1/certificates", problem(500, "internal-error"))
    assert KEY not in run("certs").output


# Status


def test_status(run: Run, filled: FakeServer) -> None:
    result = run("status")
    assert result.exit_code == 0
    assert filled.url in result.stdout
    assert json.loads(run("status", "--json").stdout)["api_key"] == "accepted"


def test_status_of_a_server_that_is_not_ready(run: Run, server: FakeServer) -> None:
    server.on("GET", "/readyz", problem(503, "database-unavailable"))
    result = run("status")
    assert result.exit_code == 4
    assert "Ready    no" in result.stdout


def test_status_without_a_valid_key(
    run: Run, filled: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTCTL_API_KEY", "another")
    result = run("status")
    assert result.exit_code == 5
    assert "not accepted" in result.stdout
    monkeypatch.delenv("CERTCTL_API_KEY")
    assert run("status").exit_code == 5
