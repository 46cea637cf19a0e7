"""Start to ready beside the bare import of the libraries; `--help` beside an empty Typer app."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.support.server import ServerProcess, clean_environment

RUNS = 7
#: What the server cannot do without; what it imports late (alembic, psycopg, httpx2) is not here.
_LIBRARIES = (
    "import fastapi, pydantic_settings, uvicorn, uvloop, httptools, sqlalchemy, structlog, "
    "cryptography.x509, sqlalchemy.dialects.sqlite, uvicorn.protocols.http.httptools_impl"
)
_EMPTY_APP = """
import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def hello(name: str) -> None: print(name)
@app.command()
def bye(name: str) -> None: print(name)
app()
"""
_CERTCTL = "from certctl.cli import main; main()"


def run(folder: Path) -> None:
    """Measure from an installed wheel, in turns, so that a slow moment hits both sides."""
    site = _install_wheel(folder)
    environment = clean_environment({"PYTHONPATH": str(site)})
    server = ServerProcess(folder / "ready", python_path=site)
    server.start()  # the first start makes keys and tables
    server.stop()
    bare, ready, empty, help_ = [], [], [], []
    for _ in range(RUNS):
        bare.append(_time(["-c", _LIBRARIES], environment))
        ready.append(server.start())
        server.stop()
        empty.append(_time(["-c", _EMPTY_APP, "--help"], environment))
        help_.append(_time(["-c", _CERTCTL, "--help"], environment))
    print(f"\nstart-up, median of {RUNS}, from an installed wheel")
    _row("bare import of the libraries", bare)
    _row("start to ready", ready, bare)
    _row("empty Typer app, --help", empty)
    _row("certctl --help", help_, empty)


def _row(label: str, times: list[float], beside: list[float] | None = None) -> None:
    median = statistics.median(times)
    ratio = f"{median / statistics.median(beside):>8.2f}" if beside else ""
    print(f"{label:<32}{median * 1000:>8.0f} ms{ratio}")


def _time(arguments: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


def _install_wheel(folder: Path) -> Path:
    root = Path(__file__).parent.parent
    site = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=root,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
            "--target", str(site), str(wheel),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return site
