"""What a CSR's subject offers to an order, by the API's names for its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from certctl.connectors.globalsign.orders import common_name_of

if TYPE_CHECKING:
    from certctl.connectors.contract import IssuanceRequest

_UNITS = "organizational_unit"
_FIELDS = {
    NameOID.ORGANIZATION_NAME: "organization",
    NameOID.COUNTRY_NAME: "country",
    NameOID.STATE_OR_PROVINCE_NAME: "state",
    NameOID.LOCALITY_NAME: "locality",
    NameOID.STREET_ADDRESS: "street_address",
    NameOID.POSTAL_CODE: "postal_code",
    NameOID.EMAIL_ADDRESS: "email",
    NameOID.SERIAL_NUMBER: "serial_number",
    NameOID.GIVEN_NAME: "given_name",
    NameOID.SURNAME: "surname",
    NameOID.PSEUDONYM: "pseudonym",
    NameOID.ORGANIZATION_IDENTIFIER: "organization_identifier",
    NameOID.BUSINESS_CATEGORY: "business_category",
    NameOID.JURISDICTION_LOCALITY_NAME: "jurisdiction_of_incorporation_locality_name",
    NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME: (
        "jurisdiction_of_incorporation_state_or_province_name"
    ),
    NameOID.JURISDICTION_COUNTRY_NAME: "jurisdiction_of_incorporation_country_name",
}


def subject_of(request: IssuanceRequest, *, needs_common_name: bool) -> dict[str, Any]:
    """Fields of the subject: texts, and `organizational_unit` as a list.

    Where a common name is needed and the request has none, it is the first name that fits.
    """
    found: dict[str, Any] = {}
    try:
        attributes = list(x509.load_der_x509_csr(request.csr.der).subject)
    except ValueError:  # text in an encoding that is not read here: nothing of it is offered
        attributes = []
    units = []
    for attribute in attributes:
        value = attribute.value
        if not isinstance(value, str):
            continue
        if attribute.oid == NameOID.ORGANIZATIONAL_UNIT_NAME:
            units.append(value)
        elif (name := _FIELDS.get(attribute.oid)) is not None:
            found.setdefault(name, value)
    if units:
        found[_UNITS] = units
    common_name = common_name_of(request) if needs_common_name else request.common_name
    if common_name is not None:
        found["common_name"] = common_name
    return found
