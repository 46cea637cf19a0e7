"""What enrolment and renewal have in common: a request held against its rules, and issued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.connectors.contract import IssuanceRequest, IssuedCertificate
from certctl.connectors.errors import IssuerError, Refused
from certctl.domain import errors
from certctl.domain.profiles import check_key, check_names, validity_for
from certctl.lifecycle.outcomes import outcome_of

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector
    from certctl.domain.names import Name
    from certctl.domain.profiles import Abilities, Profile
    from certctl.lifecycle.tally import Tally
    from certctl.pki.requests import CertificateRequest


def check_csr(profile: Profile, abilities: Abilities, csr: CertificateRequest) -> None:
    """Raise InvalidInput where the CSR's key or usages are not what profile and issuer allow."""
    check_key(profile, abilities, csr.key_type, csr.key_bits)
    if csr.usages is not None and not set(csr.usages) <= set(profile.usages):
        raise errors.InvalidInput(
            "usage-not-allowed",
            "the CSR asks for an extended key usage that this profile does not give",
            field="csr",
            hint="make the CSR without it, or choose a profile with that usage",
        )


def issuance_request(
    profile: Profile,
    abilities: Abilities,
    csr: CertificateRequest,
    *,
    order_id: str,
    names: tuple[Name, ...],
    common_name: str | None,
    validity_days: int | None,
    now_ms: int,
    key_signature: bytes | None = None,
) -> IssuanceRequest:
    """What the connector is asked for; raises InvalidInput where names or lifetime do not fit."""
    check_names(profile, abilities, names, common_name)
    return IssuanceRequest(
        order_id=order_id,
        csr=csr,
        common_name=common_name,
        names=names,
        usages=profile.usages,
        validity=validity_for(profile, abilities, validity_days, now_ms),
        must_staple=profile.must_staple,
        key_signature=key_signature,
    )


async def issue_now(
    issuer_id: str, connector: Connector, issuance: IssuanceRequest, tally: Tally
) -> IssuedCertificate:
    """Issue at a CA of class `internal`: it answers at once, and its no is the client's error."""
    try:
        answer = await connector.issue(issuance)
    except Refused as error:
        tally.failure(issuer_id, outcome_of(error))
        raise errors.Refused("refused-by-issuer", error.detail) from None
    except IssuerError as error:
        tally.failure(issuer_id, outcome_of(error))
        raise errors.Unavailable("issuer-not-ready", error.detail) from None
    if not isinstance(answer, IssuedCertificate):
        raise TypeError("a connector of class `internal` answers at once")
    return answer
