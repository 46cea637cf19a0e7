"""Events are posted to the operator's webhook, each until it was taken, at least once.

A row is deleted after the receiver's yes. A process that dies between the two posts the event
again, under the same `webhook-id`: receivers know by it what they have seen.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog

from certctl import __version__
from certctl.connectors.triage import parse_retry_after
from certctl.domain.webhooks import is_too_old, next_attempt
from certctl.storage.events import (
    delete_event,
    drop_oldest_events,
    load_event,
    postpone_event,
)
from certctl.storage.leases import TakenOver

if TYPE_CHECKING:
    from certctl.domain.clock import Clock
    from certctl.domain.webhooks import WebhookTarget
    from certctl.storage.database import Database, SqlRow, Transaction
    from certctl.storage.events import EventRecord

log = structlog.get_logger(__name__)

#: How many events wait at most; beyond, the oldest are dropped.
MOST_WAITING = 10_000
#: For connecting, for each read and write, and for all of it together, in seconds.
TIMEOUT = 10.0
DEADLINE = 15.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of an attempt; `problem` is None for a yes. `final` when asking again is useless.

    The words are ours alone: those of the libraries may have the address in them.
    """

    problem: str | None
    retry_after: float | None = None
    final: bool = False


class Webhook:
    """Delivers events. `context` (default: one that trusts what the system trusts) is for tests.

    `scale` shortens the waits between attempts, `most_waiting` bounds what is kept.
    """

    def __init__(
        self,
        target: WebhookTarget,
        database: Database,
        clock: Clock,
        *,
        scale: float = 1.0,
        most_waiting: int = MOST_WAITING,
        context: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        deadline: float = DEADLINE,
    ) -> None:
        self._target = target
        self._database = database
        self._clock = clock
        self._scale = scale
        self._most_waiting = most_waiting
        self._context = context
        self._timeout = timeout
        self._deadline = deadline

    async def step(self, row: SqlRow[Any]) -> bool:
        """Post a claimed event; whether nothing more will be done about it.

        Raises TakenOver when another process has claimed it meanwhile, Unavailable if the database
        is not there.
        """
        record = load_event(row)
        if is_too_old(self._age(record)):  # it waited while there was no webhook
            return await self._give_up(record, "it is too old")
        answer = await self._post(record)
        if answer.problem is None:
            await self._finish(record)
            return True
        wait = None
        if not answer.final:
            wait = next_attempt(
                record.attempts + 1,
                self._age(record),
                random.random(),  # noqa: S311 - spreads load, protects nothing
                answer.retry_after,
                scale=self._scale,
            )
        if wait is None:
            return await self._give_up(record, answer.problem)
        await self._postpone(record, answer.problem, wait)
        log.warning(
            "event not delivered yet", event_id=record.id, kind=record.kind, problem=answer.problem
        )
        return False

    async def _give_up(self, record: EventRecord, problem: str) -> bool:
        await self._finish(record)
        log.error("event not delivered", event_id=record.id, kind=record.kind, problem=problem)
        return True

    def _age(self, record: EventRecord) -> float:
        return (self._clock.now_ms() - record.created_at) / 1000

    async def _finish(self, record: EventRecord) -> None:
        if not await self._database.write(lambda t: delete_event(t, record)):
            raise TakenOver

    async def _postpone(self, record: EventRecord, problem: str, wait: float) -> None:
        now_ms = self._clock.now_ms()
        due_at = now_ms + round(wait * 1000)

        def write(transaction: Transaction) -> tuple[bool, int]:
            kept = postpone_event(
                transaction, record, problem=problem, due_at=due_at, now_ms=now_ms
            )
            # Events come faster than they leave only where deliveries fail.
            return kept, drop_oldest_events(transaction, self._most_waiting)

        kept, dropped = await self._database.write(write)
        if dropped:
            log.error(
                "events dropped: more wait for the webhook than are kept",
                dropped=dropped,
                kept=self._most_waiting,
            )
        if not kept:
            raise TakenOver

    async def _post(self, record: EventRecord) -> _Answer:
        import httpx2

        context = await self._verifying()
        body = record.body.encode()
        headers = self._target.headers(record.id, self._clock.now_ms() // 1000, body) | {
            "content-type": "application/json",
            "user-agent": f"certctl/{__version__}",
        }
        try:
            async with (
                asyncio.timeout(self._deadline),
                httpx2.AsyncClient(
                    verify=context,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=self._timeout,
                ) as client,
                client.stream(
                    "POST", self._target.url, content=body, headers=headers
                ) as response,  # whose body nobody reads
            ):
                return _judged(
                    response.status_code, response.headers.get("retry-after"), self._clock.now_ms()
                )
        except TimeoutError:
            return _Answer(f"no answer within {self._deadline:g} seconds")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            return _Answer(_words(error))

    async def _verifying(self) -> ssl.SSLContext:
        if self._context is None:  # it takes long to read what the system trusts
            self._context = await asyncio.to_thread(ssl.create_default_context)
        return self._context


def _judged(status: int, retry_after: str | None, now_ms: int) -> _Answer:
    if HTTPStatus(200) <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _Answer(None)
    if status == HTTPStatus.GONE:
        return _Answer("the receiver answered 410: it wants no events", final=True)
    wait = None if retry_after is None else parse_retry_after(retry_after, now_ms)
    return _Answer(f"the receiver answered {status}", wait)


def _words(error: BaseException) -> str:
    import httpx2

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            # "Hostname mismatch, certificate is not valid for …": the name may be a secret.
            reason = cause.verify_message.partition(",")[0]
            return f"the receiver's certificate is not trusted: {reason}"
        cause = cause.__cause__ or cause.__context__
    match error:
        case httpx2.TimeoutException():
            return "no answer in time"
        case httpx2.ConnectError():
            return "the receiver cannot be reached"
        case _:
            return "the connection to the receiver broke"
