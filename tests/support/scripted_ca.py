"""A certificate authority that answers as a test tells it, and keeps books of what it was asked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from certctl.ca.authority import CertificateAuthority, create_root
from certctl.connectors.config import ConnectorConfig
from certctl.connectors.contract import (
    CheckResult,
    ConnectorContext,
    ConnectorType,
    IssuanceRequest,
    IssuedCertificate,
    Pending,
    Reference,
    RevocationPending,
    RevocationRequest,
    Revoked,
)
from certctl.domain.keys import KeyType
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = IssuedCertificate | Pending | Exception | None


@dataclass
class Books:
    """What the CA was asked, in order: (action, order id, or the serial to be revoked)."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    #: `submitted_at` of each request in `asked`.
    submitted_at: list[int | None] = field(default_factory=list)

    def count(self, action: str) -> int:
        """How often that was asked."""
        return sum(1 for kind, _ in self.asked if kind == action)


class ScriptedCA:
    """Answers each call with the next step of its script.

    A step is "issue", "pending", "hang" (answers never), "wrong-key", "wrong-names", None (for a
    look-up: not found) or an exception to raise; the last step repeats. Revocations have a script
    of their own, with the steps "done", "pending", "hang" and exceptions; so have look-ups, where
    `lookups` is given.
    """

    def __init__(
        self,
        script: list[Any],
        recovery: Recovery = Recovery.ASK,
        revocations: list[Any] | None = None,
        lookups: list[Any] | None = None,
    ) -> None:
        now = time.time_ns() // 1_000_000
        key, certificate = create_root(common_name="Scripted CA", key_type=KeyType.P256, now_ms=now)
        self.authority = CertificateAuthority(key, certificate, ())
        self.script = list(script)
        self.revocations = list(revocations or ["done"])
        self.lookups = None if lookups is None else list(lookups)
        self.books = Books()
        self.recovery = recovery
        self.poll_max_wait = 600.0
        self.abilities = Abilities(hold=True)
        self.called = asyncio.Event()

    async def issue(self, request: IssuanceRequest) -> IssuedCertificate | Pending:
        answer = await self._answer("submit", request)
        assert answer is not None
        return answer

    async def poll(
        self, request: IssuanceRequest, reference: Reference
    ) -> IssuedCertificate | Pending:
        assert reference == {"id": request.order_id}
        answer = await self._answer("poll", request)
        assert answer is not None
        return answer

    async def lookup(self, request: IssuanceRequest) -> IssuedCertificate | Pending | None:
        return await self._answer("lookup", request)

    async def revoke(self, request: RevocationRequest) -> Revoked | RevocationPending:
        return await self._revoke("revoke", request)

    async def poll_revocation(
        self, request: RevocationRequest, reference: Reference
    ) -> Revoked | RevocationPending:
        assert reference == {"ticket": f"{request.certificate.serial_number:x}"}
        return await self._revoke("poll-revocation", request)

    async def release(self, request: RevocationRequest) -> Revoked | RevocationPending:
        return await self._revoke("release", request)

    async def _revoke(self, action: str, request: RevocationRequest) -> Revoked | RevocationPending:
        serial = f"{request.certificate.serial_number:x}"
        self.books.asked.append((action, serial))
        self.books.reasons.append(request.reason.value)
        self.called.set()
        script = self.revocations
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, Exception):
            raise step
        if step == "hang":
            await asyncio.Event().wait()
        if step == "pending":
            return RevocationPending({"ticket": serial})
        return Revoked()

    async def check(self) -> CheckResult:
        return CheckResult("scripted.test", "answers as told")

    def script_of(self, action: str) -> list[Any]:
        """The script that an answer is taken from."""
        return self.lookups if action == "lookup" and self.lookups is not None else self.script

    async def _answer(
        self, action: str, request: IssuanceRequest
    ) -> IssuedCertificate | Pending | None:
        self.books.asked.append((action, request.order_id))
        self.books.submitted_at.append(request.submitted_at)
        self.called.set()
        script = self.script_of(action)
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, Exception):
            raise step
        if step is None:
            return None
        if step == "hang":
            await asyncio.Event().wait()
        if step == "pending":
            return Pending({"id": request.order_id})
        return self._sign(request, step)

    def _sign(self, request: IssuanceRequest, step: str) -> IssuedCertificate:
        names = request.names
        public_key, spki = request.csr.public_key, request.csr.spki
        if step == "wrong-key":
            from certctl.pki.requests import parse_request
            from tests.support.pki import make_csr, make_key

            other = parse_request(make_csr(make_key(KeyType.P256, which=7), ["other.test"]))
            public_key, spki = other.public_key, other.spki
        if step == "wrong-names":
            names = names[1:]
        certificate = self.authority.issue(
            public_key=public_key,
            spki=spki,
            key_type=request.csr.key_type,
            common_name=None,
            names=names,
            usages=request.usages,
            validity_seconds=request.validity,
            must_staple=request.must_staple,
            now_ms=time.time_ns() // 1_000_000,
        )
        return IssuedCertificate(
            certificate, self.authority.chain, {"id": request.order_id, "serial": "1"}
        )


class ScriptedConfig(ConnectorConfig):
    """A scripted CA needs no settings."""

    env_prefix: ClassVar[str] = "CERTCTL_SCRIPTED_"


def finding(
    ca: ScriptedCA, default: Callable[[str], ConnectorType]
) -> Callable[[str], ConnectorType]:
    """A look-up of connector types that knows `Scripted` besides the real ones."""

    async def build(config: Any, context: ConnectorContext) -> ScriptedCA:
        del config, context
        return ca

    scripted = ConnectorType("Scripted", (), "Scripted CA", "iss-scripted", ScriptedConfig, build)

    def find(name: str) -> ConnectorType:
        return scripted if name == "Scripted" else default(name)

    return find
