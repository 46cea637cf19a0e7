"""What `certctl issue` and `certctl renew` do, step by step: key, request, waiting, files."""

from __future__ import annotations

import shlex
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from certctl.cli.errors import CommandFailed, explain
from certctl.cli.exit_codes import ExitCode
from certctl.cli.files import NewKey, quoted, refuse_existing, write_file
from certctl.cli.progress import waiting
from certctl.cli.times import full, relative
from certctl.client.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.cli.requests import Prepared
    from certctl.cli.session import Session
    from certctl.client import Client
    from certctl.schemas.certificates import CertificateView, VersionView
    from certctl.schemas.orders import OrderDetail

_FAILED = frozenset({"rejected", "expired", "cancelled"})
#: So long the server holds the request open; after it, asking for the order tells more.
_SERVER_WAIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where the results go, and how they are waited for."""

    out: str
    force: bool
    wait: int
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Ordering:
    """What `issue` and `renew` do each in its own way.

    `send` is given an idempotency key and the seconds that the server may wait. `repetition` is the
    command that sends the same once more, without its CSR, its files and that key. `present` is the
    id of the version that is there before.
    """

    send: Callable[[str, int], CertificateView]
    repetition: list[str]
    issuer: str
    done: str
    present: str | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """Where the results go."""

    prefix: Path
    certificate: Path
    chain: Path
    key: Path

    @classmethod
    def at(cls, out: str, stem: str) -> Files:
        """In a folder under `stem`, or with `out` as the beginning of their names."""
        place = Path(out)
        if out.endswith("/") or place.is_dir():
            place = place / stem
        if not place.parent.is_dir():
            raise CommandFailed(
                "folder-missing",
                f"there is no folder {place.parent}",
                exit_code=ExitCode.USAGE,
                hint=f"make it: mkdir -p {quoted(place.parent)}",
            )
        ends = (".crt", ".chain.crt", ".key")
        return cls(place, *(place.with_name(place.name + end) for end in ends))


def carry_out(
    session: Session, client: Client, prepared: Prepared, ordering: Ordering, delivery: Delivery
) -> None:
    """Order the certificate and write what came. Raises ClientError, CertctlError, OSError."""
    files = Files.at(delivery.out, prepared.stem)
    if not delivery.force:
        refuse_existing(files.certificate, files.chain)
    key = None
    if prepared.key_pem is not None:
        key = NewKey(files.key, prepared.key_pem, force=delivery.force)
    end = time.monotonic() + delivery.wait
    request = _Request(session, client, prepared, ordering, delivery, files, key, end)
    text = f"Waiting for {ordering.issuer}"
    with waiting(text, watched=session.is_watched()) as change:
        certificate = request.send()
        version = certificate.version
        if version is None or version.id == ordering.present:
            certificate = request.follow(certificate, change)
    request.finish(certificate)


@dataclass(frozen=True, slots=True)
class _Request:
    session: Session
    client: Client
    prepared: Prepared
    ordering: Ordering
    delivery: Delivery
    files: Files
    key: NewKey | None
    end: float

    def send(self) -> CertificateView:
        """Order it. The new key goes again where the answer is a certain no."""
        idempotency_key = self.delivery.idempotency_key or str(uuid.uuid4())
        try:
            return self.ordering.send(
                idempotency_key, min(self.delivery.wait, _SERVER_WAIT_SECONDS)
            )
        except ClientError as error:
            if not error.uncertain:
                self._remove_key()
                raise
            report = explain(error)
            raise CommandFailed(
                error.code,
                f"{error.detail}. The certificate may have been made all the same",
                exit_code=report.exit_code if report else ExitCode.UNEXPECTED,
                hint=self._repetition(idempotency_key),
            ) from error
        except KeyboardInterrupt:
            typer.echo(
                "\nInterrupted. The certificate may have been made all the same.\n"
                f"Hint: {self._repetition(idempotency_key)}",
                err=True,
            )
            raise

    def follow(
        self, certificate: CertificateView, change: Callable[[str], None]
    ) -> CertificateView:
        """Wait for the order; the certificate with what the order led to."""
        order_id = certificate.order_id
        if order_id is None:
            raise self._still_open(certificate, "the CA has not issued the certificate yet")

        def tell(order: OrderDetail) -> None:
            text = f"{order.id} is {order.state}"
            if order.due_at is not None:
                text += f", the CA is asked {relative(order.due_at, datetime.now(UTC))}"
            change(text)

        try:
            left = max(0.0, self.end - time.monotonic())
            order = self.client.wait_for_order(order_id, left, on_poll=tell)
            if order.state == "issued":
                return self.client.certificate(certificate.id)
        except (ClientError, KeyboardInterrupt) as error:
            # The order goes on without us, and its key must be there when it is done.
            words = error.detail if isinstance(error, ClientError) else "interrupted"
            raise self._still_open(certificate, words) from None
        if order.state in _FAILED:
            self._remove_key()
            raise CommandFailed(
                f"order-{order.state}",
                f"order {order.id} is {order.state}: {order.problem or 'no reason was given'}",
                exit_code=ExitCode.ORDER_FAILED,
                hint=f"see what happened: certctl orders show {order.id}",
            )
        state = f"order {order.id} is {order.state}"
        words = f"{state}: {order.problem}" if order.problem else state
        raise self._still_open(certificate, words, order.state)

    def finish(self, certificate: CertificateView) -> None:
        """Write the files and say what they are."""
        version = certificate.version
        if version is None:
            raise self._still_open(certificate, "the CA has not issued the certificate yet")
        files, force = self.files, self.delivery.force
        try:
            write_file(files.certificate, version.certificate.encode(), force=force)
            write_file(files.chain, (version.certificate + version.chain).encode(), force=force)
            if self.key is not None:
                self.key.put_in_place()
        except (OSError, CommandFailed) as error:
            words = error.detail if isinstance(error, CommandFailed) else f"{error}"
            hint = f"fetch it: certctl certs download {certificate.id} --format chain --out FILE"
            if self.key is not None:
                hint += f"\nKey: {self.key}"
            raise CommandFailed(
                "not-written",
                f"the certificate was issued, but not written: {words}",
                exit_code=ExitCode.UNEXPECTED,
                hint=hint,
            ) from error
        self.session.answer(certificate, lambda: self._told(certificate, version))

    def _told(self, certificate: CertificateView, version: VersionView) -> str:
        files = self.files
        lines = [
            f"{self.ordering.done} {certificate.id}",
            f"  serial       {version.serial}",
            f"  valid until  {full(version.not_after, self.session.now)}",
            f"  certificate  {files.certificate}",
            f"  with chain   {files.chain}",
        ]
        if self.key is not None:
            lines.append(f"  private key  {self.key} (mode 0600; it stayed on this machine)")
        lines.append(
            f"Look at it: openssl x509 -in {quoted(files.certificate)} -noout "
            "-subject -issuer -dates -ext subjectAltName"
        )
        return "\n".join(lines)

    def _remove_key(self) -> None:
        if self.key is not None:
            self.key.remove()

    def _still_open(
        self, certificate: CertificateView, words: str, state: str | None = None
    ) -> CommandFailed:
        if self.session.options.json:
            typer.echo(certificate.model_dump_json(indent=2))
        if state == "awaiting_csr":
            return CommandFailed(
                "order-pending",
                words,
                exit_code=ExitCode.PENDING,
                hint=f"continue it with a new key: certctl renew {certificate.id}",
            )
        force = " --force" if self.delivery.force else ""
        hint = (
            f"look at it with `certctl orders show {certificate.order_id}`; once it is issued: "
            f"certctl certs download {certificate.id} --format chain "
            f"--out {quoted(self.files.chain)}{force}"
        )
        if self.key is not None:
            hint += f"\nKey: {self.key}"
        return CommandFailed(
            "order-pending",
            f"{words}. The order goes on without you",
            exit_code=ExitCode.PENDING,
            hint=hint,
        )

    def _repetition(self, idempotency_key: str) -> str:
        """Keep what a repetition needs, and say how it is done.

        The request is kept too: a new one, even with the same key, would be another request.
        """
        prepared, prefix = self.prepared, self.files.prefix
        command = list(self.ordering.repetition)
        if prepared.csr is not None:
            csr = prepared.csr_file
            if csr is None:
                csr = prefix.with_name(prefix.name + ".retry.csr")
                write_file(csr, prepared.csr.encode(), force=True)
            command += ["--csr", str(csr)]
        if prepared.key_signature is not None:
            signature = prepared.signature_file
            if signature is None:  # kept for the same reason: ECDSA would make another one
                signature = prefix.with_name(prefix.name + ".retry.sig")
                write_file(signature, prepared.key_signature.encode(), force=True)
            command += ["--key-signature-file", str(signature)]
        if self.delivery.force:
            command.append("--force")
        command += ["--out", str(prefix), "--idempotency-key", idempotency_key]
        hint = f"within 24 hours this finds it, or makes it once: {shlex.join(command)}"
        return hint if self.key is None else f"{hint}\nKey: {self.key}"
