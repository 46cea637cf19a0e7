"""The status service inside the test's own process, and relying parties that ask it."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import event, update

from certctl.api.status import StatusApp
from certctl.connectors.contract import ExposesChain, SignsStatus
from certctl.connectors.registry import connector_type
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.assembly import UseCases, assemble
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.lifecycle.seeding import LOCAL_ISSUER_ID, seed
from certctl.storage import tables
from certctl.storage.crls import LEASES, get_crl
from tests.support.asgi import request
from tests.support.control_plane import FAST
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sqlalchemy import Table

    from certctl.connectors.contract import ConnectorType
    from certctl.storage.crls import CrlRecord
    from certctl.storage.database import Database, Transaction
    from tests.support.asgi import Reply

ISSUER = LOCAL_ISSUER_ID
BASE = "/.well-known/pki"


@dataclass(frozen=True)
class Issued:
    """A certificate of the Local CA."""

    id: str
    version_id: str
    certificate: x509.Certificate
    issuer: x509.Certificate

    @property
    def serial(self) -> int:
        """Its serial number."""
        return self.certificate.serial_number

    def query(
        self,
        *,
        nonce: bytes | None = None,
        algorithm: hashes.HashAlgorithm | None = None,
        padding: int = 0,
    ) -> bytes:
        """An OCSP request about it; `padding` makes it that much longer, without a meaning."""
        builder = ocsp.OCSPRequestBuilder().add_certificate(
            self.certificate,
            self.issuer,
            algorithm or hashes.SHA1(),  # noqa: S303 - as clients do
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        if padding:
            oids = [x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.1")] * (padding // 11 + 1)
            builder = builder.add_extension(x509.OCSPAcceptableResponses(oids), critical=False)
        return builder.build().public_bytes(Encoding.DER)


def as_text(query: bytes) -> str:
    """A query as it stands in the path of a GET."""
    return base64.b64encode(query).decode()


@dataclass(frozen=True)
class StatusService:
    """One process's worth of it."""

    database: Database
    catalog: Catalog
    its: UseCases
    app: StatusApp

    @property
    def connector(self) -> SignsStatus:
        """The Local CA."""
        connector = self.catalog.issuer(ISSUER).connector
        assert isinstance(connector, SignsStatus)
        return connector

    @property
    def ca(self) -> x509.Certificate:
        """Its certificate."""
        connector = self.catalog.issuer(ISSUER).connector
        assert isinstance(connector, ExposesChain)
        return connector.chain()[0]

    async def issue(self, name: str = "www.example.org", *, days: int | None = None) -> Issued:
        """Have the Local CA issue a certificate."""
        enrolled = await self.its.enrolment.enrol(
            SYSTEM,
            EnrolmentRequest(
                issuer_id=ISSUER,
                profile_id="prof-tls-server",
                csr=make_csr(make_key(KeyType.P256), [name]),
                validity_days=days,
            ),
        )
        version = enrolled.certificate.version
        assert version is not None
        return Issued(
            enrolled.certificate.id,
            version.id,
            x509.load_der_x509_certificate(version.der),
            self.ca,
        )

    async def revoke(
        self, issued: Issued, reason: RevocationReason = RevocationReason.KEY_COMPROMISE
    ) -> None:
        """Revoke a certificate, as the API does."""
        await self.its.revocations.revoke(SYSTEM, issued.id, reason)

    async def post(self, query: bytes, issuer: str = ISSUER) -> Reply:
        """Ask by POST."""
        headers = {"content-type": "application/ocsp-request"}
        return answered(
            await request(self.app, "POST", f"{BASE}/ocsp/{issuer}", query, headers=headers)
        )

    async def get(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Fetch something."""
        return answered(await request(self.app, method, f"{BASE}/{path}", headers=headers))

    async def ask(self, issued: Issued, nonce: bytes | None = None) -> ocsp.OCSPResponse:
        """What the responder says about a certificate, in an answer that verifies."""
        reply = await self.post(issued.query(nonce=nonce))
        answer = ocsp.load_der_ocsp_response(reply.body)
        check_answer(answer, issued)
        return answer

    async def status(self, issued: Issued) -> ocsp.OCSPCertStatus:
        """The status in it."""
        return (await self.ask(issued)).certificate_status

    async def make_crls(self) -> int:
        """Make every CRL that is due, as the scheduler does; how many."""
        now = self.database.clock.now_ms()
        rows = await self.database.write(
            lambda t: LEASES.claim(t, owner="test", now_ms=now, lease_ms=60_000, limit=10)
        )
        for row in rows:
            await self.its.crls.step(row)
        await self.catalog.refresh()  # else a notification of it could drop what is asked for next
        return len(rows)

    async def crl_row(self) -> CrlRecord:
        """The Local CA's row."""
        row = await self.database.read(lambda connection: get_crl(connection, ISSUER))
        assert row is not None
        return row

    async def crl(self) -> x509.CertificateRevocationList:
        """The CRL as it is served, its signature verified."""
        reply = await self.get(f"crl/{ISSUER}")
        assert reply.status == 200, reply.body
        crl = x509.load_der_x509_crl(reply.body)
        key = self.ca.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert crl.is_signature_valid(key)
        return crl


def answered(reply: Reply | None) -> Reply:
    """A reply that there must be."""
    assert reply is not None
    return reply


def check_answer(answer: ocsp.OCSPResponse, issued: Issued) -> None:
    """A successful answer about that certificate, whose signature verifies."""
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL, answer.response_status
    assert answer.serial_number == issued.serial
    (signer,) = answer.certificates
    signer.verify_directly_issued_by(issued.issuer)
    key = signer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


@asynccontextmanager
async def status_service(
    database: Database,
    *,
    listen_url: str | None = None,
    environment: Mapping[str, str] | None = None,
    find_type: Callable[[str], ConnectorType] = connector_type,
) -> AsyncIterator[StatusService]:
    """Seed the database and serve status from it; with `listen_url` it follows notifications.

    Nothing is scheduled: `make_crls` does it.
    """
    await seed(database, environment or {})
    catalog = Catalog(database, database.clock, find_type, listen_url=listen_url)
    await catalog.refresh()
    its = assemble(database, catalog, database.clock, FAST)
    app = StatusApp(catalog, its.crls, its.ocsp, database.clock)
    stopping = asyncio.Event()
    watching = asyncio.create_task(catalog.watch(stopping))
    try:
        if listen_url is not None:
            await eventually(catalog.in_step)
        yield StatusService(database, catalog, its, app)
    finally:
        stopping.set()
        await watching


async def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds."""
    for _ in range(round(seconds * 100)):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def count_reads(database: Database, table: Table) -> list[None]:
    """A list that grows by one with each read of a table from now on."""
    reads: list[None] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if f"FROM {table.name}" in statement:
            reads.append(None)

    event.listen(database._reading, "before_cursor_execute", note)
    return reads


async def change_issuer(database: Database, **values: object) -> None:
    """Change the Local CA's row as an administrator would; other processes notice."""
    statement = (
        update(tables.issuers)
        .where(tables.issuers.c.id == ISSUER)
        .values(revision=tables.issuers.c.revision + 1, **values)
    )

    def write(transaction: Transaction) -> None:
        transaction.execute(statement)
        transaction.changed()

    await database.write(write)
