"""One certificate on the command line: shown, edited, archived, downloaded, imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certctl.pki.certificates import chain_pem, to_pem
from tests.cli.fake_server import (
    CERTIFICATE,
    NOW,
    ORDER,
    FakeServer,
    Reply,
    Seen,
    certificate_view,
    order_view,
    problem,
    version_view,
)
from tests.support.foreign import foreign, self_signed
from tests.support.pki import make_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

ADDRESS = f"/api/v1/certificates/{CERTIFICATE}"
IMPORT = "/api/v1/certificates/import"


def view(**more: Any) -> dict[str, Any]:
    return certificate_view(None, version=version_view(1), **more)


def serve_history(server: FakeServer, **more: Any) -> None:
    event = {
        "chain_id": "chain-1",
        "seq": 1,
        "at": NOW,
        "actor": "admin",
        "action": "certificate.edited",
        "object_type": "certificate",
        "object_id": CERTIFICATE,
        "detail": {"changes": {"owner": {"to": "web"}}},
    }
    server.on("GET", ADDRESS, Reply(200, view(**more)))
    for what, row in (
        ("versions", version_view(1)),
        ("orders", order_view("issued")),
        ("audit", event),
    ):
        server.on("GET", f"{ADDRESS}/{what}", Reply(200, {"data": [row], "next": "more"}))


def test_all_about_one(run: Run, server: FakeServer) -> None:
    serve_history(
        server, owner="web", labels={"env": "prod", "tier": "1"}, status="archived", archived_at=NOW
    )
    result = run("certs", "show", CERTIFICATE)
    assert result.exit_code == 0, result.stderr
    for expected in (
        "Status       archived",
        "Owner        web",
        "Labels       env=prod, tier=1",
        "Archived     2026-01-01 12:00:00 UTC",
        f"{ORDER}  issued  2026-01-01",
        f"There are older ones: certctl certs orders {CERTIFICATE}",
        "certificate.edited  admin  2026-01-01",
        f"There are older ones: certctl audit --object {CERTIFICATE}",
    ):
        assert expected in result.stdout
    shown = json.loads(run("certs", "show", CERTIFICATE, "--json").stdout)
    assert (shown["labels"], shown["owner"]) == ({"env": "prod", "tier": "1"}, "web")


def test_events_are_left_out_for_who_may_not_read_them(run: Run, server: FakeServer) -> None:
    serve_history(server)
    server.on("GET", f"{ADDRESS}/audit", problem(403, "role-not-enough"))
    result = run("certs", "show", CERTIFICATE)
    assert (result.exit_code, result.stderr) == (0, "")
    assert ORDER in result.stdout
    assert "certificate.edited" not in result.stdout
    server.on("GET", f"{ADDRESS}/audit", problem(500, "internal-error"))
    assert run("certs", "show", CERTIFICATE).exit_code == 1


def test_an_edit_sends_what_was_said_and_nothing_else(run: Run, server: FakeServer) -> None:
    server.on("PATCH", ADDRESS, Reply(200, view(owner="web")))
    for arguments, expected in (
        (("--owner", "web"), {"owner": "web"}),
        (("--no-owner",), {"owner": None}),
        (
            ("--label", "env=prod", "--label", "a=b=c", "--remove-label", "old"),
            {"labels": {"env": "prod", "a": "b=c", "old": None}},
        ),
        (("--label", "empty="), {"labels": {"empty": ""}}),
    ):
        result = run("certs", "edit", CERTIFICATE, *arguments)
        assert result.exit_code == 0, result.stderr
        assert server.requests("PATCH", ADDRESS)[-1].json() == expected
    assert "Owner        web" in result.stdout
    assert json.loads(run("certs", "edit", CERTIFICATE, "--no-owner", "--json").stdout)["id"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--owner", "a", "--no-owner"),
        ("--label", "no-text"),
        ("--label", "a=1", "--label", "a=2"),
        ("--label", "a=1", "--remove-label", "a"),
    ],
    ids=" ".join,
)
def test_edits_that_make_no_sense(run: Run, server: FakeServer, arguments: tuple[str, ...]) -> None:
    assert run("certs", "edit", CERTIFICATE, *arguments).exit_code == 2
    assert not server.seen


def test_a_label_that_cannot_be_is_found_before_it_is_sent(run: Run, server: FakeServer) -> None:
    result = run("certs", "edit", CERTIFICATE, "--label", "Not A Key=x")
    assert result.exit_code == 3
    assert "lower-case letters" in result.stderr
    assert not server.seen


def test_labels_are_sent_with_an_order(run: Run, server: FakeServer) -> None:
    assert run("issue", "www.example.org", "--label", "env=prod").exit_code == 0
    (seen,) = server.requests("POST", "/api/v1/certificates")
    assert seen.json()["labels"] == {"env": "prod"}


def test_archive_and_back(run: Run, server: FakeServer) -> None:
    valid = problem(409, "certificate-valid")
    server.on("POST", f"{ADDRESS}/archive", valid, Reply(200, view(status="archived")))
    server.on("POST", f"{ADDRESS}/unarchive", Reply(200, view()))
    refused = run("certs", "archive", CERTIFICATE)
    assert refused.exit_code == 3
    assert "--although-valid" in refused.stderr
    done = run("certs", "archive", CERTIFICATE, "--although-valid")
    assert (done.exit_code, done.stdout) == (0, f"Certificate {CERTIFICATE} is archived.\n")
    first, second = server.requests("POST", f"{ADDRESS}/archive")
    assert (first.json(), second.json()) == ({"although_valid": False}, {"although_valid": True})
    assert "Status       issued" in run("certs", "unarchive", CERTIFICATE).stdout


# Downloads


def test_a_trust_store_is_downloaded_with_its_password(
    run: Run, server: FakeServer, folder: Path
) -> None:
    server.on("GET", f"{ADDRESS}/download", Reply(200, b"store"))
    arguments = ("certs", "download", CERTIFICATE, "--format", "pkcs12", "--out")
    result = run(*arguments, "trust.p12")
    assert "Its password is changeit." in result.stderr
    assert (folder / "trust.p12").read_bytes() == b"store"
    (folder / "password").write_text("planted-password\nsecond line\n")
    result = run(*arguments, "other.p12", "--password-file", "password")
    assert "password is" not in result.stderr
    first, second = server.requests("GET", f"{ADDRESS}/download")
    assert "x-store-password" not in first.headers
    assert second.headers["x-store-password"] == "planted-password"
    assert second.query == {"format": "pkcs12"}
    assert "planted" not in result.output
    wrong = run("certs", "download", CERTIFICATE, "--password-file", "password")
    assert wrong.exit_code == 2


# Imports


def taken(seen: Seen) -> Reply:
    body = seen.json()
    if "planted" in body.get("owner", ""):
        return problem(403, "role-not-enough")
    dry_run = body["dry_run"]
    certificate = None if dry_run else view(names=["a.example.org"])
    result = {
        "outcome": "imported",
        "dry_run": dry_run,
        "certificate": certificate,
        "warnings": ["it has expired"],
    }
    return Reply(201, result)


def private_key() -> str:
    key = make_key()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def outcomes(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in json.loads(text)["data"]:
        found.setdefault(line["file"], []).append(line["outcome"])
    return found


def test_files_and_folders_are_imported_and_a_bad_one_is_no_hindrance(
    run: Run, server: FakeServer, folder: Path
) -> None:
    server.on("POST", IMPORT, taken)
    one, two, other = foreign("a.example.org"), foreign("b.example.org"), self_signed()
    live = folder / "live" / "a"
    live.mkdir(parents=True)
    (live / "cert.pem").write_text(one.pem)
    (live / "chain.pem").write_text(one.chain)
    (live / "fullchain.pem").write_text(one.pem + one.chain)
    (live / "privkey.pem").write_text(private_key())
    (live / "README").write_text("not looked at")
    (folder / "b.der").write_bytes(two.certificate.public_bytes(Encoding.DER))
    (folder / "pair.pem").write_text(private_key() + to_pem(other))
    (folder / "broken.pem").write_text(one.pem[:-60])
    (folder / "text.txt").write_text("hello")
    arguments = ("live", "b.der", "broken.pem", "pair.pem", "text.txt", "missing.pem")
    result = run("certs", "import", *arguments, "--label", "from=old", "--json")
    assert result.exit_code == 3
    assert outcomes(result.stdout) == {
        "live/a/cert.pem": ["imported"],
        "live/a/chain.pem": ["chain", "chain"],
        "live/a/fullchain.pem": ["same", "same", "same"],
        "b.der": ["imported"],
        "pair.pem": ["imported"],
        "broken.pem": ["failed"],
        "text.txt": ["failed"],
        "missing.pem": ["failed"],
    }
    sent = [seen.json() for seen in server.requests("POST", IMPORT)]
    assert [body["certificate"] for body in sent] == [one.pem, two.pem, to_pem(other)]
    # The chain comes from whichever file has it.
    assert [body.get("chain") for body in sent] == [one.chain, one.chain, None]
    assert all(body["labels"] == {"from": "old"} for body in sent)
    assert b"PRIVATE" not in b"".join(seen.body for seen in server.seen)


def test_what_the_server_refuses_is_told_and_the_others_go_on(
    run: Run, server: FakeServer, folder: Path
) -> None:
    server.on("POST", IMPORT, problem(409, "import-serial-taken"), taken)
    for name in ("a", "b"):
        (folder / f"{name}.pem").write_text(foreign(f"{name}.example.org").pem)
    result = run("certs", "import", "a.pem", "b.pem")
    assert result.exit_code == 3
    head, first, second = result.stdout.splitlines()
    assert head.split() == ["FILE", "OUTCOME", "CERTIFICATE", "NAMES", "DETAIL"]
    assert "the detail of import-serial-taken" in first
    assert second.split()[:3] == ["b.pem", "imported", CERTIFICATE]
    assert "it has expired" in second


def test_what_no_other_would_pass_ends_it(run: Run, server: FakeServer, folder: Path) -> None:
    server.on("POST", IMPORT, taken)
    for name in ("a", "b"):
        (folder / f"{name}.pem").write_text(foreign(f"{name}.example.org").pem)
    result = run("certs", "import", "a.pem", "b.pem", "--owner", "planted")
    assert result.exit_code == 5
    assert "a.pem" in result.stdout
    assert "b.pem" not in result.stdout
    assert len(server.requests("POST", IMPORT)) == 1


def test_a_dry_run_is_one_for_the_server_too(run: Run, server: FakeServer, folder: Path) -> None:
    server.on("POST", IMPORT, taken)
    (folder / "a.pem").write_text(foreign("a.example.org").pem)
    result = run("certs", "import", "a.pem", "--dry-run")
    assert result.exit_code == 0
    assert "Nothing was done" in result.stderr
    assert server.requests("POST", IMPORT)[0].json()["dry_run"] is True


def test_one_certificate_replaces_another(run: Run, server: FakeServer, folder: Path) -> None:
    server.on("POST", IMPORT, taken)
    for name in ("a", "b"):
        (folder / f"{name}.pem").write_text(foreign(f"{name}.example.org").pem)
    result = run("certs", "import", "a.pem", "b.pem", "--replaces", CERTIFICATE)
    assert result.exit_code == 3
    assert not server.seen
    assert run("certs", "import", "a.pem", "--replaces", CERTIFICATE).exit_code == 0
    assert server.requests("POST", IMPORT)[0].json()["replaces"] == CERTIFICATE


def test_what_a_bundle_has_twice_is_imported_once(
    run: Run, server: FakeServer, folder: Path
) -> None:
    server.on("POST", IMPORT, taken)
    ca = foreign().ca
    (folder / "bundle.pem").write_text(chain_pem([*ca.chain, *ca.chain, self_signed()]))
    (folder / "empty").mkdir()
    result = run("certs", "import", "bundle.pem", "empty", "--json")
    assert result.exit_code == 0, result.stdout
    assert outcomes(result.stdout)["bundle.pem"] == [
        "imported",
        "chain",
        "same",
        "same",
        "imported",
    ]
    shown = run("certs", "import", "bundle.pem")
    assert len(shown.stdout.splitlines()) == 3
    assert "Besides: 3 that are chains of these, or there twice." in shown.stderr
    nothing = run("certs", "import", "empty")
    assert (nothing.exit_code, nothing.stderr) == (0, "No certificates in there.\n")
