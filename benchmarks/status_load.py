"""A load generator for the status listener: keep-alive plain HTTP clients that send OCSP queries.

Run as `python -m benchmarks.status_load URL METHOD QUERIES_FILE CLIENTS SECONDS`, where the file
has a query in base64 on each line; prints one JSON line.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from itertools import cycle
from pathlib import Path
from urllib.parse import quote, urlsplit

from benchmarks.load import WARM_UP_SECONDS, figures, run_clients


def _requests(method: str, path: str, queries: list[str]) -> list[bytes]:
    if method == "GET":
        return [
            f"GET {path}/{quote(query, safe='')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            for query in queries
        ]
    bodies = [base64.b64decode(query) for query in queries]
    return [
        (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/ocsp-request\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
        for body in bodies
    ]


def _check(answer: bytes) -> None:
    # 0A 01 00: the answer's status is `successful`.
    if answer[4:7] != b"\x0a\x01\x00":
        raise SystemExit(f"unexpected answer: {answer[:100]!r}")


async def _load(requests: list[bytes], url: str, clients: int, seconds: float) -> dict[str, float]:
    shifts = [index * len(requests) // clients for index in range(clients)]
    start = time.perf_counter() + WARM_UP_SECONDS
    times = await run_clients(
        url,
        None,
        [cycle(requests[shift:] + requests[:shift]) for shift in shifts],
        start=start,
        until=start + seconds,
        answers=_check,
    )
    return figures(times, seconds)


def main() -> None:
    url, method, file, clients, seconds = sys.argv[1:]
    import uvloop

    requests = _requests(method, urlsplit(url).path, Path(file).read_text().split())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_load(requests, url, int(clients), float(seconds)))))


if __name__ == "__main__":
    main()
