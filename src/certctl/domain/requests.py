"""Which names a request asks for, when a CSR and a list each have their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.errors import InvalidInput
from certctl.domain.names import name_from_common_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.domain.names import Name


def settle_names(
    csr_names: Sequence[Name], csr_common_name: str | None, listed: tuple[Name, ...] | None
) -> tuple[Name, ...]:
    """Return the names to certify, each once.

    Without a list they are those of the CSR, with its common name first where that is a name (see
    `name_from_common_name`) and not among them. With a list they are the list: it may go beyond the
    CSR, but a name that the CSR asks for is never dropped in silence.

    Raises InvalidInput at `names`: `names-not-listed` when the list lacks a name of the CSR's
    subjectAltName, `common-name-not-listed` when it lacks its common name.
    """
    from_subject = None if csr_common_name is None else name_from_common_name(csr_common_name)
    if listed is None:
        first = () if from_subject is None or from_subject in csr_names else (from_subject,)
        return tuple(dict.fromkeys((*first, *csr_names)))
    allowed = frozenset(listed)
    if not allowed.issuperset(csr_names):
        raise InvalidInput(
            "names-not-listed",
            "the CSR has a name that `names` does not list",
            field="names",
            hint="list every name of the CSR, leave `names` out, or make a CSR without that name",
        )
    if from_subject is not None and from_subject not in allowed:
        raise InvalidInput(
            "common-name-not-listed",
            "the CSR's common name is a DNS name or IP address that `names` does not list",
            field="names",
            hint="list the common name too, or make a CSR without it",
        )
    return tuple(dict.fromkeys(listed))
