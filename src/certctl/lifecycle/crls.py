"""CRLs: one is made when something was revoked, and when half of the last one's life is over."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import structlog
from cryptography import x509

from certctl.connectors.contract import ExposesChain, SignsStatus
from certctl.connectors.errors import IssuerError, Misconfigured
from certctl.domain.errors import NotFound, Unavailable
from certctl.domain.revocations import CRL_DELAY_MS
from certctl.storage.crls import (
    CrlRecord,
    crl_entries,
    get_crl,
    load_crl,
    mark_crl_due,
    store_crl,
    store_crl_problem,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

    from certctl.ca.crl import CrlEntry
    from certctl.connectors.contract import Connector
    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Connection, Database, SqlRow, Transaction

log = structlog.get_logger(__name__)

_RETRY_MS = 60_000
#: A process that has just started makes its first CRL within this time.
_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class CurrentCrl:
    """An issuer's newest CRL. Times in milliseconds; `next_at` is when another one is expected."""

    der: bytes
    number: int
    this_update: int
    next_update: int
    next_at: int
    etag: str


class Crls:
    """Makes CRLs, and keeps the newest of each issuer in memory until another one is stored.

    Only what is stored is ever handed out, so that no number stands for two CRLs.
    """

    def __init__(self, database: Database, catalog: Catalog, clock: Clock) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._kept: dict[str, CurrentCrl] = {}
        self._generation = 0
        catalog.subscribe(self._drop)

    async def ensure(self) -> None:
        """Have a CRL made for each issuer that signs them and has none that will do.

        One that another key has signed will not: the operator has changed the CA's files. Nor will
        one that is to be replaced later than the issuer's settings now say.
        """
        for issuer in self._catalog.issuers():
            connector = issuer.connector
            if not _signs_crls(connector):
                continue
            issuer_id = issuer.record.id
            stored = await self._stored(issuer_id)
            wanted_at = self._clock.now_ms()
            if stored is not None and stored.der is not None and _is_signed_by(connector, stored):
                wanted_at = _half(stored.this_update or 0, connector.crl_validity)
            if stored is None or stored.due_at is None or stored.due_at > wanted_at:
                await self._mark(issuer_id, wanted_at)

    async def step(self, row: SqlRow[Any]) -> bool:
        """Make the CRL that a claimed row is due for; whether it was made.

        Raises TakenOver if the row was claimed by somebody else meanwhile, Unavailable if the
        database is not there.
        """
        claimed = load_crl(row)
        now = self._clock.now_ms()
        again_at = now + CRL_DELAY_MS
        try:
            connector = await self._connector_now(claimed.issuer_id)
            if connector is None:
                after = replace(claimed, due_at=None, problem=None, updated_at=now)
                await self._database.write(
                    lambda t: store_crl_problem(t, claimed, after, again_at=again_at)
                )
                return True
            made, entries = await self._make(claimed, connector, now)
        except IssuerError as error:
            after = replace(claimed, due_at=now + _RETRY_MS, problem=error.detail, updated_at=now)
            await self._database.write(
                lambda t: store_crl_problem(t, claimed, after, again_at=again_at)
            )
            log.error("no crl made", issuer=claimed.issuer_id, problem=error.detail)
            return False

        def store(transaction: Transaction) -> None:
            store_crl(transaction, claimed, made, again_at=again_at)
            transaction.changed()

        await self._database.write(store)
        self._drop()
        log.info("crl made", issuer=made.issuer_id, number=made.number, entries=entries)
        return True

    async def current(self, issuer_id: str) -> CurrentCrl:
        """The newest CRL of an issuer, a disabled one too.

        Raises NotFound where there is no such issuer or it signs none; Unavailable where there is
        none yet, or the database is not there and none is kept.
        """
        issuer = self._catalog.issuer(issuer_id)
        if issuer.connector is not None and not _signs_crls(issuer.connector):
            raise NotFound("issuer-has-no-crl", "this issuer's CRL is not made here")
        await self._catalog.catch_up()
        kept = self._kept.get(issuer_id)
        if kept is not None:
            return kept
        generation = self._generation
        stored = await self._stored(issuer_id)
        if stored is None or stored.der is None:
            raise Unavailable(
                "crl-not-made",
                "no CRL has been made yet",
                retry_after=_RETRY_AFTER_SECONDS,
            )
        current = _current(stored, stored.der)
        if generation == self._generation:  # else it may be the one before the newest
            self._kept[issuer_id] = current
        return current

    def _drop(self) -> None:
        self._generation += 1
        self._kept.clear()

    async def _connector_now(self, issuer_id: str) -> SignsStatus | None:
        try:
            self._catalog.issuer(issuer_id)
        except NotFound:  # another process has just made it
            await self._catalog.refresh()
        return self._connector(issuer_id)

    def _connector(self, issuer_id: str) -> SignsStatus | None:
        """Who signs; None for an issuer that signs no CRLs (any more)."""
        try:
            issuer = self._catalog.issuer(issuer_id)
        except NotFound:  # deleted since the row was claimed
            raise Misconfigured("there is no such issuer any more") from None
        if issuer.connector is None:
            raise Misconfigured(f"the issuer's settings do not work: {issuer.problem}")
        return issuer.connector if _signs_crls(issuer.connector) else None

    async def _make(
        self, claimed: CrlRecord, connector: SignsStatus, now: int
    ) -> tuple[CrlRecord, int]:
        def read(connection: Connection) -> list[CrlEntry]:
            return list(crl_entries(connection, claimed.issuer_id, claimed.this_update))

        entries = await self._database.read(read)
        number, next_update = claimed.number + 1, now + connector.crl_validity * 1000
        # In a thread: ten thousand entries take a tenth of a second.
        der = await asyncio.to_thread(
            connector.sign_crl,
            entries,
            number=number,
            this_update_ms=now,
            next_update_ms=next_update,
        )
        made = replace(
            claimed,
            number=number,
            this_update=now,
            next_update=next_update,
            der=der,
            problem=None,
            due_at=_half(now, connector.crl_validity),
            updated_at=now,
        )
        return made, len(entries)

    async def _stored(self, issuer_id: str) -> CrlRecord | None:
        return await self._database.read(lambda connection: get_crl(connection, issuer_id))

    async def _mark(self, issuer_id: str, at_ms: int) -> None:
        await self._database.write(lambda t: mark_crl_due(t, issuer_id, at_ms))


def _signs_crls(connector: Connector | None) -> TypeGuard[SignsStatus]:
    return isinstance(connector, SignsStatus) and connector.crl_validity > 0


def _is_signed_by(connector: SignsStatus, stored: CrlRecord) -> bool:
    if stored.der is None:
        return False
    if not isinstance(connector, ExposesChain):
        return True
    signer = connector.chain()[0]
    crl = x509.load_der_x509_crl(stored.der)
    key = cast("CertificateIssuerPublicKeyTypes", signer.public_key())  # it has issued something
    return crl.issuer == signer.subject and crl.is_signature_valid(key)


def _half(this_update: int, validity_seconds: int) -> int:
    return this_update + validity_seconds * 500


def _current(stored: CrlRecord, der: bytes) -> CurrentCrl:
    this_update, next_update = stored.this_update or 0, stored.next_update or 0
    return CurrentCrl(
        der=der,
        number=stored.number,
        this_update=this_update,
        next_update=next_update,
        next_at=(this_update + next_update) // 2,
        etag=f'"{stored.number}-{hashlib.sha256(der).hexdigest()[:32]}"',
    )
