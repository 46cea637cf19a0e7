"""The stand-in of HVCA as a whole, running in a thread."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.conformance.hvca.atlas import Atlas
from tests.conformance.hvca.conduct import Conduct
from tests.conformance.hvca.headers import Headers
from tests.conformance.hvca.press import Press
from tests.conformance.mischief import Operation
from tests.conformance.stand_in.background import RunningAuthority, serving
from tests.conformance.stand_in.desk import Parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from tests.conformance.hvca.office import Office

Dialect = Literal["atlas", "headers"]


def _new_pair(generation: int) -> tuple[str, str]:
    """An API key of 16 hex digits and a secret of 40."""
    del generation
    return secrets.token_hex(8), secrets.token_hex(20)


class Hvca(Conduct, RunningAuthority):
    """One HVCA. What is in `Conduct` may be set at any time.

    In its books an order's reference is its key, as hex SHA-256 of SubjectPublicKeyInfo, and what
    was booked is the serial. A certificate is noted as issued by the request that first fetches it.
    """

    def __init__(
        self, folder: Path, dialect: Dialect = "atlas", *, journal: Path | None = None
    ) -> None:
        Conduct.__init__(self)
        self.dialect = dialect
        self._press = Press()
        parts = Parts.new(journal)
        self._atlas = Atlas(parts, self._press, self) if dialect == "atlas" else None
        self._office: Office = self._atlas or Headers(parts, self._press, self)
        RunningAuthority.__init__(self, folder, parts, self._office, pair=_new_pair)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The issuing CA, then its root."""
        return self._press.chain

    @property
    def api_url(self) -> str:
        """Its address: with its version in the one dialect, and without in the other."""
        return self.url if self._atlas is None else f"{self.url}/v2"

    def behave(self) -> None:
        """Forget every instruction."""
        super().behave()
        self._office.behave()

    def end_tokens(self) -> None:
        """Accept no token any longer that was handed out before."""
        assert self._atlas is not None, "there are no tokens in this dialect"
        self._atlas.sessions.end_all()

    def times_ordered(self, spki: str) -> int:
        """How often a certificate was ordered for a key."""
        return self.books.ordered(spki)

    def ordered_at(self, spki: str) -> list[int]:
        """When it was asked to, in milliseconds; what it refused included."""
        return [entry.at_ms for entry in self.books.entries(Operation.SUBMIT, spki)]


@contextmanager
def hvca(
    folder: Path | None = None, dialect: Dialect = "atlas", *, journal: Path | None = None
) -> Iterator[Hvca]:
    """A stand-in of HVCA on a free port; its own files are in `folder` (default: a temporary one).

    It asks for a client certificate of an account, and speaks to nobody else.
    """
    with (
        tempfile.TemporaryDirectory(prefix="hvca-") as temporary,
        serving(Hvca(folder or Path(temporary), dialect, journal=journal)) as ca,
    ):
        yield ca
