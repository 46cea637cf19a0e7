"""A CA made for tests, as the conformance suite sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from tests.conformance.driver import OpenAccount, Pair
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.accounts import Account
from tests.conformance.stand_in.background import RunningAuthority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.driver import Placed

_Authority = TypeVar("_Authority", bound=RunningAuthority)


class AuthorityPeer(Generic[_Authority]):
    """Every such CA has accounts, books and a script; what it calls an order is its own affair."""

    def __init__(self, ca: _Authority) -> None:
        self.ca = ca

    def name_of(self, order: Placed) -> str:
        """What its books call an order of ours."""
        return order.order_id

    def secrets_of(self, account: Account) -> tuple[str, ...]:
        """What must never be seen of an account."""
        return account.api_key, account.api_secret, account.private_key.splitlines()[1]

    def open_account(self, folder: Path) -> OpenAccount:
        account = self.ca.new_account()
        settings = self.ca.settings(account, folder)
        return OpenAccount(
            settings=dict(settings),
            secrets=self.secrets_of(account),
            pair=Pair(folder / "client.crt", folder / "client.key"),
            handle=account,
        )

    def lock(self, account: OpenAccount) -> None:
        self.ca.end(_account(account))

    def unlock(self, account: OpenAccount) -> None:
        self.ca.restore(_account(account))

    def new_pair(self, account: OpenAccount) -> tuple[str, str]:
        del account
        other = self.ca.new_account()
        return other.certificate, other.private_key

    def misbehave(
        self,
        mischief: Mischief,
        *,
        times: int | None = 1,
        on: Operation = Operation.SUBMIT,
        seconds: float = 1.0,
    ) -> None:
        self.ca.misbehave(mischief, times=times, on=on, seconds=seconds)

    def behave(self) -> None:
        self.ca.behave()

    def asked(self, operation: Operation | None = None) -> int:
        return len(self.ca.books.entries(operation))

    def ordered(self, order: Placed) -> int:
        return self.ca.books.ordered(self.name_of(order))

    def times(self, order: Placed) -> list[int]:
        entries = self.ca.books.entries(Operation.SUBMIT, self.name_of(order))
        return [entry.at_ms for entry in entries]

    def revoked(self, serial: str) -> str | None:
        return self.ca.books.revoked().get(serial)

    def revoke(self, serial: str) -> None:
        self.ca.revoke(serial)


def _account(account: OpenAccount) -> Account:
    assert isinstance(account.handle, Account)
    return account.handle
