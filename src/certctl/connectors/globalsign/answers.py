"""What both dialects read from answers. Nothing is taken for granted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from certctl.connectors.errors import BadAnswer
from certctl.connectors.words import Words, usual_words
from certctl.domain.revocations import RevocationReason
from certctl.domain.serials import serial_hex
from certctl.pki.certificates import split_pem_certificates

if TYPE_CHECKING:
    from cryptography import x509

    from certctl.connectors.contract import Reference, Replaced, RevocationRequest
    from certctl.connectors.transport import Reply

# A serial is at most 20 octets (RFC 5280 §4.1.2.2); older pages write it in decimal, of 49 digits.
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,50}", re.ASCII)

_REASONS = frozenset(
    {
        RevocationReason.UNSPECIFIED,
        RevocationReason.KEY_COMPROMISE,
        RevocationReason.AFFILIATION_CHANGED,
        RevocationReason.CESSATION_OF_OPERATION,
        RevocationReason.SUPERSEDED,
        RevocationReason.PRIVILEGE_WITHDRAWN,
    }
)


def text_of(body: Any, name: str) -> str:
    """A text of an object; raises BadAnswer where it is none."""
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise BadAnswer(f"the CA's answer has no {name}")
    return value


def atlas_words(reply: Reply) -> Words | None:
    """What a problem of Atlas says: a description, and errors by their type, which is its code."""
    said = usual_words(reply)
    try:
        body = reply.json()
    except BadAnswer:  # a page of something before the API
        return said
    if said is None or said.code is not None:
        return said
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, dict) and errors:
        return said._replace(code=next(iter(errors)))
    return said


def checked_serial(serial: str) -> str:
    """A serial number as the CA writes it, which later calls repeat; raises BadAnswer."""
    if not _SERIAL.fullmatch(serial):
        raise BadAnswer("what the CA calls the order is no serial number")
    return serial


def reference_of(serial: str) -> Reference:
    """What is kept of an order and of its certificate."""
    return {"serial": serial}


def serial_in(reference: Reference) -> str:
    """The serial that an order is known by."""
    return checked_serial(text_of(reference, "serial"))


def serial_of(one: RevocationRequest | Replaced) -> str:
    """The serial as the CA wrote it; of a certificate without a reference, in hex."""
    known = one.reference.get("serial")
    if isinstance(known, str) and _SERIAL.fullmatch(known):
        return known
    return serial_hex(one.certificate.serial_number)


def told_reason(reason: RevocationReason) -> str:
    """The reason as GlobalSign knows it; what it does not know is told as unspecified."""
    return (reason if reason in _REASONS else RevocationReason.UNSPECIFIED).value


def certificates_in(pem: str) -> list[x509.Certificate]:
    """Certificates in PEM, at least one; raises BadAnswer."""
    try:
        found = split_pem_certificates(pem)
    except ValueError:
        found = []
    if not found:
        raise BadAnswer("the CA's answer has a certificate that cannot be read")
    return found


def number_in(reply: Reply, name: str) -> int:
    """A whole number of an object in an answer; raises BadAnswer."""
    body = reply.json()
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadAnswer(f"the CA's answer has no {name}")
    return value
