"""`certctl issue`: what is on disk, what was sent, what is said, after each way it can end."""

from __future__ import annotations

import json
import os
import shlex
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certctl.pki.keys import spki_of
from tests.cli.conftest import certctl, interrupted
from tests.cli.fake_server import (
    CERTIFICATE,
    ORDER,
    Reply,
    Seen,
    certificate_view,
    issue_at_once,
    order_view,
    problem,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer

CREATE = ("POST", "/api/v1/certificates")
FILES = {"www.example.org.crt", "www.example.org.chain.crt", "www.example.org.key"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_key_certificate_and_chain_are_written(run: Run, server: FakeServer, folder: Path) -> None:
    result = run("issue", "www.example.org", "10.0.0.1", "--days", "30", "--owner", "web team")
    assert result.exit_code == 0, result.stderr
    assert names(folder) == FILES
    key_file = folder / "www.example.org.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    leaf = x509.load_pem_x509_certificate((folder / "www.example.org.crt").read_bytes())
    assert spki_of(leaf.public_key()) == spki_of(key.public_key())
    chain = x509.load_pem_x509_certificates((folder / "www.example.org.chain.crt").read_bytes())
    assert chain[0] == leaf
    leaf.verify_directly_issued_by(chain[1])
    assert "openssl x509 -in www.example.org.crt" in result.stdout


def test_only_the_request_is_sent(run: Run, server: FakeServer, folder: Path) -> None:
    run("issue", "www.example.org", "10.0.0.1", "--days", "30", "--owner", "web team")
    (seen,) = server.requests(*CREATE)
    body = seen.json()
    assert set(body) == {"issuer_id", "profile_id", "csr", "validity_days", "owner"}
    assert (body["validity_days"], body["owner"]) == (30, "web team")
    request = x509.load_pem_x509_csr(body["csr"].encode())
    found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["www.example.org"]
    assert [str(ip) for ip in found.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert "PRIVATE" not in seen.body.decode()
    assert seen.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("choice", "kind", "bits"),
    [
        ("ecdsa-p384", ec.EllipticCurvePrivateKey, 384),
        ("rsa-2048", rsa.RSAPrivateKey, 2048),
        ("ed25519", ed25519.Ed25519PrivateKey, None),
    ],
)
def test_kinds_of_keys(
    run: Run, server: FakeServer, folder: Path, choice: str, kind: type, bits: int | None
) -> None:
    server.on(*CREATE, problem(422, "stop-here"))
    made: list[bytes] = []

    def keep(_: Seen) -> Reply:
        made.append((folder / "www.example.org.key").read_bytes())
        return problem(422, "stop-here")

    server.on(*CREATE, keep)
    run("issue", "www.example.org", "--key-type", choice)
    key = load_pem_private_key(made[0], None)
    assert isinstance(key, kind)
    assert bits is None or key.key_size == bits  # type: ignore[union-attr]


def test_the_key_is_on_disk_and_private_before_anything_is_sent(
    run: Run, server: FakeServer, folder: Path
) -> None:
    modes: list[int] = []

    def look(seen: Seen) -> Reply:
        modes.append(stat.S_IMODE((folder / "www.example.org.key").stat().st_mode))
        return issue_at_once(seen)

    server.on(*CREATE, look)
    before = os.umask(0)
    try:
        run("issue", "www.example.org")
    finally:
        os.umask(before)
    assert modes == [0o600]


@pytest.mark.parametrize(
    ("reply", "exit_code"),
    [
        (problem(422, "name-kind-not-allowed", field="names.0"), 3),
        (problem(409, "conflict"), 3),
        (problem(401, "api-key-unknown"), 5),
        (problem(403, "forbidden"), 5),
        (problem(404, "profile-not-found"), 6),
        (problem(503, "issuer-not-ready"), 4),
    ],
)
def test_a_refused_request_leaves_nothing(
    run: Run, server: FakeServer, folder: Path, reply: Reply, exit_code: int
) -> None:
    server.on(*CREATE, reply)
    result = run("issue", "www.example.org")
    assert result.exit_code == exit_code
    assert names(folder) == set()
    assert result.stdout == ""
    assert "Error: the detail of" in result.stderr
    assert "Hint: " in result.stderr
    assert len(server.requests(*CREATE)) == 1


def test_a_name_that_is_wrong_is_found_before_a_key_is_made(
    run: Run, server: FakeServer, folder: Path
) -> None:
    result = run("issue", "www.example.org", "bad..name")
    assert result.exit_code == 3
    assert "'bad..name': a DNS name has an empty label" in result.stderr
    assert names(folder) == set()
    assert server.seen == []


@pytest.mark.parametrize("taken", sorted(FILES))
def test_no_file_is_overwritten(run: Run, server: FakeServer, folder: Path, taken: str) -> None:
    (folder / taken).write_text("mine")
    result = run("issue", "www.example.org")
    assert result.exit_code == 2
    assert f"{taken} is there already" in result.stderr
    assert "--force" in result.stderr
    assert (folder / taken).read_text() == "mine"
    assert names(folder) == {taken}
    assert server.seen == []


def test_force_replaces_all_three(run: Run, server: FakeServer, folder: Path) -> None:
    for name in FILES:
        (folder / name).write_text("old")
    assert run("issue", "www.example.org", "--force").exit_code == 0
    assert names(folder) == FILES
    assert all((folder / name).read_text().startswith("-----BEGIN") for name in FILES)
    assert stat.S_IMODE((folder / "www.example.org.key").stat().st_mode) == 0o600


def test_force_keeps_the_old_pair_when_the_request_is_refused(
    run: Run, server: FakeServer, folder: Path
) -> None:
    server.on(*CREATE, problem(422, "no"))
    for name in FILES:
        (folder / name).write_text("old")
    assert run("issue", "www.example.org", "--force").exit_code == 3
    assert names(folder) == FILES
    assert all((folder / name).read_text() == "old" for name in FILES)


def test_an_existing_key_is_used_and_kept(run: Run, server: FakeServer, folder: Path) -> None:
    run("issue", "one.example.org")
    key = folder / "one.example.org.key"
    before = key.read_bytes()
    result = run("issue", "two.example.org", "--key", str(key))
    assert result.exit_code == 0
    assert key.read_bytes() == before
    assert not (folder / "two.example.org.key").exists()
    leaf = x509.load_pem_x509_certificate((folder / "two.example.org.crt").read_bytes())
    assert spki_of(leaf.public_key()) == spki_of(load_pem_private_key(before, None).public_key())


def test_a_refusal_never_removes_a_key_that_was_given(
    run: Run, server: FakeServer, folder: Path
) -> None:
    run("issue", "one.example.org")
    server.on(*CREATE, problem(422, "no"))
    key = folder / "one.example.org.key"
    assert run("issue", "two.example.org", "--key", str(key)).exit_code == 3
    assert key.exists()


def test_an_existing_csr_is_sent_as_it_is(run: Run, server: FakeServer, folder: Path) -> None:
    run("issue", "www.example.org")
    csr = server.seen[0].json()["csr"]
    (folder / "mine.csr").write_text(csr)
    result = run("issue", "--csr", "mine.csr", "--out", "new")
    assert result.exit_code == 0
    assert server.seen[1].json()["csr"] == csr
    assert (folder / "new.crt").exists()
    assert not (folder / "new.key").exists()


def test_a_key_that_is_none(run: Run, server: FakeServer, folder: Path) -> None:
    (folder / "no.key").write_text("planted-secret")
    result = run("issue", "www.example.org", "--key", "no.key")
    assert result.exit_code == 3
    assert "no private key" in result.stderr
    assert "planted-secret" not in result.output
    missing = run("issue", "www.example.org", "--key", "missing.key")
    assert missing.exit_code == 1
    assert "missing.key: No such file" in missing.stderr


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("sub/", "sub/www.example.org.crt"),
        ("sub", "sub/www.example.org.crt"),
        ("web", "web.crt"),
        ("sub/web", "sub/web.crt"),
    ],
)
def test_out_is_a_folder_or_a_prefix(
    run: Run, server: FakeServer, folder: Path, out: str, expected: str
) -> None:
    (folder / "sub").mkdir()
    assert run("issue", "www.example.org", "--out", out).exit_code == 0
    assert (folder / expected).exists()


def test_out_that_is_not_there(run: Run, server: FakeServer, folder: Path) -> None:
    result = run("issue", "www.example.org", "--out", "missing/")
    assert result.exit_code == 2
    assert "mkdir -p missing" in result.stderr
    assert names(folder) == set()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("*.example.org", "wildcard.example.org"),
        ("::1", "_1"),
        ("spiffe://example.org/../api", "spiffe_example.org_.._api"),
        ("user@example.org", "user@example.org"),
    ],
)
def test_file_names_are_safe(
    run: Run, server: FakeServer, folder: Path, name: str, stem: str
) -> None:
    assert run("issue", name).exit_code == 0
    assert names(folder) == {f"{stem}.{end}" for end in ("crt", "chain.crt", "key")}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--csr", "x.csr", "--key", "x.key"),
        ("www.example.org", "--key", "x.key", "--key-type", "rsa-2048"),
        ("www.example.org", "--key-type", "dsa"),
        ("www.example.org", "--days", "0"),
    ],
)
def test_usage_errors(run: Run, server: FakeServer, arguments: tuple[str, ...]) -> None:
    result = run("issue", *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert server.seen == []


def test_json_is_the_answer_of_the_api(run: Run, server: FakeServer, folder: Path) -> None:
    result = run("issue", "www.example.org", "--json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["id"] == CERTIFICATE
    assert shown["version"]["certificate"] == (folder / "www.example.org.crt").read_text()
    assert result.stderr == ""


# A slow CA


def slow(server: FakeServer, *states: Reply) -> None:
    csrs: list[str] = []

    def accept(seen: Seen) -> Reply:
        csrs.append(seen.json()["csr"])
        return Reply(202, certificate_view(None, status="pending"))

    server.on(*CREATE, accept)
    server.on("GET", f"/api/v1/orders/{ORDER}", *states)
    server.on(
        "GET",
        f"/api/v1/certificates/{CERTIFICATE}",
        lambda _: Reply(200, certificate_view(csrs[-1])),
    )


def test_a_slow_ca_is_waited_for(run: Run, server: FakeServer, folder: Path) -> None:
    slow(server, Reply(200, order_view("pending")), Reply(200, order_view("issued")))
    result = run("issue", "www.example.org")
    assert result.exit_code == 0, result.stderr
    assert names(folder) == FILES
    assert server.requests(*CREATE)[0].headers["prefer"] == "wait=10"


def test_the_server_may_be_away_while_somebody_waits(
    run: Run, server: FakeServer, folder: Path
) -> None:
    slow(
        server,
        Reply(200, order_view("pending")),
        Reply(lost=True),
        Reply(200, order_view("issued")),
    )
    assert run("issue", "www.example.org").exit_code == 0
    assert names(folder) == FILES


@pytest.mark.parametrize("state", ["pending", "ready", "uncertain"])
def test_when_the_wait_ends_first_the_key_stays(
    run: Run, server: FakeServer, folder: Path, state: str
) -> None:
    slow(server, Reply(200, order_view(state)))
    result = run("issue", "www.example.org", "--no-wait")
    assert result.exit_code == 7
    assert names(folder) == {"www.example.org.key"}
    assert f"Pending: order {ORDER} is {state}" in result.stderr
    assert f"certctl certs download {CERTIFICATE}" in result.stderr
    assert "www.example.org.key" in result.stderr
    assert "prefer" not in server.requests(*CREATE)[0].headers


def test_force_and_pending_leaves_the_pair_in_use_alone(
    run: Run, server: FakeServer, folder: Path
) -> None:
    for name in FILES:
        (folder / name).write_text("old")
    slow(server, Reply(200, order_view("pending")))
    result = run("issue", "www.example.org", "--force", "--no-wait")
    assert result.exit_code == 7
    assert all((folder / name).read_text() == "old" for name in FILES)
    new = folder / "www.example.org.key.new"
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert "mv www.example.org.key.new www.example.org.key" in result.stderr
    assert "--out www.example.org.chain.crt --force" in result.stderr

    again = run("issue", "www.example.org", "--force")
    assert again.exit_code == 2
    assert "of a request that was not finished" in again.stderr
    assert "rm www.example.org.key.new" in again.stderr


def test_pending_in_json(run: Run, server: FakeServer, folder: Path) -> None:
    slow(server, Reply(200, order_view("pending")))
    result = run("--json", "issue", "www.example.org", "--no-wait")
    assert result.exit_code == 7
    assert json.loads(result.stdout)["version"] is None
    assert json.loads(result.stderr)["type"] == "urn:certctl:problem:order-pending"


@pytest.mark.parametrize("state", ["rejected", "expired", "cancelled"])
def test_an_order_that_fails_leaves_nothing(
    run: Run, server: FakeServer, folder: Path, state: str
) -> None:
    slow(server, Reply(200, order_view(state, problem="the CA's own words")))
    result = run("issue", "www.example.org")
    assert result.exit_code == 8
    assert names(folder) == set()
    assert "the CA's own words" in result.stderr
    assert f"certctl orders show {ORDER}" in result.stderr


# Lost answers


def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    run: Run, server: FakeServer, folder: Path
) -> None:
    server.on(*CREATE, Reply(lost=True), issue_at_once)
    assert run("issue", "www.example.org").exit_code == 0
    first, second = server.requests(*CREATE)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    assert names(folder) == FILES


def test_when_no_answer_comes_the_same_request_can_be_repeated(
    run: Run, server: FakeServer, folder: Path
) -> None:
    server.on(*CREATE, problem(500, "internal-error"))
    result = run("issue", "www.example.org", "--days", "3", "--owner", "web team")
    assert result.exit_code == 1
    assert "may have been made all the same" in result.stderr
    assert names(folder) == {"www.example.org.key", "www.example.org.retry.csr"}
    sent = server.requests(*CREATE)[0]

    server.on(*CREATE, issue_at_once)
    hint = next(line for line in result.stderr.splitlines() if line.startswith("Hint: "))
    command = shlex.split(hint[hint.index("certctl issue ") :])
    assert run(*command[1:]).exit_code == 0
    repeated = server.requests(*CREATE)[-1]
    assert repeated.json() == sent.json()
    assert repeated.headers["idempotency-key"] == sent.headers["idempotency-key"]
    key = load_pem_private_key((folder / "www.example.org.key").read_bytes(), None)
    leaf = x509.load_pem_x509_certificate((folder / "www.example.org.crt").read_bytes())
    assert spki_of(leaf.public_key()) == spki_of(key.public_key())


def test_ctrl_c_before_the_answer_keeps_what_a_repetition_needs(
    server: FakeServer, folder: Path
) -> None:
    asked, over = threading.Event(), threading.Event()

    def hang(_: Seen) -> Reply:
        (folder / "asked").touch()
        asked.set()
        over.wait(30)
        return Reply(lost=True)

    server.on(*CREATE, hang)
    code, stderr = interrupted("issue", "www.example.org", when=folder / "asked")
    over.set()
    assert asked.is_set()
    assert code == 130
    assert "--idempotency-key" in stderr
    assert names(folder) == {"asked", "www.example.org.key", "www.example.org.retry.csr"}


def test_ctrl_c_while_waiting_is_a_wait_that_ended(server: FakeServer, folder: Path) -> None:
    slow(server)

    def tell(_: Seen) -> Reply:
        (folder / "polled").touch()
        return Reply(200, order_view("pending"))

    server.on("GET", f"/api/v1/orders/{ORDER}", tell)
    code, stderr = interrupted("issue", "www.example.org", when=folder / "polled")
    assert code == 7
    assert f"certctl certs download {CERTIFICATE}" in stderr
    assert names(folder) == {"polled", "www.example.org.key"}


def test_a_certificate_that_cannot_be_written_can_be_fetched(
    run: Run, server: FakeServer, folder: Path
) -> None:
    def take_the_place(seen: Seen) -> Reply:
        (folder / "www.example.org.crt").mkdir()
        return issue_at_once(seen)

    server.on(*CREATE, take_the_place)
    result = run("issue", "www.example.org")
    assert result.exit_code == 1
    assert (folder / "www.example.org.key").exists()
    assert f"certctl certs download {CERTIFICATE}" in result.stderr


def test_in_a_process_of_its_own(server: FakeServer, folder: Path) -> None:
    done = certctl("issue", "www.example.org")
    assert done.returncode == 0, done.stderr
    assert names(folder) == FILES
    assert done.stderr == ""
    again = certctl("issue", "www.example.org", "--json")
    assert again.returncode == 2
    assert json.loads(again.stderr)["type"] == "urn:certctl:problem:file-exists"
