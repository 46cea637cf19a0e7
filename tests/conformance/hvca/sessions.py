"""Logins: a token for an account's key and secret, good for a while."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `ends` in seconds since 1970."""

    token: str
    generation: int
    api_key: str
    api_secret: str
    ends: float


def token_mark(api_secret: str) -> str:
    """What every token of that account has in it, so that a test can look for tokens anywhere."""
    return hashlib.sha256(b"token of " + api_secret.encode()).hexdigest()[:24]


class Sessions:
    """Every token that was handed out; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_token: dict[str, Session] = {}

    def open(
        self, generation: int, api_key: str, api_secret: str, now: float, lasts: float
    ) -> Session:
        """Log in at `now` for `lasts` seconds."""
        token = f"{secrets.token_hex(12)}.{token_mark(api_secret)}.{secrets.token_hex(20)}"
        session = Session(token, generation, api_key, api_secret, now + lasts)
        with self._lock:
            self._by_token[token] = session
        return session

    def find(self, token: str) -> Session | None:
        """The login that a token came from, whether or not it has ended."""
        with self._lock:
            return self._by_token.get(token)

    def end_all(self) -> None:
        """Take back every token."""
        with self._lock:
            self._by_token.clear()
