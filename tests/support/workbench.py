"""Orders step by step, on a clock that is turned: one control plane's worth of it, no scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from certctl.connectors.config import ConnectorConfig
from certctl.connectors.contract import (
    CheckResult,
    ConnectorContext,
    ConnectorType,
    IssuedCertificate,
    Pending,
)
from certctl.connectors.registry import connector_type
from certctl.domain.orders import Recovery
from certctl.domain.polling import PollSchedule
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.advance import Advance
from certctl.lifecycle.assembly import assemble
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.conditions import Conditions
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.lifecycle.events import Events
from certctl.lifecycle.late_answers import LateAnswers
from certctl.lifecycle.metrics import Metrics
from certctl.lifecycle.recording import Recording
from certctl.lifecycle.seeding import seed
from certctl.lifecycle.tally import Tally
from certctl.lifecycle.tell import Tell
from certctl.storage import conditions as condition_rows
from certctl.storage import orders as order_rows
from certctl.storage import revocations as revocation_rows
from certctl.storage.issuers import IssuerRecord, insert_issuer
from certctl.storage.orders import AttemptRecord, OrderRecord, get_order, list_attempts, load_order
from tests.support.pki import make_csr, make_key
from tests.support.timely_ca import TimelyCA

if TYPE_CHECKING:
    from certctl.connectors.contract import IssuanceRequest
    from certctl.domain.clock import Clock
    from certctl.domain.events import Event
    from certctl.lifecycle.assembly import UseCases
    from certctl.storage.conditions import ConditionRecord
    from certctl.storage.database import Connection, Database, SqlRow, Transaction
    from certctl.storage.leases import Leases
    from tests.support.clock import TurnableClock

ISSUER = "iss-bench"
LEASE_MS = 60_000


class BenchCA(TimelyCA):
    """A scripted CA in the time of the bench. `checks` and `lookups` are further scripts."""

    def __init__(
        self,
        clock: Clock,
        script: list[Any],
        recovery: Recovery = Recovery.ASK,
        *,
        lookups: list[Any] | None = None,
        checks: list[Any] | None = None,
        revocations: list[Any] | None = None,
        window: float | None = None,
        listing_delay: float = 60.0,
    ) -> None:
        super().__init__(clock, script, recovery, revocations, lookups or [None])
        self.checks = list(checks or ["ok"])
        self.recovery_window = window
        self.listing_delay = listing_delay
        self.answer_without_reference = False
        #: Every answer with a certificate, which can be a step of a script again.
        self.kept: list[IssuedCertificate] = []

    async def _answer(
        self, action: str, request: IssuanceRequest
    ) -> IssuedCertificate | Pending | None:
        step = self.script_of(action)[0]
        if isinstance(step, IssuedCertificate | Pending):
            self.books.asked.append((action, request.order_id))
            return step
        answer = await super()._answer(action, request)
        if isinstance(answer, IssuedCertificate):
            self.kept.append(answer)
        if isinstance(answer, Pending) and self.answer_without_reference:
            return Pending({})
        return answer

    async def check(self) -> CheckResult:
        self.books.asked.append(("check", ""))
        step = self.checks.pop(0) if len(self.checks) > 1 else self.checks[0]
        if isinstance(step, Exception):
            raise step
        return CheckResult("bench.test", "answers as told")


class BenchConfig(ConnectorConfig):
    """Settings that name a file."""

    env_prefix: ClassVar[str] = "CERTCTL_BENCH_"
    cert_path: str | None = None
    secret_name: str | None = None


@dataclass(frozen=True, slots=True)
class Heard(Events):
    """Keeps what it is told."""

    recorded: list[Event] = field(default_factory=list)
    announced: list[Event] = field(default_factory=list)

    def record(self, transaction: Transaction, event: Event) -> None:
        self.recorded.append(event)

    def announce(self, event: Event) -> None:
        self.announced.append(event)

    def kinds(self) -> list[str]:
        """What was announced, which must be what was recorded."""
        assert self.announced == self.recorded
        return [event.kind.value for event in self.announced]


@dataclass
class Bench:
    """One process, as far as orders go. `step` does what the scheduler would do now."""

    database: Database
    catalog: Catalog
    clock: TurnableClock
    ca: BenchCA
    its: UseCases
    events: Heard
    conditions: Conditions
    advance: Advance
    tell: Tell

    async def order(self, name: str = "www.example.org") -> str:
        """Order a certificate; the order's id."""
        request = EnrolmentRequest(ISSUER, "prof-tls-server", make_csr(make_key(), [name]))
        return (await self.its.enrolment.enrol(SYSTEM, request)).order_id

    async def claim(self, leases: Leases = order_rows.LEASES) -> list[SqlRow[Any]]:
        """Claim what is due."""
        rows = await self.database.write(
            lambda t: leases.claim(
                t, owner="bench", now_ms=self.clock.now_ms(), lease_ms=LEASE_MS, limit=1000
            )
        )
        return list(rows)

    async def claim_one(self) -> OrderRecord:
        """Claim the one order that is due."""
        (row,) = await self.claim()
        return load_order(row)

    async def step(self) -> list[OrderRecord]:
        """Take one step with each order that is due; the orders after it."""
        return [await self.advance(load_order(row)) for row in await self.claim()]

    async def step_conditions(self) -> None:
        """Take one step with each condition that is due."""
        for row in await self.claim(condition_rows.LEASES):
            await self.conditions.step(row)

    async def step_revocations(self) -> None:
        """Take one step with each revocation that is due."""
        for row in await self.claim(revocation_rows.LEASES):
            await self.tell.step(row)

    async def get(self, order_id: str) -> OrderRecord:
        """An order as it is stored."""
        found = await self.database.read(lambda connection: get_order(connection, order_id))
        assert found is not None
        return found

    async def history(self, order_id: str) -> list[AttemptRecord]:
        """An order's attempts."""
        return await self.database.read(lambda connection: list_attempts(connection, order_id))

    async def outcomes(self, order_id: str) -> list[tuple[str, str]]:
        """An order's attempts, in short."""
        return [(attempt.action, attempt.outcome) for attempt in await self.history(order_id)]

    async def condition(self) -> ConditionRecord | None:
        """The issuer's condition as it is stored, remembered ones too."""

        def load(connection: Connection) -> ConditionRecord | None:
            return condition_rows.get_condition(connection, ISSUER)

        return await self.database.read(load)

    async def free_leases(self) -> None:
        """End every lease, as time does."""
        await self.database.write(order_rows.LEASES.release_all)

    async def audit_actions(self) -> list[str]:
        """What was audited, oldest first."""
        from certctl.storage.audit import list_events

        def load(connection: Connection) -> list[str]:
            events = list_events(connection, limit=1000, before=None)
            return [event.action for event in reversed(events)]

        return await self.database.read(load)


async def make_bench(
    database: Database,
    ca: BenchCA,
    *,
    schedule: PollSchedule | None = None,
    settings: dict[str, Any] | None = None,
) -> Bench:
    """Another process on that database; the first one makes the issuer."""
    clock: Any = database.clock
    schedule = schedule or PollSchedule()

    async def build(config: Any, context: ConnectorContext) -> BenchCA:
        del config, context
        return ca

    kind = ConnectorType("Bench", (), "Bench CA", ISSUER, BenchConfig, build)
    catalog = Catalog(
        database, clock, lambda name: kind if name == "Bench" else connector_type(name)
    )
    await seed(database, {})
    await catalog.refresh()
    if ISSUER not in {issuer.record.id for issuer in catalog.issuers()}:
        now = clock.now_ms()
        record = IssuerRecord(
            ISSUER, "bench", "Bench", settings or {}, {}, "api", True, 1, now, now
        )
        await database.write(lambda t: insert_issuer(t, database.keyring, record))
        await catalog.refresh()
    its = assemble(database, catalog, clock, schedule)
    events = Heard()
    conditions = Conditions(database, catalog, clock, schedule, events)
    late = LateAnswers(database, catalog, clock, events)
    recording = Recording(database, clock, conditions, late, events)
    tally = Tally(catalog, clock, Metrics())
    advance = Advance(catalog, clock, schedule, conditions, recording, tally)
    tell = Tell(database, catalog, clock, schedule, its.ocsp.drop_all, conditions, events, tally)
    its = replace(its, advance=advance, conditions=conditions, tell=tell)
    return Bench(database, catalog, clock, ca, its, events, conditions, advance, tell)
