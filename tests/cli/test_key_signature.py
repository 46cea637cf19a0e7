"""`--key-signature` of `certctl issue` and `certctl renew`: made here, sent along, or refused."""

from __future__ import annotations

import base64
import json
import shlex
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certctl.domain.keys import KeyType
from certctl.pki.key_signatures import parse_key_signature, sign_key
from certctl.pki.requests import parse_request
from tests.cli.fake_server import (
    CERTIFICATE,
    Reply,
    certificate_view,
    issue_at_once,
    issued_version,
    problem,
)
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer, Seen

CREATE = ("POST", "/api/v1/certificates")
SHOW = ("GET", f"/api/v1/certificates/{CERTIFICATE}")
RENEW = ("POST", f"/api/v1/certificates/{CERTIFICATE}/renew")
ISSUE_COMMAND = ("issue", "www.example.org")
RENEW_COMMAND = ("renew", CERTIFICATE)
COMMANDS = [(ISSUE_COMMAND, CREATE), (RENEW_COMMAND, RENEW)]
OF_CSR = [(("issue",), CREATE), (RENEW_COMMAND, RENEW)]


@pytest.fixture
def both(server: FakeServer) -> FakeServer:
    """A server that issues at once, and renews its one certificate."""
    hold(server, KeyType.P256)
    return server


def hold(server: FakeServer, key_type: KeyType) -> None:
    """Have a certificate with a key of that type."""
    view = certificate_view(make_csr(make_key(key_type), ["www.example.org"]))
    server.on(*SHOW, Reply(200, view))
    server.on(
        *RENEW,
        lambda seen: Reply(201, {**view, "version": issued_version(seen.json()["csr"], "ver-2")}),
    )


def is_good(seen: Seen) -> bool:
    """Whether the signature is one over the public key of the CSR; else InvalidInput."""
    body = seen.json()
    return bool(parse_key_signature(body["key_signature"], parse_request(body["csr"])))


def write_key(folder: Path, key_type: KeyType) -> None:
    pem = make_key(key_type).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "mine.key").write_bytes(pem)


def repeat(run: Run, result: Result) -> Result:
    """Run the command that a hint names."""
    hint = next(line for line in result.stderr.splitlines() if line.startswith("Hint: "))
    return run(*shlex.split(hint[hint.index("certctl ") :])[1:])


@pytest.mark.parametrize("choice", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
@pytest.mark.parametrize(("command", "address"), COMMANDS)
def test_it_is_made_with_the_new_key(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
    choice: str,
) -> None:
    result = run(*command, "--key-signature", "--key-type", choice)
    assert result.exit_code == 0, result.stderr
    (seen,) = both.requests(*address)
    assert is_good(seen)
    assert "PRIVATE" not in seen.body.decode()
    assert {path.suffix for path in folder.iterdir()} == {".crt", ".key"}


@pytest.mark.parametrize("key_type", [KeyType.P521, KeyType.RSA])
@pytest.mark.parametrize(("command", "address"), COMMANDS)
def test_it_is_made_with_the_key_that_is_there(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
    key_type: KeyType,
) -> None:
    write_key(folder, key_type)
    result = run(*command, "--key-signature", "--key", "mine.key")
    assert result.exit_code == 0, result.stderr
    (seen,) = both.requests(*address)
    assert is_good(seen)
    assert parse_request(seen.json()["csr"]).key_type is key_type


@pytest.mark.parametrize(("command", "address"), COMMANDS)
def test_unasked_none_is_sent(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
) -> None:
    assert run(*command).exit_code == 0
    (seen,) = both.requests(*address)
    assert "key_signature" not in seen.json()


# Keys that it is not defined for


@pytest.mark.parametrize(("command", "address"), COMMANDS)
def test_a_new_key_of_another_kind_is_refused_before_it_is_sent(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
) -> None:
    result = run(*command, "--key-signature", "--key-type", "ed25519", "--json")
    assert result.exit_code == 3
    said = json.loads(result.stderr)
    assert said["type"] == "urn:certctl:problem:key-signature-key-type"
    assert "--key-type" in said["hint"]
    assert both.requests(*address) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("key_type", [KeyType.ED25519, KeyType.ED448])
@pytest.mark.parametrize(("command", "address"), COMMANDS)
def test_so_is_a_key_that_is_there(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
    key_type: KeyType,
) -> None:
    write_key(folder, key_type)
    result = run(*command, "--key-signature", "--key", "mine.key")
    assert result.exit_code == 3
    assert "RSA and ECDSA" in result.stderr
    assert "Hint: " in result.stderr
    assert both.requests(*address) == []


def test_a_renewal_of_such_a_certificate_says_to_choose_another_kind(
    run: Run, server: FakeServer, folder: Path
) -> None:
    hold(server, KeyType.ED25519)
    result = run(*RENEW_COMMAND, "--key-signature")
    assert result.exit_code == 3
    assert "--key-type" in result.stderr
    assert server.requests(*RENEW) == []
    assert run(*RENEW_COMMAND, "--key-signature", "--key-type", "ecdsa-p256").exit_code == 0
    assert is_good(server.requests(*RENEW)[0])


# With a CSR that is there


@pytest.mark.parametrize("octets", [True, False], ids=["octets", "base64"])
@pytest.mark.parametrize(("command", "address"), OF_CSR)
def test_one_that_another_tool_made_goes_with_its_csr(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
    octets: bool,
) -> None:
    key = make_key(KeyType.RSA)
    (folder / "mine.csr").write_text(make_csr(key, ["www.example.org"]))
    text = sign_key(key)
    content = base64.b64decode(text) if octets else text.encode()
    (folder / "mine.sig").write_bytes(content)
    result = run(*command, "--csr", "mine.csr", "--key-signature-file", "mine.sig")
    assert result.exit_code == 0, result.stderr
    (seen,) = both.requests(*address)
    assert seen.json()["key_signature"] == text
    assert is_good(seen)


@pytest.mark.parametrize(("command", "address"), OF_CSR)
@pytest.mark.parametrize("size", [0, 3_000])
def test_a_file_that_is_no_signature_is_not_sent(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
    size: int,
) -> None:
    (folder / "mine.csr").write_text(make_csr(make_key(), ["www.example.org"]))
    (folder / "mine.sig").write_bytes(b"\xff" * size)
    result = run(*command, "--csr", "mine.csr", "--key-signature-file", "mine.sig")
    assert result.exit_code == 3
    assert "key_signature" in result.stderr
    assert both.requests(*address) == []


@pytest.mark.parametrize(
    ("arguments", "next_step"),
    [
        (("issue", "--csr", "x.csr", "--key-signature"), "--key-signature-file"),
        (("issue", "www.example.org", "--key-signature-file", "x.sig"), "--csr"),
        (("renew", CERTIFICATE, "--csr", "x.csr", "--key-signature"), "--key-signature-file"),
        (("renew", CERTIFICATE, "--key-signature-file", "x.sig"), "--csr"),
        (("renew", CERTIFICATE, "--same-key", "--key-signature"), "--key "),
        (("renew", CERTIFICATE, "--same-key", "--key-signature-file", "x.sig"), "--key "),
    ],
)
def test_usage_errors_say_what_to_do_instead(
    run: Run, both: FakeServer, arguments: tuple[str, ...], next_step: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    words = " ".join(result.stderr.split())
    assert next_step in words[words.index("Error: ") :] + " "
    assert both.seen == []


# Lost answers


@pytest.mark.parametrize(("command", "address"), COMMANDS)
def test_a_repetition_sends_the_same_signature(
    run: Run,
    both: FakeServer,
    folder: Path,
    command: tuple[str, ...],
    address: tuple[str, str],
) -> None:
    at_once = both.answers[address] if address == RENEW else [issue_at_once]
    both.on(*address, problem(500, "internal-error"))
    lost = run(*command, "--key-signature")
    assert lost.exit_code == 1
    assert (folder / "www.example.org.retry.sig").exists()
    sent = both.requests(*address)[-1]
    both.on(*address, *at_once)
    result = repeat(run, lost)
    assert result.exit_code == 0, result.stderr
    repeated = both.requests(*address)[-1]
    assert is_good(repeated)
    assert repeated.json() == sent.json()
    assert repeated.headers["idempotency-key"] == sent.headers["idempotency-key"]


def test_a_repetition_names_the_file_that_was_given(
    run: Run, both: FakeServer, folder: Path
) -> None:
    key = make_key()
    (folder / "mine.csr").write_text(make_csr(key, ["www.example.org"]))
    (folder / "mine.sig").write_text(sign_key(key))
    both.on(*CREATE, problem(500, "internal-error"))
    lost = run("issue", "--csr", "mine.csr", "--key-signature-file", "mine.sig")
    assert "--key-signature-file mine.sig" in lost.stderr
    assert {path.name for path in folder.iterdir()} == {"mine.csr", "mine.sig"}
    both.on(*CREATE, issue_at_once)
    assert repeat(run, lost).exit_code == 0
    first, *_, last = both.requests(*CREATE)
    assert first.json() == last.json()
