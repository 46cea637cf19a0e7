"""A small HTTPS server that answers as certctl's API does, or as a test tells it to."""

from __future__ import annotations

import json
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel, Field, SecretStr

from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.usages import Usage
from certctl.pki.certificates import chain_pem, to_pem
from certctl.pki.keys import generate_key, spki_of
from certctl.pki.requests import parse_request
from certctl.schemas.issuers import MASK
from tests.support.pki import make_live_authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certctl.ca.authority import CertificateAuthority
    from certctl.domain.names import Name
    from certctl.pki.keys import SubjectKey

KEY = "planted-api-key"
CERTIFICATE = "cert-01m884jtm8b523emct2shtxtx7"
ORDER = "ord-01m884jtm80jh8x32qj3s1nvkk"
BULK = "bulk-01m884jtm80jh8x32qj3s1nvkk"
KEY_ID = "01m884jtm80jh8x32qj3s1nvkk"
NOW = "2026-01-01T12:00:00Z"


class AcmeMode(StrEnum):
    """Named apart from the model, as a choice may be."""

    TEST = "test"
    LIVE = "live"


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer; `lost` closes the connection instead."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False


def key_view(**more: Any) -> dict[str, Any]:
    """An API key with a scope, without the key itself."""
    return {
        "id": KEY_ID,
        "name": "deploy tool",
        "role": "operator",
        "scope": {"issuers": ["iss-local"], "profiles": None, "names": ["*.example.org"]},
        "status": "active",
        "created_by": "admin",
        "created_at": NOW,
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
        **more,
    }


def problem(status: int, code: str, **more: Any) -> Reply:
    """A problem document."""
    body = {
        "type": f"urn:certctl:problem:{code}",
        "title": "Title",
        "status": status,
        "detail": f"the detail of {code}",
        "field": None,
        "hint": "the hint",
        "request_id": "0123456789abcdef",
    }
    return Reply(status, {**body, **more})


@cache
def authority() -> CertificateAuthority:
    """The CA behind the server, made once."""
    return make_live_authority()


def issue(key: SubjectKey, names: tuple[Name, ...], common_name: str | None = None) -> str:
    """A certificate in PEM."""
    certificate = authority().issue(
        public_key=key,
        spki=spki_of(key),
        key_type=KeyType.P256,
        common_name=common_name,
        names=names,
        usages=(Usage.SERVER_AUTH,),
        validity_seconds=30 * 86_400,
        must_staple=False,
        now_ms=time.time_ns() // 1_000_000,
    )
    return to_pem(certificate.public_bytes(Encoding.DER))


def revocation_view(state: str = "confirmed", **more: Any) -> dict[str, Any]:
    """What a revoked version has."""
    return {
        "id": "rev-1",
        "reason": "keyCompromise",
        "action": "revoke",
        "state": state,
        "problem": None,
        "revoked_at": NOW,
        "due_at": None,
        "updated_at": NOW,
        **more,
    }


def version_view(number: int = 1, **more: Any) -> dict[str, Any]:
    """A version whose PEM nobody looks at."""
    return {
        "id": f"ver-{number:026d}",
        "serial": f"{number:040x}",
        "not_before": NOW,
        "not_after": "2126-01-01T12:00:00Z",
        "certificate": "-----BEGIN CERTIFICATE-----\n",
        "chain": "",
        "revocation": None,
        **more,
    }


def issued_version(csr: str, version_id: str = "ver-1") -> dict[str, Any]:
    """A version with a certificate for a CSR."""
    request = parse_request(csr)
    return version_view(
        id=version_id,
        serial="5d1c",
        certificate=issue(request.public_key, request.names, request.common_name),
        chain=chain_pem(authority().chain),
    )


def certificate_view(csr: str | None, *, status: str = "issued", **more: Any) -> dict[str, Any]:
    """What POST and GET answer with."""
    names = ["www.example.org"]
    version = None
    if csr is not None:
        names = [name.value for name in parse_request(csr).names]
        version = issued_version(csr)
    return {
        "id": CERTIFICATE,
        "status": status,
        "issuer_id": "iss-local",
        "profile_id": "prof-tls-server",
        "common_name": None,
        "names": names,
        "owner": None,
        "labels": {},
        "order_id": ORDER,
        "version": version,
        "renew_at": None,
        "archived_at": None,
        "created_at": NOW,
        "updated_at": NOW,
        **more,
    }


def order_view(state: str, **more: Any) -> dict[str, Any]:
    """What GET /orders/{id} answers with."""
    return {
        "id": ORDER,
        "state": state,
        "certificate_id": CERTIFICATE,
        "issuer_id": "iss-slow",
        "version_id": None,
        "problem": None,
        "reference": None,
        "attempts": 1,
        "due_at": None,
        "created_at": NOW,
        "updated_at": NOW,
        "history": [],
        **more,
    }


def summary(number: int, **more: Any) -> dict[str, Any]:
    """A row of the inventory."""
    return {
        "id": f"cert-{number:026d}",
        "status": "issued",
        "issuer_id": "iss-local",
        "profile_id": "prof-tls-server",
        "common_name": None,
        "names": [f"www{number}.a-rather-long-name.example.org", "localhost", "127.0.0.1"],
        "owner": "web team",
        "serial": "5d1c",
        "not_after": "2126-01-01T12:00:00Z",
        "renew_at": None,
        "created_at": NOW,
        **more,
    }


def revocation_line(number: int, state: str = "confirmed", **more: Any) -> dict[str, Any]:
    """A row of the list of revocations."""
    return {
        **revocation_view(state),
        "id": f"rev-{number:026d}",
        "certificate_id": f"cert-{number:026d}",
        "version_id": f"ver-{number:026d}",
        "issuer_id": "iss-local",
        "serial": f"{number:040x}",
        "bulk_id": None,
        **more,
    }


def bulk_view(state: str = "done", **more: Any) -> dict[str, Any]:
    """A bulk revocation."""
    return {
        "id": BULK,
        "filter": {"owner": "web team", "issued_after": NOW},
        "reason": "keyCompromise",
        "state": state,
        "total": 3,
        "done": 3,
        "revocations": {"confirmed": 3},
        "actor": "admin",
        "created_at": NOW,
        "updated_at": NOW,
        **more,
    }


def issuer_view(issuer_id: str = "iss-acme", **more: Any) -> dict[str, Any]:
    """An issuer over the API, with a secret set."""
    return {
        "id": issuer_id,
        "name": "ACME Trust",
        "type": "AcmeTrust",
        "config": {"api_url": "https://ca.example.org", "password": MASK},
        "enabled": True,
        "limits": {"max_concurrency": None, "max_calls_per_minute": None},
        "source": "api",
        "environment": None,
        "status": "ready",
        "problem": None,
        "condition": None,
        "check": None,
        "revision": 3,
        "created_at": NOW,
        "updated_at": NOW,
        **more,
    }


def profile_view(profile_id: str = "prof-shop", **more: Any) -> dict[str, Any]:
    """A profile."""
    return {
        "id": profile_id,
        "name": "Shop",
        "description": "",
        "key_types": ["ecdsa-p256", "rsa"],
        "rsa_min_bits": 2048,
        "usages": ["serverAuth"],
        "name_kinds": ["dns"],
        "name_patterns": None,
        "allowed_issuers": None,
        "default_validity_seconds": 90 * 86_400,
        "max_validity_seconds": 397 * 86_400,
        "must_staple": False,
        "new_key_on_renewal": False,
        "enabled": True,
        "revision": 3,
        "archived_at": None,
        "created_at": NOW,
        "updated_at": NOW,
        "warnings": [],
        **more,
    }


def check_view(status: str = "ok", **more: Any) -> dict[str, Any]:
    """What came of testing an issuer."""
    return {
        "status": status,
        "detail": "logged in",
        "code": None,
        "host": "ca.example.org",
        "checked_at": NOW,
        "duration_ms": 85,
        **more,
    }


class AcmeConfig(BaseModel):
    """Settings of every kind that a connector may have."""

    poll_max_wait_seconds: int = Field(default=600, ge=1, le=86_400)
    api_url: str = Field(description="Address of the CA's API")
    password: SecretStr = Field(description="Password of the account")
    pin: SecretStr | None = Field(default=None, description="PIN of the account")
    speed: Literal["fast", "slow"] = Field(default="fast", description="How the CA is to work")
    key_bits: Literal[2048, 4096] = 2048
    mode: AcmeMode = Field(default=AcmeMode.TEST, description="Which of the CA's systems")
    rate: float = 1.5
    verbose: bool = False
    groups: list[str] = Field(default=[], description="Groups, most important first")
    ports: tuple[int, ...] = ()
    limit: int | None = Field(default=None, description="Greatest number")
    labels: dict[str, str] = {}


def type_view(name: str = "AcmeTrust", model: type[BaseModel] = AcmeConfig) -> dict[str, Any]:
    """A type of issuer."""
    return {
        "name": name,
        "aliases": ["acmetrust", "trust"],
        "title": f"{name} Certificate Services",
        "env_prefix": "CERTCTL_ACME_TRUST_",
        "config_schema": model.model_json_schema(),
    }


@dataclass
class FakeServer:
    """Answers by method and path; each request is kept."""

    url: str
    ca: Path
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead a client here."""
        return {
            "CERTCTL_SERVER_URL": self.url,
            "CERTCTL_API_KEY": KEY,
            "CERTCTL_CA_BUNDLE": str(self.ca),
        }

    def on(self, method: str, path: str, *replies: Reply | Callable[[Seen], Reply]) -> None:
        """Answer so, one reply after the other; the last one stays."""
        self.answers[method, path] = list(replies)

    def requests(self, method: str, path: str) -> list[Seen]:
        """What came for an address."""
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    def answer(self, seen: Seen) -> Reply:
        """The next reply to a request."""
        self.seen.append(seen)
        if seen.path.startswith("/api/") and seen.headers.get("authorization") != f"Bearer {KEY}":
            return problem(401, "api-key-unknown")
        replies = self.answers.get((seen.method, seen.path))
        if replies is None:
            return problem(404, "route-not-found")
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        told: Reply = reply(seen) if callable(reply) else reply
        return told


def issue_at_once(seen: Seen) -> Reply:
    """The Local CA's way."""
    return Reply(201, certificate_view(seen.json()["csr"]))


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            reply = server.answer(Seen(self.command, parts.path, query, headers, body))
            self.close_connection = True
            if reply.lost:
                return
            content = reply.body
            if reply.status == 204:
                content = b""
            elif not isinstance(content, bytes):
                content = json.dumps(content).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the base class looks for these names

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def fake_server(
    folder: Path, names: tuple[str, ...] = ("localhost", "127.0.0.1")
) -> Iterator[FakeServer]:
    """A server on a free port of loopback, with a certificate that `ca.pem` in `folder` vouches
    for."""
    key = generate_key(KeyType.P256)
    leaf = issue(key.public_key(), parse_names(names))
    pair = folder / "tls.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    pair.write_text(private + leaf + chain_pem(authority().chain))
    ca = folder / "ca.pem"
    ca.write_text(chain_pem(authority().chain[-1:]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)

    server = FakeServer("", ca)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.socket = context.wrap_socket(http.socket, server_side=True)
    server.url = f"https://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
