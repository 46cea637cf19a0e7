"""The MACs of the audit chains. Every encoding is unambiguous: no two inputs give one message."""

from __future__ import annotations

import hmac
from typing import NamedTuple


class EncodedEvent(NamedTuple):
    """An event as its row has it; `detail` is JSON text, `at` milliseconds."""

    at: int
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: str
    request_id: str | None = None


class Head(NamedTuple):
    """The ends of a chain: the link before its first event that is kept, and its last link."""

    chain_id: str
    base_seq: int
    base_mac: bytes
    last_seq: int
    last_mac: bytes


def opening_mac(key: bytes, chain_id: str) -> bytes:
    """The MAC that the first event of a chain is linked to."""
    return hmac.digest(key, f"open:{chain_id}".encode(), "sha256")


def event_mac(key: bytes, chain_id: str, seq: int, event: EncodedEvent, previous: bytes) -> bytes:
    """The MAC of one event: over its fields, its place in the chain and the MAC before it."""
    return hmac.digest(key, encode_event_at(chain_id, seq, event) + previous, "sha256")


def encode_event_at(chain_id: str, seq: int, event: EncodedEvent) -> bytes:
    """An event and its place as bytes: texts behind their lengths, numbers ended by a colon.

    A previous MAC, whose length is fixed, may follow. An event without a request id is written as
    it was before there were any.
    """
    at, actor, action, object_type, object_id, detail, request_id = event
    request = "" if request_id is None else f"request:{len(request_id)}:{request_id}"
    return (
        f"event:{seq}:{at}:{len(chain_id)}:{chain_id}{len(actor)}:{actor}{len(action)}:{action}"
        f"{len(object_type)}:{object_type}{len(object_id)}:{object_id}{len(detail)}:{detail}"
        f"{request}"
    ).encode()


def head_mac(key: bytes, head: Head) -> bytes:
    """The MAC of a chain's own row."""
    chain_id, base_seq, base_mac, last_seq, last_mac = head
    text = f"head:{len(chain_id)}:{chain_id}{base_seq}:{last_seq}:{len(base_mac)}:"
    return hmac.digest(key, text.encode() + base_mac + last_mac, "sha256")
