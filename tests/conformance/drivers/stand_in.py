"""The stand-in, in each way to recover a lost answer, at once and later."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from certctl.domain.orders import Recovery
from tests.conformance.driver import Driver
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in import StandIn, stand_in
from tests.conformance.stand_in.peer import AuthorityPeer
from tests.conformance.stand_in.spoiling import REFUSAL
from tests.packages.stand_in_connector.stand_in_connector import CONNECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509

    from tests.conformance.driver import Peer


class StandInPeer(AuthorityPeer[StandIn]):
    """The stand-in, which is told our own order's id."""


@contextmanager
def start(folder: Path) -> Iterator[StandInPeer]:
    """Run a stand-in that demands client certificates."""
    with stand_in(folder) as ca:
        yield StandInPeer(ca)


def anchor(peer: Peer) -> x509.Certificate:
    """The root of what it sells."""
    assert isinstance(peer, StandInPeer)
    return peer.ca.chain[-1]


def _driver(recovery: Recovery, *, asynchronous: bool) -> Driver:
    return Driver(
        name=f"stand-in-{recovery.value}-{'later' if asynchronous else 'at-once'}",
        connector=CONNECTOR,
        recovery=recovery,
        settings={"recovery": recovery.value, "asynchronous": asynchronous},
        start=start,
        mischief=frozenset(Mischief),
        operations=frozenset(Operation),
        asynchronous=asynchronous,
        mutual_tls=True,
        representative=recovery is Recovery.LOOKUP and not asynchronous,
        refusal=REFUSAL,
        locked="the API key and the secret do not go together",
        anchor=anchor,
    )


DRIVERS = [
    _driver(recovery, asynchronous=asynchronous)
    for recovery in (Recovery.IDEMPOTENT, Recovery.LOOKUP, Recovery.REPEATABLE, Recovery.ASK)
    for asynchronous in (False, True)
]
