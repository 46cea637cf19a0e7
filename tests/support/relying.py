"""Relying parties with OpenSSL's command line: they know a certificate and its CA, and ask."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from pathlib import Path

    import httpx2

BASE = "/.well-known/pki"
#: Straight to the server, whatever proxy the environment names.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Fetched:
    """What came back over plain HTTP."""

    status: int
    headers: Message
    body: bytes


def fetch(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Fetched:
    """GET, or POST a body."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))  # noqa: S310 - our own server
    try:
        with _direct.open(request, timeout=20) as answer:
            return Fetched(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Fetched(error.code, error.headers, error.read())


@dataclass(frozen=True)
class Party:
    """Somebody who was shown a certificate; files are in a folder of its own."""

    folder: Path
    certificate_id: str

    @property
    def leaf(self) -> Path:
        """The certificate."""
        return self.folder / "leaf.pem"

    @property
    def ca(self) -> Path:
        """Who issued it, which is trusted."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, read."""
        return x509.load_pem_x509_certificate(self.leaf.read_bytes())

    def openssl(self, *arguments: str | Path) -> str:
        """What a command of OpenSSL writes; AssertionError with its words when it fails."""
        code, output = self.try_openssl(*arguments)
        assert code == 0, output
        return output

    def try_openssl(self, *arguments: str | Path) -> tuple[int, str]:
        """The exit code of a command of OpenSSL, and what it writes."""
        done = subprocess.run(
            ["openssl", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
        )
        return done.returncode, done.stdout + done.stderr

    def ocsp(self, status_url: str, *options: str) -> str:
        """The verified answer to a POST, in OpenSSL's words; a nonce is sent unless told not to."""
        output = self.openssl(
            "ocsp", *options, "-issuer", self.ca, "-cert", self.leaf, "-CAfile", self.ca,
            "-url", f"{status_url}{BASE}/ocsp/iss-local",
        )  # fmt: skip
        assert "Response verify OK" in output, output
        return output

    def is_revoked(self, status_url: str) -> bool:
        """What a POST without a nonce says: an answer that may be kept."""
        output = self.ocsp(status_url, "-no_nonce")
        assert (": good" in output) != (": revoked" in output), output
        return ": revoked" in output

    def query(self) -> bytes:
        """A request without a nonce, as OpenSSL writes it."""
        path = self.folder / "request.der"
        self.openssl(
            "ocsp", "-issuer", self.ca, "-cert", self.leaf, "-no_nonce", "-reqout", path
        )  # fmt: skip
        return path.read_bytes()

    def read_answer(self, answer: bytes) -> str:
        """A verified answer in OpenSSL's words."""
        path = self.folder / "answer.der"
        path.write_bytes(answer)
        output = self.openssl(
            "ocsp", "-issuer", self.ca, "-cert", self.leaf, "-CAfile", self.ca,
            "-no_nonce", "-respin", path,
        )  # fmt: skip
        assert "Response verify OK" in output, output
        return output


def become_party(client: httpx2.Client, folder: Path, csr: str, **more: Any) -> Party:
    """Have a certificate issued, and be somebody who was shown it."""
    made = client.post("/api/v1/certificates", json={"issuer_id": "iss-local", "csr": csr, **more})
    assert made.status_code == 201, made.text
    body = made.json()
    folder.mkdir(parents=True, exist_ok=True)
    party = Party(folder, body["id"])
    party.leaf.write_text(body["version"]["certificate"])
    party.ca.write_text(body["version"]["chain"])
    return party
