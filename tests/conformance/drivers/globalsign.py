"""GlobalSign, in both dialects and finding out which, against the stand-in of HVCA."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from certctl.connectors.globalsign import CONNECTOR
from certctl.domain.orders import Recovery
from certctl.domain.revocations import RevocationReason
from tests.conformance.driver import Driver
from tests.conformance.hvca import Hvca, hvca, token_mark
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.peer import AuthorityPeer
from tests.conformance.stand_in.spoiling import REFUSAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509

    from tests.conformance.driver import Peer, Placed
    from tests.conformance.stand_in import Account

#: So long a listing is behind: short, for tests that wait for it.
_LAG_SECONDS = 0.05
#: Any time at all makes the other dialect answer later.
_LATER_SECONDS = 0.001

_ATLAS = frozenset(
    {
        Operation.ACCOUNT,
        Operation.SUBMIT,
        Operation.POLL,
        Operation.LOOKUP,
        Operation.REVOKE,
        Operation.CHAIN,
    }
)
_HEADERS = frozenset({Operation.ACCOUNT, Operation.SUBMIT, Operation.POLL, Operation.REVOKE})


class HvcaPeer(AuthorityPeer[Hvca]):
    """The stand-in of HVCA, which knows an order by its key."""

    def name_of(self, order: Placed) -> str:
        return order.spki

    def secrets_of(self, account: Account) -> tuple[str, ...]:
        return *super().secrets_of(account), token_mark(account.api_secret)


@contextmanager
def start_atlas(folder: Path) -> Iterator[HvcaPeer]:
    """Run the dialect that is published."""
    with hvca(folder, "atlas") as ca:
        ca.listing_lag = _LAG_SECONDS
        yield HvcaPeer(ca)


@contextmanager
def start_at_once(folder: Path) -> Iterator[HvcaPeer]:
    """Run the dialect with headers, which answers an order with its certificate."""
    with hvca(folder, "headers") as ca:
        yield HvcaPeer(ca)


@contextmanager
def start_later(folder: Path) -> Iterator[HvcaPeer]:
    """Run the same, where the certificate has to be fetched."""
    with hvca(folder, "headers") as ca:
        ca.issue_seconds = _LATER_SECONDS
        yield HvcaPeer(ca)


def anchor(peer: Peer) -> x509.Certificate:
    """The root of what it sells."""
    assert isinstance(peer, HvcaPeer)
    return peer.ca.chain[-1]


_NOT_KNOWN = dict.fromkeys(
    (RevocationReason.CA_COMPROMISE, RevocationReason.AA_COMPROMISE), "unspecified"
)


def _atlas(name: str, dialect: str, *, representative: bool) -> Driver:
    return Driver(
        name=name,
        connector=CONNECTOR,
        recovery=Recovery.LOOKUP,
        settings={"dialect": dialect},
        start=start_atlas,
        mischief=frozenset(Mischief),
        operations=_ATLAS,
        asynchronous=True,
        mutual_tls=True,
        representative=representative,
        refusal=REFUSAL,
        locked="The API key and the secret are not valid",
        reasons=_NOT_KNOWN,
        anchor=anchor,
    )


def _headers(
    name: str, dialect: str, *, asynchronous: bool, representative: bool = False
) -> Driver:
    return Driver(
        name=name,
        connector=CONNECTOR,
        recovery=Recovery.ASK,
        settings={"dialect": dialect},
        start=start_later if asynchronous else start_at_once,
        mischief=frozenset(Mischief),
        operations=_HEADERS,
        asynchronous=asynchronous,
        mutual_tls=True,
        representative=representative,
        refusal=REFUSAL,
        locked="the API key is not known",
        reasons=_NOT_KNOWN,
        anchor=anchor,
    )


DRIVERS = [
    _atlas("globalsign-atlas", "atlas", representative=True),
    _headers("globalsign-headers-at-once", "headers", asynchronous=False, representative=True),
    _headers("globalsign-headers-later", "headers", asynchronous=True),
    _atlas("globalsign-auto-atlas", "auto", representative=False),
    _headers("globalsign-auto-headers", "auto", asynchronous=False),
]
