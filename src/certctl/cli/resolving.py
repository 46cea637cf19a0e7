"""`certctl orders resolve`, step by step."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from certctl.cli import bodies
from certctl.cli.confirming import ask, need_somebody
from certctl.cli.errors import maybe_done
from certctl.cli.order_words import order_text
from certctl.client import ClientError
from certctl.domain.errors import InvalidInput
from certctl.schemas.orders import OrderResolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from certctl.cli.session import Session
    from certctl.schemas.orders import OrderDetail

_CHOICES = "--not-ordered, --pending, --issued, --rejected, --cancelled"
_LARGEST_FILE = 100_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a person found at the CA."""

    state: str
    reference: dict[str, Any] | None
    file: str | None
    reason: str | None

    @classmethod
    def read(
        cls,
        answers: Mapping[str, bool],
        reference: Iterable[str],
        file: str | None,
        reason: str | None,
    ) -> Found:
        """Take the options apart. Raises typer.BadParameter unless exactly one answer is given."""
        chosen = [state for state, is_so in answers.items() if is_so]
        if len(chosen) != 1:
            raise typer.BadParameter(
                f"say which one is so, and only one: {_CHOICES}", param_hint="'ID'"
            )
        (state,) = chosen
        parts = _reference(reference)
        if (state == "pending") != bool(parts):
            raise typer.BadParameter(
                "--pending and --reference go together: the CA is asked about the order by its "
                "reference",
                param_hint="'--reference'",
            )
        return cls(state, parts or None, file, reason)

    def body(self) -> OrderResolve:
        """What is sent. Raises InvalidInput, OSError."""
        return bodies.make(
            OrderResolve,
            state=self.state,
            reference=self.reference,
            certificate=None if self.file is None else _pem(self.file),
            reason=self.reason,
        )


def resolve(session: Session, order_id: str, found: Found, *, ask_first: bool) -> None:
    """Tell the server, after a question where it cannot be undone. Raises ClientError."""
    body = found.body()
    ask_first = ask_first and found.state not in {"pending", "issued"}
    look = f"look first with certctl orders show {order_id}"
    need_somebody(session, yes=not ask_first, otherwise=look)
    with session.connect() as client:
        if ask_first:
            order = client.order(order_id)
            typer.echo(order_text(order, session.now), err=True)
            ask(_question(order, found.state), otherwise="Nothing was changed.")
        try:
            resolved = client.resolve_order(order_id, body)
        except ClientError as error:
            if not error.uncertain:
                raise
            raise maybe_done(
                error,
                "What you said may have been stored all the same",
                hint=f"look before you try again: certctl orders show {order_id}",
            ) from error
    session.answer(resolved, lambda: f"Order {resolved.id} is {resolved.state}.")
    if resolved.state == "issued":
        session.note(f"Fetch it: certctl certs download {resolved.certificate_id} --format chain")
    elif resolved.state in {"ready", "pending"}:
        session.note(f"See how it gets on: certctl orders show {resolved.id}")


def _question(order: OrderDetail, state: str) -> str:
    match state:
        case "ready":
            return (
                f"Order it from {order.issuer_id} again? If the CA has it after all, there will be "
                "two"
            )
        case "rejected":
            return "Close the order as refused by the CA? It cannot be opened again"
        case _:
            return (
                "Close the order as cancelled? It cannot be opened again, and what the CA may have "
                "issued is not recorded here"
            )


def _reference(parts: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        if part.lstrip().startswith("{"):
            found |= _json_object(part)
            continue
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(
                "write it as NAME=VALUE, or as a JSON object", param_hint="'--reference'"
            )
        found[name.strip()] = value
    return found


def _json_object(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise typer.BadParameter("this is not a JSON object", param_hint="'--reference'")
    return read


def _pem(path: str) -> str:
    """The file's text. Whether it is the right certificate, the server sees."""
    if path == "-":
        content = sys.stdin.buffer.read(_LARGEST_FILE + 1)
    else:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE or b"-----BEGIN CERTIFICATE-----" not in content:
        raise _no_pem()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _no_pem() from None
    if "PRIVATE KEY-----" in text:
        raise InvalidInput(
            "private-key-in-file",
            "there is a private key in the file of --issued: nothing was sent",
            field="certificate",
            hint="name a file with the certificate and its chain only",
        )
    return text


def _no_pem() -> InvalidInput:
    return InvalidInput(
        "certificate-not-pem",
        "the file of --issued has no certificate in PEM",
        field="certificate",
        hint="it begins with -----BEGIN CERTIFICATE-----; from DER: openssl x509 -inform DER",
    )
