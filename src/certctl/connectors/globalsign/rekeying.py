"""When a change of key is as good as a new certificate. No I/O.

What HVCA issues for another key has the same names and usages as before, and ends when that would
have ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from certctl.pki.certificates import names_of
from certctl.pki.keys import spki_of
from certctl.pki.usages import OID_OF_USAGE

if TYPE_CHECKING:
    from certctl.connectors.contract import IssuanceRequest, Replaced

#: Of the lifetime that is asked for, so much has to be left.
_ENOUGH = 0.9


def is_enough(request: IssuanceRequest, replaced: Replaced) -> bool:
    """Whether another key is all that is new, and the end is still far enough away.

    The request is one that was submitted.
    """
    before = replaced.certificate
    if request.submitted_at is None or spki_of(before.public_key()) == request.csr.spki:
        return False
    left = before.not_valid_after_utc.timestamp() - request.submitted_at / 1000
    return (
        names_of(before) == frozenset(request.names)
        and _usages_of(before) == {OID_OF_USAGE[usage] for usage in request.usages}
        and left >= request.validity * _ENOUGH
    )


def _usages_of(certificate: x509.Certificate) -> frozenset[x509.ObjectIdentifier]:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(usages.value)
