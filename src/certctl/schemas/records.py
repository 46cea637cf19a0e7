"""One certificate: edited, archived, imported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from certctl.schemas.certificates import CertificateView
from certctl.schemas.common import Label, Moment, RequestBody, ResponseBody
from certctl.schemas.labels import LABELS, Labels, LabelsPatch

CertificateText = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
ChainText = Annotated[str, StringConstraints(max_length=150_000)]
CertificateId = Annotated[str, StringConstraints(max_length=80, pattern=r"^[a-z0-9-]+$")]

OutcomeName = Literal["imported", "version_added", "known"]


class CertificateEdit(RequestBody):
    """A merge patch (RFC 7396): what is left out stays as it is."""

    owner: Label | None = Field(default=None, description="Who looks after it; null for nobody")
    labels: LabelsPatch = Field(
        default=None,
        description=f"{LABELS}. null in place of a text takes that label away, null in place of "
        "the object all of them",
        examples=[{"env": "prod", "team": None}],
    )
    updated_at: Moment | None = Field(
        default=None,
        description="The certificate's `updated_at` as you read it: if it was changed since, "
        "nothing is changed. Default: change it whatever it is now",
    )


class ArchiveRequest(RequestBody):
    """Whether a certificate is to be archived that can still be used."""

    although_valid: bool = Field(
        default=False, description="Archive it even if it is neither expired nor revoked"
    )


class CertificateImport(RequestBody):
    """A certificate that certctl did not issue. Its private key is not wanted."""

    certificate: CertificateText = Field(description="X.509: PEM, or base64 of its DER")
    chain: ChainText | None = Field(
        default=None,
        description="PEM of those that issued it, from its own issuer upwards; the root may be "
        "left out",
    )
    owner: Label | None = Field(default=None, description="Who looks after it")
    labels: Labels | None = Field(default=None, description=LABELS, examples=[{"env": "prod"}])
    replaces: CertificateId | None = Field(
        default=None,
        description="An imported certificate, whose next version this is. Default: it is a "
        "certificate of its own",
    )
    dry_run: bool = Field(default=False, description="Say what would come of it, and do nothing")


class ImportResult(ResponseBody):
    """What came of an import, or would."""

    outcome: OutcomeName = Field(
        description="`imported`: a new certificate; `version_added`: to the one that it replaces; "
        "`known`: it was there, and stays as it is"
    )
    dry_run: bool = Field(description="Whether nothing was done")
    certificate: CertificateView | None = Field(
        description="The certificate as it is now; null where a dry run would make one"
    )
    warnings: list[str] = Field(description="What you should know: it has expired, for one")
