"""What can be told about a database from outside, beside a server that uses it or without one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import exc as sa
from sqlalchemy import func, select, text

from certctl.storage.engine import database_url, looking_engine
from certctl.storage.failures import describe, unavailable
from certctl.storage.issuer_checks import CheckRecord, list_checks
from certctl.storage.migrate import current_revision
from certctl.storage.tables import audit_events, crls, issuers, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

T = TypeVar("T")

# Among the newest, because certificates of less than an hour say nothing of their status.
_NEWEST = 50
_NEWEST_LOCAL = (
    select(versions.c.der)
    .where(versions.c.issuer_id.in_(select(crls.c.issuer_id)))
    .order_by(versions.c.id.desc())
    .limit(_NEWEST)
)
_LAST_EVENT = select(func.max(audit_events.c.at))
_LAST_NOT_BEFORE = select(versions.c.not_before).order_by(versions.c.id.desc()).limit(1)
_SERVER_NOW = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
_IN_USE = select(issuers.c.id).where(issuers.c.archived_at.is_(None), issuers.c.enabled)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A database that is looked at, and not changed."""

    _engine: Engine

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def revision(self) -> str | None:
        """The revision of its tables, None where there are none; raises Unavailable."""
        try:
            return current_revision(self._engine)
        except sa.DBAPIError as error:
            raise unavailable(f"the database cannot be used: {describe(error)}") from None

    def look(self, fn: Callable[[Connection], T]) -> T:
        """What `fn` reads, in a transaction that sees one state; raises Unavailable."""
        try:
            with self._engine.connect() as connection:
                return fn(connection)
        except sa.DBAPIError as error:
            raise unavailable(f"the database cannot be read: {describe(error)}") from None


@contextmanager
def inspect_database(url: str | None, data_dir: Path) -> Iterator[Inspection]:
    """Look at the database; None is the embedded one, which has to be there.

    Raises Misconfigured for a bad address.
    """
    engine = looking_engine(database_url(url, data_dir))
    try:
        yield Inspection(engine)
    finally:
        engine.dispose()


def server_now_ms(connection: Connection) -> int:
    """What time it is for PostgreSQL's server, to compare with one's own."""
    return int(connection.execute(_SERVER_NOW).scalar_one())


def newest_times(connection: Connection) -> tuple[int | None, int | None]:
    """When the last audit event was, and from when the newest version is valid (milliseconds)."""
    return (
        connection.execute(_LAST_EVENT).scalar(),
        connection.execute(_LAST_NOT_BEFORE).scalar(),
    )


def newest_local_versions(connection: Connection) -> list[bytes]:
    """The newest certificates (DER), newest first, of issuers whose status we tell ourselves."""
    return list(connection.execute(_NEWEST_LOCAL).scalars())


def failed_checks(connection: Connection) -> list[CheckRecord]:
    """The last test of each issuer in use for which it failed, by the issuer's id."""
    in_use = set(connection.execute(_IN_USE).scalars())
    checks = sorted(list_checks(connection).items())
    return [check for issuer_id, check in checks if issuer_id in in_use and not check.ok]
