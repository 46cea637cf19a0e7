"""What a control plane went through before its database was kept: every state there is.

Its work is taken up by hand, a row and a step at a time, so that it stands still where it is to
stand. Time is turned.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from sqlalchemy import update

from certctl.connectors import errors
from certctl.domain.clock import from_ms
from certctl.domain.keys import KeyType
from certctl.domain.name_patterns import parse_patterns
from certctl.domain.names import NameKind
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Profile
from certctl.domain.revocations import RevocationReason
from certctl.domain.usages import Usage
from certctl.lifecycle import bulk_revocation
from certctl.lifecycle.access import hash_api_key, new_api_key
from certctl.lifecycle.server_certificate import OwnCertificate, ServerTls
from certctl.pki.certificates import chain_pem, to_pem
from certctl.storage import tables
from certctl.storage.api_keys import ApiKeyRecord, insert_api_key
from certctl.storage.issuers import IssuerRecord, insert_issuer, update_issuer
from certctl.storage.profiles import insert_profile
from tests.support.foreign import self_signed
from tests.support.pki import make_ca, make_csr, make_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Table

    from certctl.storage.database import SqlRow, Transaction
    from tests.support.clock import TurnableClock
    from tests.support.control_plane import ControlPlane
    from tests.support.timely_ca import TimelyCA

API = "/api/v1"
LOCAL, SLOW, SUB, OLD = "iss-local", "iss-slow", "iss-sub", "iss-old"
SUB_CA_FILES = ("sub-ca.pem", "sub-ca.key")
SUB_CA_PASSWORD = "the password of a CA's key, for tests"
SERVER_NAMES = ("localhost", "127.0.0.1")
LEASE_MS = 60_000


class Process:
    """One process of the control plane, whose scheduler does what it is told."""

    def __init__(
        self, plane: ControlPlane, ca: TimelyCA, clock: TurnableClock, data_dir: Path
    ) -> None:
        self.plane = plane
        self.ca = ca
        self.clock = clock
        self.data_dir = data_dir
        self.its = plane.services.use_cases
        self.database = plane.services.database
        self._queues = {queue.name: queue for queue in self.its.scheduler._queues}

    async def post(
        self, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """What REST answers to a request that must succeed."""
        answer = await self.plane.client.post(f"{API}/{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def claim(self, name: str, rows: int = 1) -> Sequence[SqlRow[Any]]:
        """Take what is due in a queue; there must be so many rows."""
        claimed = await self.database.write(
            lambda transaction: self._queues[name].leases.claim(
                transaction,
                owner="process-that-is-gone",
                now_ms=self.clock.now_ms(),
                lease_ms=LEASE_MS,
                limit=100,
            )
        )
        assert len(claimed) == rows, f"{len(claimed)} rows are due in the queue {name}"
        return claimed

    async def work(self, name: str, *script: Any, rows: int = 1) -> None:
        """Take a step with what is due in a queue; the CA answers by the script."""
        self._set_script(name, *script)
        for row in await self.claim(name, rows):
            await self._queues[name].step(row)

    async def die_during(self, name: str) -> None:
        """Take a step with what is due, and be gone before the CA has answered."""
        self._set_script(name, "hang")
        self.ca.called.clear()
        (row,) = await self.claim(name)
        step = asyncio.ensure_future(self._queues[name].step(row))
        await asyncio.wait_for(self.ca.called.wait(), 10)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)

    def _set_script(self, name: str, *script: Any) -> None:
        if name == "order":
            self.ca.script = list(script)
        elif name == "revocation":
            self.ca.revocations = list(script)

    async def order(self, issuer: str, *names: str, key: int = 0, **more: Any) -> dict[str, Any]:
        """Order a certificate; the scripted CA is not asked yet."""
        body = {"issuer_id": issuer, "csr": csr(*names, key=key), **more}
        return await self.post("certificates", body)

    async def issue_slowly(self, *names: str, **more: Any) -> dict[str, Any]:
        """Have the scripted CA issue a certificate."""
        ordered = await self.order(SLOW, *names, **more)
        await self.work("order", "issue")
        return ordered

    async def revoke(
        self, certificate: dict[str, Any], reason: RevocationReason | str = "unspecified"
    ) -> None:
        """Revoke a certificate; the scripted CA is not told yet."""
        await self.post(f"certificates/{certificate['id']}/revoke", {"reason": str(reason)})

    async def set_column(self, table: Table, which: str, **values: Any) -> None:
        """Reach a state that no use case reaches yet."""

        def write(transaction: Transaction) -> None:
            transaction.execute(update(table).where(table.c.id == which).values(**values))
            transaction.changed()

        await self.database.write(write)


def csr(*names: str, key: int = 0, key_type: KeyType = KeyType.P256) -> str:
    """A CSR with one of the tests' keys."""
    return make_csr(make_key(key_type, key), names)


def write_sub_ca(folder: Path, made: datetime, ends: datetime) -> None:
    """The files of an operator's CA, its key encrypted."""
    root_key, key = make_key(which=100), make_key(which=101)
    dates: dict[str, Any] = {"not_before": made, "not_after": ends}
    root = make_ca(root_key, common_name="Operator's Root", **dates)
    own = make_ca(key, (root_key, root), common_name="Operator's Sub CA", **dates)
    certificate_file, key_file = (folder / name for name in SUB_CA_FILES)
    certificate_file.write_text(chain_pem([own, root]))
    key_file.touch(0o600)
    key_file.write_bytes(
        key.private_bytes(
            Encoding.PEM,
            PrivateFormat.PKCS8,
            BestAvailableEncryption(SUB_CA_PASSWORD.encode()),
        )
    )


async def set_up(process: Process) -> dict[str, str]:
    """Issuers, profiles and API keys beside those of the first start; returns the keys."""
    database, now = process.database, process.clock.now_ms()
    sub_config = dict(zip(("cert_path", "key_path"), SUB_CA_FILES, strict=True))
    secrets = {"key_password": SUB_CA_PASSWORD}
    sub = IssuerRecord(
        id=SUB,
        name="Sub CA",
        type="GenericCA",
        config=sub_config,
        secrets=secrets,
        source="api",
        enabled=True,
        revision=1,
        created_at=now,
        updated_at=now,
    )
    old = replace(sub, id=OLD, name="Old CA", config={"common_name": "Old CA"}, secrets={})
    profile = Profile(
        id="prof-appliance",
        name="Appliances",
        description="RSA from 3072 bits, a year",
        key_types=frozenset({KeyType.RSA}),
        usages=(Usage.SERVER_AUTH, Usage.CLIENT_AUTH),
        name_kinds=frozenset({NameKind.DNS}),
        default_validity=365 * 86_400,
        max_validity=365 * 86_400,
        rsa_min_bits=3072,
        name_patterns=parse_patterns(["*.example.org"]),
        allowed_issuers=(LOCAL, SUB),
    )
    gone = replace(profile, id="prof-gone", name="Gone", allowed_issuers=None)
    keys = {name: new_api_key(name) for name in ("active", "expired", "revoked")}
    ends = {"expired": now + 86_400_000}

    def write(transaction: Transaction) -> None:
        for issuer in (sub, old):
            insert_issuer(transaction, database.keyring, issuer)
        for each in (profile, gone):
            insert_profile(transaction, each, now)
        for name, key in keys.items():
            record = ApiKeyRecord(name, f"the {name} one", "admin", hash_api_key(key))
            record = replace(record, expires_at=ends.get(name))
            insert_api_key(transaction, record, now)

    await database.write(write)
    await process.plane.services.catalog.refresh()
    await process.order(OLD, "old.example.org")
    await process.order(SUB, "sub.example.org")
    disabled = replace(old, enabled=False)
    await database.write(lambda t: update_issuer(t, database.keyring, disabled))
    await process.set_column(tables.api_keys, "revoked", revoked_at=now)
    await process.set_column(tables.profiles, "prof-appliance", enabled=False)
    await process.set_column(tables.profiles, "prof-gone", enabled=False, archived_at=now)
    await process.plane.services.catalog.refresh()
    await ServerTls(own_certificate(process), process.data_dir).load()
    await process.its.crls.ensure()
    await process.work("crl", rows=3)
    return keys


def own_certificate(process: Process) -> OwnCertificate:
    """The certificate of the server's own HTTPS."""
    catalog, enrolment = process.plane.services.catalog, process.its.enrolment
    return OwnCertificate(process.database, catalog, enrolment, process.clock, SERVER_NAMES)


async def issue_locally(process: Process) -> None:
    """Certificates of every profile, some renewed, some revoked for each reason."""
    names = ["www.example.org", "bücher.example.org", "10.0.0.1", "2001:db8::1"]
    web = await process.order(LOCAL, *names, owner="web", validity_days=60)
    process.clock.turn(days=1)
    for body in ({}, {"csr": csr(key=1)}):
        await process.post(f"certificates/{web['id']}/renew", body)
        process.clock.turn(seconds=60)
    first = web["version"]["id"]
    compromised = {"reason": "keyCompromise"}
    await process.post(f"certificates/{web['id']}/versions/{first}/revoke", compromised)
    for profile, named in (
        ("prof-mtls", ["spiffe://example.org/api", "api.example.org"]),
        ("prof-tls-client", ["someone@example.org"]),
        ("prof-tls-6-day", ["*.short.example.org"]),
        ("prof-workload-30-minute", ["spiffe://example.org/job"]),
    ):
        await process.order(LOCAL, *named, profile_id=profile)
    await process.order(LOCAL, "gone.example.org", validity_days=1)  # has expired by the end
    for key_type in (KeyType.RSA, KeyType.ED25519):
        request = csr(f"{key_type.value}.example.org", key_type=key_type)
        await process.post("certificates", {"issuer_id": LOCAL, "csr": request})
    for number, reason in enumerate(RevocationReason):
        revoked = await process.order(LOCAL, f"r{number}.example.org")
        await process.revoke(revoked, reason)
    released = await process.order(LOCAL, "released.example.org")
    await process.revoke(released, "certificateHold")
    await process.post(f"certificates/{released['id']}/release")
    await process.work("revocation", "done")
    labels = {"env": "old", "team/name": "shop"}
    archived = await process.order(LOCAL, "archived.example.org", labels=labels)
    await process.post(f"certificates/{archived['id']}/archive", {"although_valid": True})
    await process.post("certificates/import", {"certificate": to_pem(self_signed())})
    process.clock.turn(seconds=2)
    await process.work("crl", rows=3)  # a day has passed: it is time for everybody's


async def order_slowly(process: Process) -> None:
    """Orders that came to their end in every way, and one that will be given up."""
    await process.order(SLOW, "late.example.org", owner="web")
    for answer in ("pending", "pending", "issue"):
        await process.work("order", answer)
        process.clock.turn(seconds=400)
    await process.order(SLOW, "found.example.org")
    process.ca.recovery = Recovery.LOOKUP
    await process.work("order", errors.NoAnswer("connection reset"))
    process.clock.turn(seconds=60)
    await process.work("order", "issue")
    process.ca.recovery = Recovery.ASK
    ends: dict[str, Any] = {
        "rejected": errors.Refused("domain not validated"),
        "wrong": "wrong-names",
        "uncertain": errors.NoAnswer("connection reset"),
    }
    for name, answer in ends.items():
        await process.order(SLOW, f"{name}.example.org", f"www.{name}.example.org")
        await process.work("order", answer)
    cancelled = await process.order(SLOW, "cancelled.example.org")
    await process.post(f"orders/{cancelled['order_id']}/cancel")
    await process.order(SLOW, "expired.example.org")
    await process.work("order", "pending")


async def revoke_slowly(process: Process) -> None:
    """Revocations that the CA confirmed, refused, and holds."""
    confirmed = await process.issue_slowly("confirmed.example.org")
    await process.revoke(confirmed, "superseded")
    await process.work("revocation", "pending")
    process.clock.turn(seconds=60)
    await process.work("revocation", "done")
    refused = await process.issue_slowly("refused.example.org")
    await process.revoke(refused, "keyCompromise")
    await process.work("revocation", errors.Refused("not yours"))
    held = await process.issue_slowly("held.example.org")
    await process.revoke(held, "certificateHold")
    await process.work("revocation", "done")


async def revoke_many(process: Process) -> None:
    """A bulk revocation that is done, and one that was stopped."""
    for number in range(3):
        await process.order(LOCAL, f"b{number}.example.org", owner="batch")
    stopped = await _start_bulk(process, 3, owner="batch")
    await process.post(f"bulk-revocations/{stopped}/cancel")
    await _start_bulk(process, 3, owner="batch", name="*.example.org")
    await process.work("bulk_revocation")
    process.clock.turn(seconds=2)
    await process.work("crl")


async def _start_bulk(process: Process, expected: int, **wanted: Any) -> str:
    process.clock.turn(seconds=0.01)  # ids sort by the millisecond; later ones are not meant
    wanted |= {"issued_before": from_ms(process.clock.now_ms()).isoformat()}
    body = {"filter": wanted, "reason": "cessationOfOperation", "expected": expected}
    return str((await process.post("bulk-revocations", body))["id"])


async def grow_old(process: Process) -> None:
    """What a start a month later finds to do."""
    await process.work("order", "pending")  # for too long: it is given up
    await process.work("crl", rows=3)


async def leave_unfinished(process: Process) -> dict[str, dict[str, Any]]:
    """Everything that is left for another process to carry on; returns requests to be repeated."""
    waiting = await process.order(LOCAL, "new-key.example.org", profile_id="prof-tls-47-day")
    process.clock.turn(seconds=1)
    await process.post(f"certificates/{waiting['id']}/renew", {"validity_days": 9})
    await _leave_revocations(process)
    for number in range(4):
        name = f"m{number}.example.org"
        if number < 2:
            await process.issue_slowly(name, owner="moved")
        else:
            await process.order(LOCAL, name, owner="moved")
        process.clock.turn(seconds=0.01)  # the newest come first
    # SQL would have to know what a step writes: a smaller step leaves it half way by itself.
    with patch.object(bulk_revocation, "BATCH", 2):
        await _start_bulk(process, 4, owner="moved")
        await process.work("bulk_revocation")
    await process.claim("bulk_revocation")
    return await _leave_orders(process)


async def _leave_revocations(process: Process) -> None:
    issued = [await process.issue_slowly(f"u{number}.example.org") for number in range(5)]
    held, releasing, told, dying, waiting = issued
    for one in (held, releasing):
        await process.revoke(one, "certificateHold")
        await process.work("revocation", "done")
    await process.post(f"certificates/{releasing['id']}/release")
    await process.work("revocation", "pending")
    await process.revoke(told, "affiliationChanged")
    await process.work("revocation", "pending")
    await process.revoke(dying, "superseded")
    await process.die_during("revocation")
    await process.revoke(waiting)
    await process.post(f"certificates/{held['id']}/release")


async def _leave_orders(process: Process) -> dict[str, dict[str, Any]]:
    await process.order(SLOW, "polled.example.org")
    await process.work("order", "pending")
    process.clock.turn(seconds=10)
    await process.die_during("order")
    await process.claim("crl")  # for those that the bulk revocation has revoked
    await process.order(SLOW, "pending.example.org")
    await process.work("order", "pending")
    await process.order(SLOW, "submitting.example.org")
    await process.die_during("order")
    await process.order(SLOW, "limited.example.org")
    await process.work("order", errors.RateLimited("slowly"))
    repeatable = {}
    for key, issuer in (("repeat-local", LOCAL), ("repeat-slow", SLOW)):
        body = {"issuer_id": issuer, "csr": csr("again.example.org"), "owner": "web"}
        made = await process.post("certificates", body, {"Idempotency-Key": key})
        repeatable[key] = {"body": body, "certificate_id": made["id"]}
    return repeatable
