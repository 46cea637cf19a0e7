"""What a connector's call costs beside the same call with a bare HTTP client, over mTLS."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx2

from certctl.connectors.mtls import TlsContexts, TlsFiles
from certctl.connectors.transport import Endpoint, Transports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_AT_ONCE = (1, 16)
_CALLS = 64  # of one kind in a row, before it is the other one's turn
_BODY = {"csr": "-----BEGIN CERTIFICATE REQUEST-----\n" + "x" * 900}
_HEADER = f"{'calls over mTLS, kept':<24}{'at once':>8}{'bare us':>9}{'ours us':>9}{'ratio':>8}"


def run(folder: Path, seconds: float) -> None:
    """Measure both in turns in one process; the server is another one."""
    place = folder / "transport"
    place.mkdir()
    print(f"\n{_HEADER}")
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.transport_peer", str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            asyncio.run(_measure(place, f"https://localhost:{port}", seconds))
        finally:
            server.stdin.close()


async def _measure(place: Path, url: str, seconds: float) -> None:
    certificate, key, trust = (
        str(place / name) for name in ("client.crt", "client.key", "trust.pem")
    )
    context = await TlsContexts().build(TlsFiles(certificate, key, trust))
    transports = Transports()
    headers = {"Authorization": "Bearer abc"}
    ours = transports.open(Endpoint(f"{url}/v2", certificate, key, trust, headers=headers))
    async with httpx2.AsyncClient(verify=context, headers=headers) as bare:

        async def bare_call() -> None:
            response = await bare.post(f"{url}/v2/certificates", json=_BODY)
            assert response.json()["status"] == "pending"

        async def our_call() -> None:
            reply = await ours.send("POST", "/certificates", json=_BODY)
            assert reply.json()["status"] == "pending"

        for at_once in _AT_ONCE:
            costs = await _in_turns(bare_call, our_call, at_once, seconds)
            typical = [statistics.median(column) * 1e6 for column in zip(*costs, strict=True)]
            ratio = statistics.median(mine / theirs for theirs, mine in costs)
            print(f"{'':<24}{at_once:>8}{typical[0]:>9,.0f}{typical[1]:>9,.0f}{ratio:>8.2f}")
    await transports.close()


async def _in_turns(
    first: Callable[[], Awaitable[None]],
    second: Callable[[], Awaitable[None]],
    at_once: int,
    seconds: float,
) -> list[tuple[float, float]]:
    """Seconds per call of both, round by round; who begins changes with each round."""
    for call in (first, second):
        await _round(call, at_once)
    rounds: list[tuple[float, float]] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        if len(rounds) % 2:
            later = await _round(second, at_once)
            rounds.append((await _round(first, at_once), later))
        else:
            rounds.append((await _round(first, at_once), await _round(second, at_once)))
    return rounds


async def _round(call: Callable[[], Awaitable[None]], at_once: int) -> float:
    async def several() -> None:
        for _ in range(_CALLS // at_once):
            await call()

    begun = time.perf_counter()
    await asyncio.gather(*(several() for _ in range(at_once)))
    return (time.perf_counter() - begun) / _CALLS
