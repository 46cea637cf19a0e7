"""The list of certificates: what is asked for, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from certctl.cli.tables import Column, Table
from certctl.cli.times import relative

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from certctl.client import Client
    from certctl.schemas.certificates import CertificateSummary
    from certctl.schemas.common import Page


class Status(StrEnum):
    """Where a certificate stands."""

    PENDING = "pending"
    ISSUED = "issued"
    FAILED = "failed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ARCHIVED = "archived"


class Sort(StrEnum):
    """What the list is sorted by; a minus turns it round."""

    OLDEST_FIRST = "created_at"
    NEWEST_FIRST = "-created_at"
    FIRST_TO_EXPIRE = "not_after"
    LAST_TO_EXPIRE = "-not_after"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which certificates: those that fit everything given."""

    status: Status | None = None
    issuer_id: str | None = None
    profile_id: str | None = None
    owner: str | None = None
    name: str | None = None
    expires_after: datetime | None = None
    expires_before: datetime | None = None
    expires_in: timedelta | None = None
    sort: Sort | None = None

    def __post_init__(self) -> None:
        if self.expires_in and (self.expires_after or self.expires_before):
            raise typer.BadParameter(
                "it says both ends already: leave out --expires-after and --expires-before",
                param_hint="'--expires-in'",
            )

    @property
    def is_everything(self) -> bool:
        """Whether every certificate fits."""
        return self == Wanted(sort=self.sort)

    @property
    def nothing(self) -> str:
        """What to say when none fits."""
        if self.is_everything:
            return "No certificates yet. Get one: certctl issue www.example.org"
        return "No certificates fit. Leave out an option, or see them all: certctl certs"

    def at(self, now: datetime) -> Wanted:
        """The same with its ends fixed: every page of one list has to be asked for alike."""
        if self.expires_in is None:
            return self
        return replace(
            self, expires_in=None, expires_after=now, expires_before=now + self.expires_in
        )

    def page(self, client: Client, size: int, cursor: str | None) -> Page[CertificateSummary]:
        """One page from the server, after `at`. Raises ClientError."""
        return client.certificates(
            status=None if self.status is None else self.status.value,
            issuer_id=self.issuer_id,
            profile_id=self.profile_id,
            owner=self.owner,
            name=self.name,
            expires_after=self.expires_after,
            expires_before=self.expires_before,
            sort=None if self.sort is None else self.sort.value,
            limit=size,
            cursor=cursor,
        )


_COLUMNS = (
    Column("NAMES", least=14),
    Column("STATUS", is_state=True),
    Column("EXPIRES", may_go=True),
    Column("ISSUER", least=9, may_go=True),
    Column("OWNER", least=8, extra=True),
    Column("ID"),
)


def table(rows: Sequence[CertificateSummary], now: datetime) -> Table:
    """A row for each certificate."""
    return Table(
        _COLUMNS,
        [
            (
                names_of(row),
                row.status,
                relative(row.not_after, now),
                row.issuer_id,
                row.owner or "",
                row.id,
            )
            for row in rows
        ],
    )


def names_of(row: CertificateSummary) -> str:
    """What it is for, in one line."""
    return ", ".join(row.names) or row.common_name or ""
