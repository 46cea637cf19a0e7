"""Webhooks as <https://www.standardwebhooks.com/> describes them: address, signature, schedule."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from certctl.domain.errors import Misconfigured

SECRET_PREFIX = "whsec_"  # noqa: S105 - what the secret begins with
#: Bytes of a secret, as the standard demands.
SHORTEST_SECRET, LONGEST_SECRET = 24, 64

#: Waits between the first attempts, then the one of every later attempt, in seconds.
STEPS = (5.0, 30.0, 120.0, 600.0)
STEADY = 3600.0
#: A wait may be this part of itself shorter or longer.
JITTER = 0.2
LONGEST_RETRY_AFTER = 86_400.0
#: How old an event may become before it is given up, in seconds.
MAX_AGE = 3 * 86_400.0

_URL_HINT = "set it to an https address, such as https://hooks.example.com/certctl"
_SECRET_HINT = (
    f"set it to {SECRET_PREFIX} followed by {SHORTEST_SECRET} to {LONGEST_SECRET} random bytes in "
    f"base64: echo {SECRET_PREFIX}$(openssl rand -base64 32)"
)


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """Where events are posted, and the key that signs them. Both are secret."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)

    def headers(self, event_id: str, at_s: int, body: bytes) -> dict[str, str]:
        """What goes with a body: its id, the time of this attempt (in seconds), its signature."""
        signed = f"{event_id}.{at_s}.".encode() + body
        mac = base64.b64encode(hmac.digest(self.key, signed, hashlib.sha256)).decode()
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": f"v1,{mac}",
        }


def parse_target(url: str, secret: str) -> WebhookTarget:
    """The target that two settings describe.

    Raises Misconfigured, naming the setting and never its value. Plain http is for loopback only:
    a relay on the same machine.
    """
    _check_url(url)
    return WebhookTarget(url, _key(secret))


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_url("is not a URL") from None
    if not url.isascii() or not url.isprintable() or set(url) & set(' <>"\\^`{|}'):
        raise _bad_url("has characters that a URL cannot have")
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise _bad_url("is not the address of a web server")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise _bad_url("must be https: plain http is for this machine only (localhost)")
    if "#" in url:
        raise _bad_url("must have no fragment")


def _key(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        raise _bad_secret(f"does not begin with {SECRET_PREFIX}")
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _bad_secret(f"is not base64 after {SECRET_PREFIX}") from None
    if not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        raise _bad_secret(f"has not {SHORTEST_SECRET} to {LONGEST_SECRET} bytes")
    return key


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _bad_url(what: str) -> Misconfigured:
    return Misconfigured("webhook-invalid", f"CERTCTL_WEBHOOK_URL {what}", hint=_URL_HINT)


def _bad_secret(what: str) -> Misconfigured:
    return Misconfigured("webhook-invalid", f"CERTCTL_WEBHOOK_SECRET {what}", hint=_SECRET_HINT)


def next_attempt(
    attempts: int,
    age: float,
    jitter: float,
    retry_after: float | None = None,
    *,
    scale: float = 1.0,
) -> float | None:
    """Seconds until an event is posted again, None to give it up.

    `attempts` counts those that failed (at least 1), `age` is the event's, in seconds, `jitter` a
    number in [0, 1) that moves the wait by up to 20 % either way. A longer `retry_after` from the
    receiver wins, clamped to a day. `scale` shortens the waits of the schedule.
    """
    step = STEPS[attempts - 1] if attempts <= len(STEPS) else STEADY
    wait = step * (1 - JITTER + 2 * JITTER * jitter) * scale
    if retry_after is not None:
        wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
    return None if is_too_old(age + wait) else wait


def is_too_old(age: float) -> bool:
    """Whether an event of that age, in seconds, is not posted any more."""
    return age >= MAX_AGE
