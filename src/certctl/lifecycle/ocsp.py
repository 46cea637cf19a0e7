"""The OCSP responder: looks a serial up, signs what is recorded, and keeps answers for a while.

An answer is kept until anything was revoked anywhere, or half of its life is over. One that may be
out of date is never kept: the generation is noted before the look-up, and moves with every change.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from certctl.ca.ocsp import Good, Revoked, Unknown
from certctl.connectors.contract import SignsStatus
from certctl.connectors.errors import IssuerError
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import NotFound, Unavailable
from certctl.domain.serials import serial_hex
from certctl.lifecycle.access import SYSTEM
from certctl.pki.ocsp import BadQuery, OcspError, decode_get, error_response, parse_query
from certctl.storage.statuses import find_status

if TYPE_CHECKING:
    from certctl.ca.ocsp import OcspSigner
    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.pki.ocsp import OcspQuery
    from certctl.storage.database import Database
    from certctl.storage.statuses import StatusRecord

log = structlog.get_logger(__name__)

KEPT_ANSWERS = 10_000
#: Queries for one serial are smaller: 180 bytes with SHA-512, a third more as base64. A longer one
#: says something else besides, and whoever asks it is not given room here.
_KEPT_QUERY_SIZE = 320
#: More questions at a time are told to come back: each one holds a reader of the database.
_MOST_AT_A_TIME = 256
#: When a new signer cannot be made, the old one goes on, and this long passes until the next try.
_RENEWAL_RETRY_MS = 60_000


@dataclass(slots=True)
class OcspAnswer:
    """A signed answer with its times (milliseconds), or an error, which has none.

    `cacheable` says whether caches may keep it until then. `prepared` belongs to whoever sends it.
    """

    der: bytes
    this_update: int = 0
    next_update: int = 0
    cacheable: bool = False
    prepared: object = None

    @property
    def stale_at(self) -> int:
        """When half of its life is over: it is not handed out any more."""
        return (self.this_update + self.next_update) // 2


@dataclass(slots=True)
class _Signing:
    """A signer that this process has made for one revision of an issuer."""

    connector: SignsStatus
    signer: OcspSigner
    renew_at: int


_ERRORS = {error: OcspAnswer(error_response(error)) for error in OcspError}


class Ocsp:
    """One process's responder for all issuers that sign here."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        *,
        kept_answers: int = KEPT_ANSWERS,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._most_kept = kept_answers
        self._kept: OrderedDict[tuple[str, bytes | str], OcspAnswer] = OrderedDict()
        self._generation = 0
        self._under_way = 0
        self._signing: dict[str, _Signing] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        catalog.subscribe(self.drop_all)

    def drop_all(self) -> None:
        """Forget the answers kept: something was revoked, or an issuer has changed."""
        self._generation += 1
        self._kept.clear()

    def kept(self, issuer_id: str, query: bytes | str) -> OcspAnswer | None:
        """The answer to the same query, if it is kept and can be used without looking further.

        A query is the DER of a POST, or the base64 of a GET.
        """
        return self._fresh((issuer_id, query)) if self._catalog.in_step() else None

    async def answer(self, issuer_id: str, query: bytes | str) -> OcspAnswer:
        """Answer a query; what is wrong with it, or with us, is an answer too.

        Raises NotFound where there is no such issuer, or it does not sign here.
        """
        connector = self._connector(issuer_id)
        if connector is None:
            return _ERRORS[OcspError.TRY_LATER]
        try:
            parsed = parse_query(query if isinstance(query, bytes) else decode_get(query))
        except BadQuery as error:
            return _ERRORS[error.error]
        caught_up = await self._catalog.catch_up()
        found = self._fresh((issuer_id, query))
        if found is None and caught_up and self._under_way < _MOST_AT_A_TIME:
            found = await self._look_up(issuer_id, connector, query, parsed)
        return found or _ERRORS[OcspError.TRY_LATER]

    async def _look_up(
        self, issuer_id: str, connector: SignsStatus, query: bytes | str, parsed: OcspQuery
    ) -> OcspAnswer:
        self._under_way += 1
        try:
            return await self._answer(issuer_id, connector, query, parsed)
        except Unavailable:
            return _ERRORS[OcspError.TRY_LATER]
        except IssuerError as error:
            log.error("no OCSP answer", issuer=issuer_id, problem=error.detail)
            return _ERRORS[OcspError.INTERNAL_ERROR]
        finally:
            self._under_way -= 1

    def _fresh(self, key: tuple[str, bytes | str]) -> OcspAnswer | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if self._clock.now_ms() >= found.stale_at:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found

    def _connector(self, issuer_id: str) -> SignsStatus | None:
        connector = self._catalog.issuer(issuer_id).connector
        if connector is None or isinstance(connector, SignsStatus):
            return connector
        raise NotFound("issuer-has-no-ocsp", "this issuer's OCSP answers are not made here")

    async def _answer(
        self, issuer_id: str, connector: SignsStatus, query: bytes | str, parsed: OcspQuery
    ) -> OcspAnswer:
        generation = self._generation
        signer = await self._signer(issuer_id, connector)
        if not signer.answers_for(parsed):
            return _ERRORS[OcspError.UNAUTHORIZED]
        now = self._clock.now_ms()  # before the look-up: the answer holds from this time on
        serial = serial_hex(parsed.serial)
        record = await self._database.read(lambda c: find_status(c, issuer_id, serial))
        # A client checks the signer's certificate too, to the end of the answer's life.
        until = min(now + connector.ocsp_validity * 1000, signer.not_after_ms)
        der = signer.sign(parsed, _status(record), this_update_ms=now, next_update_ms=until)
        cacheable = record is not None and parsed.nonce is None
        answer = OcspAnswer(der, now, until, cacheable)
        if cacheable and generation == self._generation and len(query) <= _KEPT_QUERY_SIZE:
            self._keep((issuer_id, query), answer)
        return answer

    def _keep(self, key: tuple[str, bytes | str], answer: OcspAnswer) -> None:
        self._kept[key] = answer
        if len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)

    async def _signer(self, issuer_id: str, connector: SignsStatus) -> OcspSigner:
        """This process's signer for a revision of an issuer, made at first use and half its life.

        Raises IssuerError or Unavailable when there is none and none can be made.
        """
        found = self._current_signing(issuer_id, connector)
        if found is None or self._clock.now_ms() >= found.renew_at:
            async with self._locks.setdefault(issuer_id, asyncio.Lock()):
                found = self._current_signing(issuer_id, connector)
                if found is None or self._clock.now_ms() >= found.renew_at:
                    found = await self._certify(issuer_id, connector, found)
        return found.signer

    def _current_signing(self, issuer_id: str, connector: SignsStatus) -> _Signing | None:
        found = self._signing.get(issuer_id)
        if found is None or found.connector is not connector:
            return None
        return found if self._clock.now_ms() < found.signer.not_after_ms else None

    async def _certify(
        self, issuer_id: str, connector: SignsStatus, before: _Signing | None
    ) -> _Signing:
        now = self._clock.now_ms()
        try:
            signer = await asyncio.to_thread(connector.ocsp_signer, now)
            if signer.delegated:  # recorded before anybody sees what it signs
                await self._database.append((), (_event(issuer_id, signer, now),))
        except (IssuerError, Unavailable) as error:
            if before is None:
                raise
            log.error("OCSP signer not renewed", issuer=issuer_id, problem=error.detail)
            before.renew_at = now + _RENEWAL_RETRY_MS
            return before
        made = _Signing(connector, signer, signer.renew_at_ms)
        self._signing[issuer_id] = made
        return made


def _event(issuer_id: str, signer: OcspSigner, now_ms: int) -> AuditEvent:
    return AuditEvent(
        at_ms=now_ms,
        actor=SYSTEM.id,
        action="ocsp_responder.certified",
        object_type="issuer",
        object_id=issuer_id,
        detail={"serial": serial_hex(signer.certificate.serial_number)},
    )


def _status(record: StatusRecord | None) -> Good | Revoked | Unknown:
    if record is None:
        return Unknown()
    if record.revoked_at is None or record.reason is None:
        return Good()
    return Revoked(record.revoked_at, record.reason)
