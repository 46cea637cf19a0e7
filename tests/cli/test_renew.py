"""`certctl renew`: which key is used, what is sent, what is on disk after each way it can end."""

from __future__ import annotations

import json
import shlex
import stat
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key
from cryptography.x509.oid import NameOID

from certctl.domain.keys import KeyType
from certctl.pki.keys import spki_of
from certctl.pki.requests import parse_request
from tests.cli.fake_server import (
    CERTIFICATE,
    ORDER,
    FakeServer,
    Reply,
    Seen,
    certificate_view,
    issued_version,
    order_view,
    problem,
)
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

SHOW = ("GET", f"/api/v1/certificates/{CERTIFICATE}")
RENEW = ("POST", f"/api/v1/certificates/{CERTIFICATE}/renew")
FILES = {"www.example.org.crt", "www.example.org.chain.crt", "www.example.org.key"}


class Renewable:
    """A server that has one certificate, and renews it."""

    def __init__(self, server: FakeServer, key_type: KeyType = KeyType.P256, **more: Any) -> None:
        self.server = server
        self.hold(make_csr(make_key(key_type), ["www.example.org", "10.0.0.1"]), **more)

    def hold(self, csr: str, **more: Any) -> None:
        """Have a certificate that was made from this CSR."""
        self.csr = csr
        self.view = {**certificate_view(csr), **more}
        self.server.on(*SHOW, lambda _: Reply(200, self.view))
        self.server.on(*RENEW, self.renew_at_once)

    def renew_at_once(self, seen: Seen) -> Reply:
        self.issue(seen)
        return Reply(201, self.view)

    def issue(self, seen: Seen) -> None:
        """Make the next version the newest."""
        csr = seen.json().get("csr", self.csr)
        self.view = {**self.view, "version": issued_version(csr, "ver-2")}

    def slow(self, *states: Reply) -> None:
        """Renew as a slow CA does: when the order is seen to be issued, the version is there."""
        asked: list[Seen] = []

        def accept(seen: Seen) -> Reply:
            asked.append(seen)
            return Reply(202, self.view)

        def turn(reply: Reply) -> Any:
            def tell(_: Seen) -> Reply:
                if reply.body and reply.body["state"] == "issued":
                    self.issue(asked[-1])
                return reply

            return tell

        self.server.on(*RENEW, accept)
        self.server.on("GET", f"/api/v1/orders/{ORDER}", *map(turn, states))

    def sent(self) -> Seen:
        """The last request to renew."""
        return self.server.requests(*RENEW)[-1]


@pytest.fixture
def renewable(server: FakeServer) -> Renewable:
    """A server with a certificate of www.example.org and 10.0.0.1."""
    return Renewable(server)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def leaf_of(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def pair_fits(folder: Path, stem: str = "www.example.org", key: str | None = None) -> bool:
    private = load_key((folder / (key or f"{stem}.key")).read_bytes(), None)
    return spki_of(leaf_of(folder / f"{stem}.crt").public_key()) == spki_of(private.public_key())


def test_a_new_key_is_made_here_and_only_its_request_is_sent(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    result = run("renew", CERTIFICATE, "--days", "30")
    assert result.exit_code == 0, result.stderr
    assert names(folder) == FILES
    assert stat.S_IMODE((folder / "www.example.org.key").stat().st_mode) == 0o600
    assert pair_fits(folder)
    chain = x509.load_pem_x509_certificates((folder / "www.example.org.chain.crt").read_bytes())
    chain[0].verify_directly_issued_by(chain[1])
    assert f"Renewed {CERTIFICATE}" in result.stdout

    sent = renewable.sent()
    assert set(sent.json()) == {"csr", "validity_days"}
    assert sent.json()["validity_days"] == 30
    request = parse_request(sent.json()["csr"])
    assert [str(name) for name in request.names] == ["dns:www.example.org", "ip:10.0.0.1"]
    assert request.common_name is None
    assert request.spki != parse_request(renewable.csr).spki
    assert sent.headers["idempotency-key"]
    assert sent.headers["prefer"] == "wait=10"


def test_the_request_is_for_all_that_is_in_the_certificate(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    own = ["urn:example:service", "spiffe://example.org/api", "ann@example.org", "localhost"]
    renewable.hold(
        make_csr(make_key(), [f"uri:{own[0]}", *own[1:]], "An Example"), common_name="An Example"
    )
    assert run("renew", CERTIFICATE).exit_code == 0
    request = parse_request(renewable.sent().json()["csr"])
    kinds = [str(name).partition(":")[0] for name in request.names]
    assert [name.value for name in request.names] == own
    assert kinds == ["uri", "uri", "email", "dns"]
    assert request.common_name == "An Example"


def test_a_certificate_without_names_has_its_common_name(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    renewable.view = {**renewable.view, "names": [], "common_name": "Example Build"}
    assert run("renew", CERTIFICATE).exit_code == 0
    sent = x509.load_pem_x509_csr(renewable.sent().json()["csr"].encode())
    (common_name,) = sent.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert common_name.value == "Example Build"
    assert "Example_Build.crt" in names(folder)


@pytest.mark.parametrize(
    ("present", "choice", "kind", "bits"),
    [
        (KeyType.RSA, None, rsa.RSAPrivateKey, 2048),
        (KeyType.P384, None, ec.EllipticCurvePrivateKey, 384),
        (KeyType.ED25519, None, ed25519.Ed25519PrivateKey, None),
        (KeyType.RSA, "ecdsa-p256", ec.EllipticCurvePrivateKey, 256),
        (KeyType.P521, "ecdsa-p384", ec.EllipticCurvePrivateKey, 384),
    ],
)
def test_the_new_key_is_of_the_present_kind_unless_another_is_chosen(
    run: Run,
    server: FakeServer,
    folder: Path,
    present: KeyType,
    choice: str | None,
    kind: type,
    bits: int | None,
) -> None:
    Renewable(server, present)
    chosen = () if choice is None else ("--key-type", choice)
    result = run("renew", CERTIFICATE, *chosen)
    assert result.exit_code == 0, result.stderr
    key = load_key((folder / "www.example.org.key").read_bytes(), None)
    assert isinstance(key, kind)
    assert bits is None or key.key_size == bits  # type: ignore[union-attr]


def test_a_present_key_of_a_kind_that_is_not_made(
    run: Run, server: FakeServer, folder: Path
) -> None:
    Renewable(server, KeyType.P521)
    result = run("renew", CERTIFICATE)
    assert result.exit_code == 3
    assert "--key-type" in result.stderr
    assert server.requests(*RENEW) == []
    assert names(folder) == set()


def test_the_same_key_needs_no_request_and_leaves_the_key_alone(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    (folder / "www.example.org.key").write_text("in use")
    result = run("renew", CERTIFICATE, "--same-key")
    assert result.exit_code == 0, result.stderr
    assert renewable.sent().json() == {}
    assert names(folder) == FILES
    assert (folder / "www.example.org.key").read_text() == "in use"
    leaf = leaf_of(folder / "www.example.org.crt")
    assert spki_of(leaf.public_key()) == parse_request(renewable.csr).spki


def test_a_key_that_is_there_is_used(run: Run, renewable: Renewable, folder: Path) -> None:
    pem = make_key(which=7).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    (folder / "mine.key").write_bytes(pem)
    assert run("renew", CERTIFICATE, "--key", "mine.key").exit_code == 0
    assert names(folder) == {"mine.key", "www.example.org.crt", "www.example.org.chain.crt"}
    assert pair_fits(folder, key="mine.key")


def test_a_request_that_is_there_is_sent_as_it_is(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    csr = make_csr(make_key(which=7), ["www.example.org"])
    (folder / "mine.csr").write_text(csr)
    assert run("renew", CERTIFICATE, "--csr", "mine.csr").exit_code == 0
    assert renewable.sent().json() == {"csr": csr}
    assert names(folder) == {"mine.csr", "www.example.org.crt", "www.example.org.chain.crt"}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (CERTIFICATE, "--same-key", "--key-type", "rsa-2048"),
        (CERTIFICATE, "--same-key", "--csr", "x.csr"),
        (CERTIFICATE, "--key", "x.key", "--csr", "x.csr"),
        (CERTIFICATE, "--key", "x.key", "--key-type", "rsa-2048"),
        (CERTIFICATE, "--days", "0"),
    ],
)
def test_usage_errors(run: Run, server: FakeServer, arguments: tuple[str, ...]) -> None:
    result = run("renew", *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert server.seen == []


# Files that are there


@pytest.mark.parametrize("taken", sorted(FILES))
def test_no_file_is_replaced_without_force(
    run: Run, renewable: Renewable, folder: Path, taken: str
) -> None:
    (folder / taken).write_text("mine")
    result = run("renew", CERTIFICATE)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert names(folder) == {taken}
    assert (folder / taken).read_text() == "mine"
    assert renewable.server.requests(*RENEW) == []


def old_pair(folder: Path) -> None:
    for name in FILES:
        (folder / name).write_text("old")


def test_the_old_key_is_replaced_when_the_new_certificate_is_there(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    old_pair(folder)
    at_the_request: list[str] = []

    def look(seen: Seen) -> Reply:
        at_the_request.append((folder / "www.example.org.key").read_text())
        assert (
            pair_key(folder / "www.example.org.key.new") == parse_request(seen.json()["csr"]).spki
        ), "it is on disk before its request is sent"
        return renewable.renew_at_once(seen)

    renewable.server.on(*RENEW, look)
    result = run("renew", CERTIFICATE, "--force")
    assert result.exit_code == 0, result.stderr
    assert at_the_request == ["old"]
    assert names(folder) == FILES
    assert pair_fits(folder)


def pair_key(path: Path) -> bytes:
    return spki_of(load_key(path.read_bytes(), None).public_key())


@pytest.mark.parametrize(
    ("reply", "exit_code"),
    [
        (problem(409, "certificate-revoked"), 3),
        (problem(409, "order-open"), 3),
        (problem(422, "key-reused", field="csr"), 3),
        (problem(403, "forbidden"), 5),
        (problem(503, "issuer-not-ready"), 4),
    ],
)
def test_a_refusal_leaves_the_old_pair_as_it_was(
    run: Run, renewable: Renewable, folder: Path, reply: Reply, exit_code: int
) -> None:
    old_pair(folder)
    renewable.server.on(*RENEW, reply)
    result = run("renew", CERTIFICATE, "--force")
    assert result.exit_code == exit_code
    assert "Error: the detail of" in result.stderr
    assert names(folder) == FILES
    assert all((folder / name).read_text() == "old" for name in FILES)


def test_what_was_never_issued_cannot_be_renewed(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    renewable.view = {**renewable.view, "version": None}
    result = run("renew", CERTIFICATE)
    assert result.exit_code == 3
    assert f"certctl orders show {ORDER}" in result.stderr
    assert renewable.server.requests(*RENEW) == []
    assert names(folder) == set()


# A slow CA


def test_the_old_version_is_not_taken_for_the_new_one(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    renewable.slow(Reply(200, order_view("pending")), Reply(200, order_view("issued")))
    result = run("renew", CERTIFICATE)
    assert result.exit_code == 0, result.stderr
    assert names(folder) == FILES
    assert pair_fits(folder)


def test_when_the_wait_ends_first_the_old_pair_stays_and_the_new_key_too(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    old_pair(folder)
    renewable.slow(Reply(200, order_view("pending")))
    result = run("renew", CERTIFICATE, "--force", "--no-wait", "--json")
    assert result.exit_code == 7
    assert all((folder / name).read_text() == "old" for name in FILES)
    assert names(folder) == {*FILES, "www.example.org.key.new"}
    assert json.loads(result.stdout)["id"] == CERTIFICATE
    said = json.loads(result.stderr)
    assert said["type"] == "urn:certctl:problem:order-pending"
    download = (
        f"certctl certs download {CERTIFICATE} --format chain --out www.example.org.chain.crt"
    )
    assert f"{download} --force" in said["hint"]
    assert "mv www.example.org.key.new www.example.org.key" in said["hint"]
    assert "prefer" not in renewable.sent().headers


def test_an_order_that_waits_for_a_new_key(run: Run, renewable: Renewable, folder: Path) -> None:
    waits = order_view("awaiting_csr", problem="waits for a CSR with a new key")
    renewable.slow(Reply(200, waits))
    result = run("renew", CERTIFICATE, "--same-key")
    assert result.exit_code == 7
    assert "waits for a CSR with a new key" in result.stderr
    assert f"Hint: continue it with a new key: certctl renew {CERTIFICATE}\n" in result.stderr
    assert names(folder) == set()


def test_an_order_that_fails_leaves_the_old_pair(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    old_pair(folder)
    renewable.slow(Reply(200, order_view("rejected", problem="the CA's own words")))
    result = run("renew", CERTIFICATE, "--force")
    assert result.exit_code == 8
    assert "the CA's own words" in result.stderr
    assert names(folder) == FILES
    assert all((folder / name).read_text() == "old" for name in FILES)


# Lost answers


def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    renewable.server.on(*RENEW, Reply(lost=True), renewable.renew_at_once)
    assert run("renew", CERTIFICATE).exit_code == 0
    first, second = renewable.server.requests(*RENEW)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    assert pair_fits(folder)


@pytest.mark.parametrize("same_key", [False, True])
def test_when_no_answer_comes_the_same_request_can_be_repeated(
    run: Run, renewable: Renewable, folder: Path, same_key: bool
) -> None:
    renewable.server.on(*RENEW, problem(500, "internal-error"))
    chosen = ("--same-key",) if same_key else ()
    result = run("renew", CERTIFICATE, "--days", "3", *chosen)
    assert result.exit_code == 1
    kept = {"www.example.org.key", "www.example.org.retry.csr"}
    assert names(folder) == (set() if same_key else kept)
    sent = renewable.sent()

    renewable.server.on(*RENEW, renewable.renew_at_once)
    hint = next(line for line in result.stderr.splitlines() if line.startswith("Hint: "))
    command = shlex.split(hint[hint.index("certctl renew ") :])
    assert run(*command[1:]).exit_code == 0
    repeated = renewable.sent()
    assert repeated.json() == sent.json()
    assert repeated.headers["idempotency-key"] == sent.headers["idempotency-key"]
    assert same_key or pair_fits(folder)


def test_a_repetition_finds_what_is_the_newest_version_already(
    run: Run, renewable: Renewable, folder: Path
) -> None:
    renewable.server.on(*RENEW, Reply(201, renewable.view))
    renewable.server.on("GET", f"/api/v1/orders/{ORDER}", Reply(200, order_view("issued")))
    result = run("renew", CERTIFICATE, "--same-key", "--idempotency-key", "as-before")
    assert result.exit_code == 0, result.stderr
    assert renewable.sent().headers["idempotency-key"] == "as-before"
    written = (folder / "www.example.org.crt").read_text()
    assert written == renewable.view["version"]["certificate"]
