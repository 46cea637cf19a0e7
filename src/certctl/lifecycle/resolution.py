"""An order that only a person can tell about: what was found at the CA becomes its state."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from certctl.connectors.contract import IssuedCertificate, Polls
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, InvalidInput
from certctl.domain.orders import OPEN_STATES, OrderState
from certctl.lifecycle.keeping import keep_newest
from certctl.lifecycle.orders import order_not_found
from certctl.lifecycle.outcomes import Outcome
from certctl.lifecycle.requests import decode_request
from certctl.lifecycle.results import audit_of
from certctl.lifecycle.versions import checked_version
from certctl.pki.certificates import WrongCertificate, split_pem_certificates
from certctl.storage.certificates import mark_failed
from certctl.storage.database import Duplicate
from certctl.storage.orders import (
    AttemptRecord,
    OrderRecord,
    add_attempt,
    get_order,
    lock_order,
    take_order,
)
from certctl.storage.versions import DUPLICATE_SERIAL

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector
    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.lifecycle.tally import Tally
    from certctl.storage.database import Connection, Database, Transaction
    from certctl.storage.versions import VersionRecord

#: The states that a person can give an order.
FINDINGS = (
    OrderState.READY,
    OrderState.PENDING,
    OrderState.ISSUED,
    OrderState.REJECTED,
    OrderState.CANCELLED,
)
_LONGEST_REFERENCE = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """What a person found at the CA: the order's state there, and what belongs to it.

    `reference` for `pending`, `certificate` (PEM, its chain after it) for `issued`.
    """

    state: OrderState
    reference: dict[str, Any] | None = None
    certificate: str | None = None
    reason: str | None = None


class Resolution:
    """Lets orders in `uncertain` go on."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        scheduler: Scheduler,
        tally: Tally,
    ) -> None:
        self._tally = tally
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._scheduler = scheduler

    async def resolve(self, actor: Actor, order_id: str, finding: Finding) -> OrderRecord:
        """Give an order the state that it has at the CA, and return it.

        Raises NotFound, Conflict where nobody is asked about the order, InvalidInput for what does
        not fit the state, or a certificate that is not what was asked for.
        """

        def load(connection: Connection) -> OrderRecord | None:
            return get_order(connection, order_id)

        order = await self._database.read(load)
        if order is None:
            raise order_not_found()
        if order.state is not OrderState.UNCERTAIN:
            raise _not_uncertain(order)
        _check(finding, self._catalog.connector(order.issuer_id))
        version = None
        if finding.certificate is not None:
            version = self._version(order, finding.certificate)

        def write(transaction: Transaction) -> OrderRecord:
            return self._write(transaction, actor, order.id, finding, version)

        try:
            after = await self._database.write(write)
        except Duplicate as error:
            if error.constraint != DUPLICATE_SERIAL:
                raise
            raise Conflict(
                "certificate-known",
                "a certificate of this issuer and serial is kept already",
                field="certificate",
                hint="look for the certificate of this very order at the CA",
            ) from None
        self._tally.order(order.state, after)
        self._scheduler.wake()
        return after

    def _write(
        self,
        transaction: Transaction,
        actor: Actor,
        order_id: str,
        finding: Finding,
        version: VersionRecord | None,
    ) -> OrderRecord:
        now = self._clock.now_ms()
        order = lock_order(transaction, order_id)
        if order is None:
            raise order_not_found()
        if order.state is not OrderState.UNCERTAIN:
            raise _not_uncertain(order)
        state = finding.state
        goes_on = state in {OrderState.READY, OrderState.PENDING}
        after = replace(
            order,
            state=state,
            due_at=now if goes_on else None,
            problem=None if goes_on or version is not None else finding.reason or order.problem,
            failures=0,
            unknown_since=None,
            # For the burst of polls, and for its greatest age, it begins anew.
            accepted_at=now if state is OrderState.PENDING else order.accepted_at,
            reference=finding.reference or (None if state is OrderState.READY else order.reference),
            version_id=order.version_id if version is None else version.id,
            updated_at=now,
        )
        take_order(transaction, after)
        words = f"{state.value}, says {actor.id}"
        add_attempt(
            transaction,
            order.id,
            AttemptRecord(
                action="resolve",
                outcome=Outcome.RESOLVED.value,
                detail=words if finding.reason is None else f"{words}: {finding.reason}",
                started_at=now,
                duration_ms=0,
            ),
        )
        if version is not None:
            keep_newest(transaction, self._catalog.connector(order.issuer_id), version, now)
            transaction.audit(audit_of(after, version, actor.id))
        elif state not in OPEN_STATES:
            mark_failed(transaction, order.certificate_id, now)
        transaction.audit(_event(after, actor, finding, version))
        return replace(after, epoch=order.epoch + 1)

    def _version(self, order: OrderRecord, pem: str) -> VersionRecord:
        """The certificate as a version, held against the request like an answer of the CA."""
        try:
            certificates = split_pem_certificates(pem)
        except ValueError:
            certificates = []
        if not certificates:
            raise _wrong("there is no certificate in it that can be read")
        issued = IssuedCertificate(certificates[0], tuple(certificates[1:]), order.reference or {})
        try:
            return checked_version(issued, order, decode_request(order), self._clock.now_ms())
        except WrongCertificate as error:
            raise _wrong(str(error)) from None


def _check(finding: Finding, connector: Connector | None) -> None:
    """Raise InvalidInput where the parts do not fit the state."""
    is_pending = finding.state is OrderState.PENDING
    is_issued = finding.state is OrderState.ISSUED
    if is_pending and not finding.reference:
        raise InvalidInput(
            "reference-missing",
            "`pending` needs what the CA calls the order",
            field="reference",
            hint="look at an earlier order of this issuer for the form that it has",
        )
    if is_pending and not isinstance(connector, Polls):
        raise InvalidInput(
            "issuer-does-not-poll",
            "this issuer cannot be asked about an order that its CA works on",
            field="state",
            hint="wait until the CA has issued it, then give the certificate: `issued`",
        )
    if is_issued and finding.certificate is None:
        raise InvalidInput(
            "certificate-missing",
            "`issued` needs the certificate",
            field="certificate",
            hint="fetch it from the CA, as PEM, with its chain",
        )
    if finding.reference is not None and not is_pending:
        raise _does_not_belong("reference")
    if finding.certificate is not None and not is_issued:
        raise _does_not_belong("certificate")
    if finding.reference and len(json.dumps(finding.reference)) > _LONGEST_REFERENCE:
        raise InvalidInput(
            "reference-too-long",
            f"a reference has at most {_LONGEST_REFERENCE} characters as JSON",
            field="reference",
        )


def _does_not_belong(field: str) -> InvalidInput:
    return InvalidInput(
        "field-not-for-state",
        "this field does not belong to that state",
        field=field,
        hint="`reference` is for `pending`, `certificate` for `issued`",
    )


def _wrong(words: str) -> InvalidInput:
    return InvalidInput(
        "certificate-does-not-fit",
        words,
        field="certificate",
        hint="give the certificate that the CA issued for this order's CSR, then its chain",
    )


def _not_uncertain(order: OrderRecord) -> Conflict:
    return Conflict(
        "order-not-uncertain",
        f"the order is {order.state.value}: nobody has to say what became of it",
        hint="only an order in `uncertain` is resolved",
    )


def _event(
    order: OrderRecord, actor: Actor, finding: Finding, version: VersionRecord | None
) -> AuditEvent:
    detail = {"order_id": order.id, "issuer_id": order.issuer_id, "state": order.state.value}
    if finding.reason is not None:
        detail["reason"] = finding.reason
    if version is not None:
        detail["serial"] = version.serial
    return AuditEvent(
        at_ms=order.updated_at,
        actor=actor.id,
        action="order.resolved",
        object_type="certificate",
        object_id=order.certificate_id,
        detail=detail,
    )
