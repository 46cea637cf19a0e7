"""Asking the server what there is, for the shell's completion: quick, silent, kept for a moment."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
import time
from contextlib import suppress
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from certctl import __version__
from certctl.cli.tables import clean
from certctl.client import ClientError, find_server
from certctl.client.trust import trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.client import ServerAccess

#: A value, and a few words about it.
Offer = tuple[str, str]

#: Nobody waits longer than this for the shell.
PATIENCE_SECONDS = 1.0
KEPT_SECONDS = 10.0

_FORGOTTEN_SECONDS = 86_400
_LARGEST_ANSWER = 4_000_000
_LONGEST_WORDS = 60
_OK = 200
#: What no shell reads as anything but a word.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}")

#: The address below /api/v1 (by default the noun's own), and what a row offers.
_ROWS: dict[str, tuple[str, Callable[[dict[str, Any]], tuple[Any, Any]]]] = {
    "certificates": ("certificates?limit=200", lambda row: (row["id"], ", ".join(row["names"]))),
    "owners": ("certificates?limit=200", lambda row: (row["owner"], "")),
    "issuers": ("issuers", lambda row: (row["id"], row["name"])),
    "issuers/types": ("issuers/types", lambda row: (row["name"], row["title"])),
    "profiles": ("profiles", lambda row: (row["id"], row["name"])),
    "orders": ("orders?limit=200", lambda row: (row["id"], f"{row['state']}, {row['issuer_id']}")),
    "bulk-revocations": (
        "bulk-revocations?limit=200",
        lambda row: (row["id"], f"{row['state']}, {row['reason']}"),
    ),
    "keys": ("keys?limit=200", lambda row: (row["id"], f"{row['name']}, {row['role']}")),
}


def offers(
    noun: str,
    *,
    url: str | None = None,
    data_dir: Path | None = None,
    ca_bundle: Path | None = None,
) -> list[Offer]:
    """What the key may see of a noun; nothing where the server does not tell in time.

    The noun is one of `_ROWS`, or `certificates/{id}/versions`.
    """
    try:
        access = find_server(url=url, data_dir=data_dir, ca_bundle=ca_bundle)
    except ClientError:
        return []
    # Keys see different things: what one was told is never offered to another.
    place = _folder() / _digest(access.url, access.api_key or "", noun)
    kept = _kept(place)
    if kept is not None:
        return kept
    found = _in_time(lambda: _asked(noun, access))
    with suppress(OSError):  # no room, or a home that cannot be written: asked again next time
        _keep(place, found)
    return found


def _in_time(ask: Callable[[], list[Offer]]) -> list[Offer]:
    """The answer, if it is there in time. No time limit of a socket covers a whole answer, nor the
    look-up of a name, so the asking is left behind in a thread."""
    answers: list[list[Offer]] = []

    def work() -> None:
        with suppress(ClientError, OSError, HTTPException, ValueError, LookupError, TypeError):
            answers.append(ask())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return answers[0] if answers else []


def _asked(noun: str, access: ServerAccess) -> list[Offer]:
    # Not the client of the other commands: to load it takes longer than this whole question.
    path, offer = _ROWS.get(noun, (noun, lambda row: (row["id"], row["serial"])))
    parts = urlsplit(access.url)
    connection = HTTPSConnection(
        parts.hostname or "",
        parts.port,
        timeout=PATIENCE_SECONDS,
        context=trust(access.ca_bundle),
    )
    headers = {"User-Agent": f"certctl/{__version__}", "Authorization": f"Bearer {access.api_key}"}
    try:
        connection.request("GET", f"{parts.path}/api/v1/{path}", headers=headers)
        response = connection.getresponse()
        if response.status != _OK:
            return []
        rows = json.loads(response.read(_LARGEST_ANSWER))["data"]
    finally:
        connection.close()
    found: dict[str, str] = {}
    for row in rows:
        value, words = offer(row)
        if isinstance(value, str) and _WORD.fullmatch(value):
            found.setdefault(value, clean(str(words))[:_LONGEST_WORDS])
    return list(found.items())


def _folder() -> Path:
    """Where the user's caches are (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "certctl"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _kept(place: Path) -> list[Offer] | None:
    """What was answered a moment ago."""
    with suppress(OSError, ValueError, TypeError):
        age = time.time() - place.stat().st_mtime
        if 0 <= age <= KEPT_SECONDS:
            return [(str(value), str(words)) for value, words in json.loads(place.read_bytes())]
    return None


def _keep(place: Path, found: list[Offer]) -> None:
    """Store an answer for this user alone, and drop what is long over. Raises OSError."""
    folder = place.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = time.time()
    for other in folder.iterdir():
        if now - other.stat().st_mtime > _FORGOTTEN_SECONDS:
            other.unlink(missing_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder)  # mode 0600
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        json.dump(found, file)
    Path(temporary).replace(place)
