"""How a certificate authority takes part in the conformance suite.

A module in `drivers` with a list named `DRIVERS` is all that a connector needs: each driver says
which type of issuer it is about, starts a peer for it, and says what that peer can be told to do
wrong. What a peer cannot do, it is not asked for: the promises in question are left out for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from certctl.connectors.registry import all_connector_types, connector_type
from certctl.domain.orders import Recovery
from tests.conformance import drivers
from tests.conformance.mischief import Mischief, Operation

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cryptography import x509

    from certctl.connectors.contract import ConnectorType
    from certctl.domain.revocations import RevocationReason


@dataclass(frozen=True, slots=True)
class Pair:
    """Where the client's certificate and key are."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account at the peer: what an operator enters for it."""

    #: The issuer's config over REST.
    settings: dict[str, Any]
    #: What must never be seen anywhere.
    secrets: tuple[str, ...] = ()
    pair: Pair | None = None
    #: Of whatever the peer wants to know it by.
    handle: Any = None


@dataclass(frozen=True, slots=True)
class Placed:
    """An order of ours, by whatever a CA may know it: our id, or the key to be certified."""

    order_id: str
    #: SHA-256 of the DER SubjectPublicKeyInfo, in hex.
    spki: str


class Peer(Protocol):
    """A running CA, real or made by us. Its methods may be called at any time."""

    def open_account(self, folder: Path) -> OpenAccount:
        """A new account; its files go to `folder`."""
        ...

    def lock(self, account: OpenAccount) -> None:
        """Accept its credentials no longer."""
        ...

    def unlock(self, account: OpenAccount) -> None:
        """Accept them again."""
        ...

    def new_pair(self, account: OpenAccount) -> tuple[str, str]:
        """PEM of another client certificate for that account, and of its key."""
        ...

    def misbehave(
        self,
        mischief: Mischief,
        *,
        times: int | None = 1,
        on: Operation = Operation.SUBMIT,
        seconds: float = 1.0,
    ) -> None:
        """Do something wrong, the next `times` (None: until told otherwise) that `on` is asked."""
        ...

    def behave(self) -> None:
        """Forget every instruction."""
        ...

    def asked(self, operation: Operation | None = None) -> int:
        """How many requests there were."""
        ...

    def ordered(self, order: Placed) -> int:
        """How often an order of ours was placed."""
        ...

    def times(self, order: Placed) -> list[int]:
        """When it was asked to place it, in milliseconds."""
        ...

    def revoked(self, serial: str) -> str | None:
        """The reason with which a certificate was revoked."""
        ...

    def revoke(self, serial: str) -> None:
        """Have somebody else revoke a certificate."""
        ...


@dataclass(frozen=True, slots=True)
class Driver:
    """One CA, in one of the ways in which it can be used."""

    name: str
    connector: ConnectorType
    recovery: Recovery
    #: Settings beside the account's.
    settings: dict[str, Any] = field(default_factory=dict)
    #: Starts the peer, which every driver of the same one shares; None where there is none.
    start: _Start | None = None
    #: What the peer can be told to do wrong, and on what occasions.
    mischief: frozenset[Mischief] = frozenset()
    operations: frozenset[Operation] = frozenset()
    #: Whether orders are answered later.
    asynchronous: bool = False
    #: Whether client certificates are used.
    mutual_tls: bool = False
    #: Whether it stands for its connector where the way does not matter.
    representative: bool = True
    #: What a refusal says, and an account that is locked.
    refusal: str = ""
    locked: str = ""
    #: What the CA is told for reasons that it does not know.
    reasons: dict[RevocationReason, str] = field(default_factory=dict)
    #: The chain's end.
    anchor: _Anchor | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def types(self) -> tuple[ConnectorType, ...]:
        """Every known type of issuer, this one among them."""
        others = [kind for kind in all_connector_types() if kind.name != self.connector.name]
        return (*others, self.connector)

    def find(self, name: str) -> ConnectorType:
        """The type of that name or alias."""
        known = {alias.lower() for alias in (self.connector.name, *self.connector.aliases)}
        return self.connector if name.lower() in known else connector_type(name)


class _Start(Protocol):
    def __call__(self, folder: Path) -> AbstractContextManager[Peer]: ...


class _Anchor(Protocol):
    def __call__(self, peer: Peer) -> x509.Certificate: ...


@cache
def all_drivers() -> tuple[Driver, ...]:
    """Every driver of every module in `drivers`."""
    found: list[Driver] = []
    for module in iter_modules(drivers.__path__, f"{drivers.__name__}."):
        found += getattr(import_module(module.name), "DRIVERS", ())
    return tuple(found)


def for_drivers(
    *mischief: Mischief,
    on: Collection[Operation] = (Operation.SUBMIT,),
    recovery: Collection[Recovery] = tuple(Recovery),
    asynchronous: bool | None = None,
    mutual_tls: bool | None = None,
    representative: bool = False,
    peer: bool = True,
) -> pytest.MarkDecorator:
    """Have a test run for every driver that can do what it needs."""
    fitting = [
        driver
        for driver in all_drivers()
        if driver.mischief.issuperset(mischief)
        and (not mischief or driver.operations.issuperset(on))
        and driver.recovery in recovery
        and asynchronous in {None, driver.asynchronous}
        and mutual_tls in {None, driver.mutual_tls}
        and (driver.representative or not representative)
        and (driver.start is not None or not peer)
    ]
    return pytest.mark.parametrize("driver", fitting, ids=str, scope="module")
