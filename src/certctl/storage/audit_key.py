"""The key of the audit chains' MACs, which stays the same when the sealing key changes.

It is stored among the sealed values. A database that has none yet (a new one, or one of certctl
0.1.0) gets the one that was derived from the sealing secret until then.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from sqlalchemy import select

from certctl.storage.macs import Head, head_mac
from certctl.storage.sealed_values import find_sealed, insert_sealed
from certctl.storage.tables import audit_chains

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from certctl.domain.clock import Clock
    from certctl.storage.sealing import Keyring

_SCOPE, _NAME = "server", "audit-key"
_HEADS = select(audit_chains).order_by(audit_chains.c.id)


def load_audit_key(writing: Engine, reading: Engine, keyring: Keyring, clock: Clock) -> bytes:
    """The audit key of this database, stored by now.

    Processes that start together get the same one. Raises Misconfigured when it cannot be opened.
    """
    with reading.connect() as connection:
        sealed = find_sealed(connection, _SCOPE, _NAME)
    if sealed is None:
        with writing.begin() as connection:
            made = keyring.seal(_SCOPE, _NAME, _derived(connection, keyring))
            insert_sealed(connection, _SCOPE, _NAME, made, clock.now_ms())
            sealed = find_sealed(connection, _SCOPE, _NAME)
    if sealed is None:
        raise LookupError("the audit key was stored and is not there")
    return keyring.open(_SCOPE, _NAME, sealed)


def _derived(connection: Connection, keyring: Keyring) -> bytes:
    """The key of the chains that are there: of the secret in use when they were written.

    That is not the first one when the secret was changed together with the version of certctl.
    """
    heads = [
        (Head(row.id, row.base_seq, row.base_mac, row.last_seq, row.last_mac), row.head_mac)
        for row in connection.execute(_HEADS)
    ]
    for key in keyring.audit_keys:
        if any(hmac.compare_digest(head_mac(key, head), mac) for head, mac in heads):
            return key
    return keyring.audit_keys[0]
