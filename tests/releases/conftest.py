"""The databases of earlier releases, on either kind of server, opened by this version."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from certctl.storage.database import open_database
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.sealing import Keyring
from tests.releases.kept import KeptRelease, kept_releases
from tests.releases.upgrading import LaterClock, Upgraded, copy_to_postgresql, kept_contents
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.timely_ca import TimelyCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.postgres import PostgresServer

_PREFIX = f"certctl_test_{os.getpid()}_release"
_numbers = itertools.count(1)


@pytest.fixture(params=kept_releases(), ids=lambda kept: kept.name)
def release(request: pytest.FixtureRequest) -> KeptRelease:
    """Every release, one after the other."""
    found: KeptRelease = request.param
    return found


class Templates:
    """The releases' databases on PostgreSQL, each made once a run, to copy from."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._names: dict[str, str] = {}

    def copy(self, release: KeptRelease) -> tuple[str, str]:
        """Name and address of a database as that release left it."""
        if release.name not in self._names:
            name = f"{_PREFIX}_template_{len(self._names)}"
            folder = self._folder / release.name
            folder.mkdir()
            release.unpack(folder)
            copy_to_postgresql(self._server.create_database(name), *kept_contents(folder))
            self._names[release.name] = name
        name = f"{_PREFIX}_{next(_numbers)}"
        return name, self._server.create_database(name, self._names[release.name])

    def close(self) -> None:
        """Remove them."""
        for name in self._names.values():
            self._server.drop_database(name)


@pytest.fixture(scope="session")
def postgres_releases(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Templates]:
    """Every release's database on PostgreSQL."""
    templates = Templates(postgres, tmp_path_factory.mktemp("releases"))
    yield templates
    templates.close()


@pytest.fixture
def url(dialect: str, release: KeptRelease, request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The address of a release's database; None for the file in its data directory."""
    if dialect == "sqlite":
        yield None
        return
    name, address = request.getfixturevalue("postgres_releases").copy(release)
    yield address
    request.getfixturevalue("postgres").drop_database(name)


@pytest.fixture
async def upgraded(
    release: KeptRelease, url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Upgraded]:
    """A release's database on either kind of server, brought up to date."""
    monkeypatch.chdir(tmp_path)  # the Sub CA's files are named as seen from the data directory
    release.unpack(tmp_path)
    _, before = kept_contents(tmp_path)
    if url is not None:
        (tmp_path / DATABASE_FILE).unlink()
    clock = LaterClock(release.manifest.made_at)
    keyring = Keyring(release.manifest.encryption_key)
    database = await open_database(url=url, data_dir=tmp_path, clock=clock, keyring=keyring)
    yield Upgraded(release, before, database, clock, tmp_path)
    await database.close()


@pytest.fixture
async def plane(upgraded: Upgraded) -> AsyncIterator[ControlPlane]:
    """The control plane on it, which does nothing by itself."""
    ca = TimelyCA(upgraded.clock)
    async with control_plane(
        upgraded.database, upgraded.data_dir, ca=ca, run_scheduler=False
    ) as running:
        yield running
