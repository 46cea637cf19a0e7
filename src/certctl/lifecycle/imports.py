"""Certificates that certctl did not issue: taken in, to be listed and watched.

Each CA that they come from is an issuer of its own, so that a serial stays unique within it. It
comes with the first certificate of that CA.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from certctl.domain.audit import AuditEvent
from certctl.domain.clock import to_ms
from certctl.domain.errors import Conflict, Forbidden, InvalidInput, refused
from certctl.domain.ids import new_id, sibling_id
from certctl.domain.imports import EXTERNAL_TYPE, IMPORTED_PROFILE_ID, external_issuer_id
from certctl.domain.names import decode_stored
from certctl.lifecycle.issuer_settings import issuer_changes
from certctl.lifecycle.revocations import certificate_not_found
from certctl.lifecycle.versions import stored_chain
from certctl.pki.foreign import ForeignCertificate, read_foreign
from certctl.storage.certificates import (
    add_spare_version,
    add_version,
    certificate_rows,
    get_certificate,
    lock_certificate,
)
from certctl.storage.database import Duplicate
from certctl.storage.imports import follow_version
from certctl.storage.issuers import IssuerRecord, get_issuer, insert_issuer
from certctl.storage.scopes import reaches_certificate
from certctl.storage.versions import VersionRecord, version_rows, versions_of_serial

if TYPE_CHECKING:
    from certctl.domain.access import Scope
    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.certificates import CertificateRecord
    from certctl.storage.database import Connection, Database, Transaction

#: Two processes that import the same, or certificates of the same new CA, at the same moment.
_TRIES = 3
_LONGEST_NAME = 120


class ImportOutcome(StrEnum):
    """What became of a certificate that somebody brought."""

    IMPORTED = "imported"
    VERSION_ADDED = "version_added"
    KNOWN = "known"  # it was there: imported before, or issued here


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a client brings, as it came. With `replaces` it is a version of that certificate."""

    certificate: str
    chain: str | None = None
    owner: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    replaces: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of it, or would; `certificate` is None where a dry run found nothing there."""

    outcome: ImportOutcome
    certificate: CertificateRecord | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A certificate that was read, and what is stored of it."""

    foreign: ForeignCertificate
    issuer_id: str
    version: VersionRecord
    request: ImportRequest

    @property
    def common_name(self) -> str | None:
        """The subject's most particular common name."""
        return self.foreign.common_names[-1] if self.foreign.common_names else None


class Imports:
    """Takes certificates in."""

    def __init__(self, database: Database, catalog: Catalog, clock: Clock) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock

    async def bring(self, actor: Actor, request: ImportRequest) -> Imported:
        """Take a certificate in; what is returned is durable. Twice is the same answer.

        Raises InvalidInput for what is no good certificate, or a chain that did not issue it;
        Forbidden where it is out of the caller's scope; Conflict where its serial is taken, or
        `replaces` names what it cannot be a version of.
        """
        # In a thread: a thousand names, or long keys, take a while.
        foreign = await asyncio.to_thread(read_foreign, request.certificate, request.chain)
        now = self._clock.now_ms()
        issuer_id = external_issuer_id(foreign.issuer_dn, foreign.issuer_key_identifier)
        arrival = _Arrival(foreign, issuer_id, _version(foreign, issuer_id, now), request)
        if request.replaces is not None:
            await self._database.read(partial(_check_replaced, actor=actor, arrival=arrival))
        if actor.scope is not None:
            _check_scope(actor.scope, arrival)
        if request.dry_run:
            return await self._database.read(partial(_look, actor=actor, arrival=arrival))
        for attempt in range(_TRIES):
            try:
                found = await self._database.write(
                    partial(self._write, actor=actor, arrival=arrival, attempt=attempt)
                )
            except Duplicate:
                if attempt + 1 == _TRIES:
                    raise
            else:
                break
        if self._catalog.live.get(issuer_id) is None:
            await self._catalog.refresh()
        return found

    def _write(
        self, transaction: Transaction, *, actor: Actor, arrival: _Arrival, attempt: int
    ) -> Imported:
        connection = transaction.connection
        known = _known(connection, actor, arrival)
        now = arrival.version.created_at
        if known is not None:
            return Imported(ImportOutcome.KNOWN, known, _warnings(arrival, now))
        self._ensure_issuer(transaction, actor, arrival, attempt)
        if arrival.request.replaces is None:
            certificate_id = _store_new(transaction, arrival)
            outcome = ImportOutcome.IMPORTED
        else:
            certificate_id = arrival.request.replaces
            _check_replaced(connection, actor=actor, arrival=arrival)
            _store_version(transaction, arrival, certificate_id)
            outcome = ImportOutcome.VERSION_ADDED
        transaction.audit(_event(actor, arrival, certificate_id))
        return Imported(
            outcome, get_certificate(connection, certificate_id), _warnings(arrival, now)
        )

    def _ensure_issuer(
        self, transaction: Transaction, actor: Actor, arrival: _Arrival, attempt: int
    ) -> None:
        """Store the issuer that stands for the CA, unless it is there (archived, perhaps)."""
        keyring = self._database.keyring
        if get_issuer(transaction.connection, keyring, arrival.issuer_id) is not None:
            return
        now = arrival.version.created_at
        # The label is anybody's to choose; if the name is taken all the same, the id is not.
        mark = arrival.issuer_id[-8:] if attempt == 0 else arrival.issuer_id
        suffix = f" (imported, {mark})"
        record = IssuerRecord(
            id=arrival.issuer_id,
            name=arrival.foreign.issuer_label[: _LONGEST_NAME - len(suffix)] + suffix,
            type=EXTERNAL_TYPE,
            config={},
            secrets={},
            source="api",
            enabled=False,
            revision=1,
            created_at=now,
            updated_at=now,
        )
        insert_issuer(transaction, keyring, record)
        detail = {"changes": issuer_changes(None, record)}
        transaction.audit(AuditEvent(now, actor.id, "issuer.created", "issuer", record.id, detail))


def _version(foreign: ForeignCertificate, issuer_id: str, now_ms: int) -> VersionRecord:
    chain_id, chain = stored_chain(foreign.chain)
    return VersionRecord(
        id=new_id("ver", now_ms),
        certificate_id="",  # known once it is clear that there is none
        issuer_id=issuer_id,
        order_id="",  # nobody ordered it here
        serial=foreign.serial,
        not_before=foreign.not_before,
        not_after=foreign.not_after,
        der=foreign.der,
        chain_id=chain_id,
        chain=chain,
        reference=None,
        created_at=now_ms,
    )


def _look(connection: Connection, *, actor: Actor, arrival: _Arrival) -> Imported:
    """What would become of it."""
    known = _known(connection, actor, arrival)
    warnings = _warnings(arrival, arrival.version.created_at)
    if known is not None:
        return Imported(ImportOutcome.KNOWN, known, warnings)
    if arrival.request.replaces is None:
        return Imported(ImportOutcome.IMPORTED, None, warnings)
    replaced = get_certificate(connection, arrival.request.replaces)
    return Imported(ImportOutcome.VERSION_ADDED, replaced, warnings)


def _known(connection: Connection, actor: Actor, arrival: _Arrival) -> CertificateRecord | None:
    """The certificate that has this very version, imported before or issued here.

    Raises Conflict where the issuer has given the serial to another certificate, or it belongs to
    one that the caller may not see: both in the same words.
    """
    for version in versions_of_serial(connection, arrival.version.serial):
        if version.der == arrival.version.der:
            certificate_id = version.certificate_id
            scope = actor.scope
            if scope is None or reaches_certificate(connection, certificate_id, scope):
                return get_certificate(connection, certificate_id)
            raise _serial_taken()
        if version.issuer_id == arrival.issuer_id:
            raise _serial_taken()
    return None


def _check_replaced(connection: Connection, *, actor: Actor, arrival: _Arrival) -> None:
    """Raise unless it can be a version of the certificate that `replaces` names."""
    request = arrival.request
    certificate_id = request.replaces or ""
    scope = actor.scope
    if scope is not None and not reaches_certificate(connection, certificate_id, scope):
        raise refused(certificate_not_found().as_input("replaces"))
    replaced = get_certificate(connection, certificate_id)
    if replaced is None:
        raise certificate_not_found().as_input("replaces")
    if replaced.profile_id != IMPORTED_PROFILE_ID:
        raise Conflict(
            "certificate-not-imported",
            "certctl ordered this certificate itself, and adds its versions itself",
            field="replaces",
            hint="leave `replaces` out: then it is a certificate of its own",
        )
    if replaced.archived_at is not None:
        raise Conflict(
            "certificate-archived",
            "this certificate is archived",
            field="replaces",
            hint="put it back first: POST /api/v1/certificates/{id}/unarchive",
        )
    if {decode_stored(text) for text in replaced.names} != set(arrival.foreign.names):
        raise Conflict(
            "import-names-differ",
            "the certificate is for other names than the one that it is to replace",
            field="replaces",
            hint="leave `replaces` out: then it is a certificate of its own",
        )
    if request.owner is not None or request.labels:
        raise InvalidInput(
            "import-details-with-replaces",
            "owner and labels are those of the certificate that is there",
            field="owner" if request.owner is not None else "labels",
            hint="leave them out; change them with PATCH /api/v1/certificates/{id}",
        )


def _check_scope(scope: Scope, arrival: _Arrival) -> None:
    """Raise Forbidden unless the certificate would be within the scope."""
    if not scope.admits_profile(IMPORTED_PROFILE_ID) or not scope.admits_issuer(arrival.issuer_id):
        raise Forbidden(
            "import-out-of-scope",
            "this API key may not import certificates of this CA",
            field="certificate",
            hint=f"a scope with profiles has to name {IMPORTED_PROFILE_ID}, and one with issuers "
            f"this CA's: {arrival.issuer_id}",
        )
    foreign = arrival.foreign
    # All of them count, those too that are not kept.
    common_names: tuple[str | None, ...] = foreign.common_names or (None,)
    if scope.names is not None and (
        foreign.names_left_out
        or not all(scope.admits_names(foreign.names, name) for name in common_names)
    ):
        raise Forbidden(
            "names-out-of-scope",
            "this API key may not import a certificate with all of these names",
            field="certificate",
            hint="import what has names within the key's scope only; a common name has to be one "
            "of them",
        )


def _store_new(transaction: Transaction, arrival: _Arrival) -> str:
    version = arrival.version
    version = replace(version, certificate_id=sibling_id("cert", version.id))
    rows = certificate_rows(
        certificate_id=version.certificate_id,
        issuer_id=arrival.issuer_id,
        profile_id=IMPORTED_PROFILE_ID,
        owner=arrival.request.owner,
        common_name=arrival.common_name,
        names=arrival.foreign.names,
        version=version,
        renew_at=None,
        now_ms=version.created_at,
        labels=dict(arrival.request.labels),
    )
    transaction.insert([*rows, *version_rows(version)])
    return version.certificate_id


def _store_version(transaction: Transaction, arrival: _Arrival, certificate_id: str) -> None:
    """Add a version; it is the newest unless the one that is there became valid later."""
    version = replace(arrival.version, certificate_id=certificate_id)
    state = lock_certificate(transaction, certificate_id)
    if state is None or state.archived_at is not None:
        raise certificate_not_found().as_input("replaces")
    present = get_certificate(transaction.connection, certificate_id)
    newest = None if present is None else present.version
    if newest is not None and newest.not_before > version.not_before:
        add_spare_version(transaction, version)
        return
    add_version(transaction, version, None, version.created_at)
    follow_version(transaction, certificate_id, arrival.issuer_id, arrival.common_name)


def _warnings(arrival: _Arrival, now_ms: int) -> tuple[str, ...]:
    """What whoever brings it should know; it is kept all the same."""
    found = []
    foreign = arrival.foreign
    if foreign.not_after < now_ms:
        found.append("it has expired")
    elif any(to_ms(issuer.not_valid_after_utc) < now_ms for issuer in foreign.chain):
        found.append("a certificate of its chain has expired")
    if foreign.names_left_out:
        found.append(
            f"{foreign.names_left_out} of its names are of a kind or form that is not kept here"
        )
    if len(foreign.common_names) > 1:
        found.append("it has more than one common name; the last one is kept")
    return tuple(found)


def _event(actor: Actor, arrival: _Arrival, certificate_id: str) -> AuditEvent:
    version = arrival.version
    detail: dict[str, Any] = {
        "issuer_id": arrival.issuer_id,
        "serial": version.serial,
        "version_id": version.id,
    }
    if arrival.request.replaces is not None:
        detail["added_version"] = True
    return AuditEvent(
        version.created_at, actor.id, "certificate.imported", "certificate", certificate_id, detail
    )


def _serial_taken() -> Conflict:
    return Conflict(
        "import-serial-taken",
        "a certificate of this issuer with this serial is kept already, as another one or out of "
        "this key's reach",
        field="certificate",
        hint="look for the serial in the inventory with a key without a scope; a CA gives each "
        "serial once, so one of two certificates with the same is not genuine",
    )
