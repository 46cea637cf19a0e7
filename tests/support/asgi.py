"""One request to an ASGI application, without a server and without a socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Reply:
    """What came back; `reads` is how many pieces of the body the application asked for."""

    status: int
    headers: dict[str, str]
    body: bytes
    reads: int


async def request(
    app: ASGIApp,
    method: str,
    target: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Mapping[str, str] | None = None,
    *,
    complete: bool = True,
) -> Reply | None:
    """Send a request as a server would hand it on; None when nothing came back.

    Several pieces arrive one by one, without a length that was announced; after the last one the
    client is gone when `complete` is false.
    """
    pieces = [body] if isinstance(body, bytes) else list(body)
    path, _, query = target.partition("?")
    sent: list[Message] = []
    reads = 0

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        if reads > len(pieces):
            return {"type": "http.disconnect"}
        more = reads < len(pieces) or not complete
        return {"type": "http.request", "body": pieces[reads - 1], "more_body": more}

    async def send(message: Message) -> None:
        sent.append(message)

    fields = {"content-length": str(len(body))} if isinstance(body, bytes) else {}
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("ascii", "replace"),
        "query_string": query.encode("ascii", "replace"),
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        "state": {},
    }
    await app(scope, receive, send)
    if not sent:
        return None
    start, *bodies = sent
    content = b"".join(message.get("body", b"") for message in bodies)
    return Reply(
        status=start["status"],
        headers={name.decode(): value.decode() for name, value in start["headers"]},
        body=b"" if method == "HEAD" else content,  # a server leaves it out
        reads=reads,
    )
