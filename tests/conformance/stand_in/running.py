"""The stand-in as a whole, running in a thread."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.stand_in.background import RunningAuthority, serving
from tests.conformance.stand_in.desk import Parts
from tests.conformance.stand_in.hierarchy import Shop
from tests.conformance.stand_in.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509


class StandIn(RunningAuthority):
    """The CA that `service` describes."""

    def __init__(
        self, folder: Path, *, client_certificates: bool = True, journal: Path | None = None
    ) -> None:
        self._shop = Shop()
        parts = Parts.new(journal)
        desk = Service(self._shop, parts, certificates=client_certificates)
        super().__init__(folder, parts, desk, client_certificates=client_certificates)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The issuing CA, then its root."""
        return self._shop.chain


@contextmanager
def stand_in(
    folder: Path | None = None,
    *,
    client_certificates: bool = True,
    journal: Path | None = None,
) -> Iterator[StandIn]:
    """A stand-in on a free port; its own files are in `folder` (default: a temporary one).

    With `client_certificates` it asks for one of an account, and speaks to nobody else.
    """
    with (
        tempfile.TemporaryDirectory(prefix="stand-in-") as temporary,
        serving(
            StandIn(
                folder or Path(temporary), client_certificates=client_certificates, journal=journal
            )
        ) as ca,
    ):
        yield ca
