"""Calls about certificates and their versions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Literal

from certctl.client.calls import Calls, at
from certctl.client.connection import ANSWER_SECONDS, parse
from certctl.client.errors import ApiError
from certctl.schemas.certificates import (
    CertificateSummary,
    CertificateView,
    RenewRequest,
    VersionView,
)
from certctl.schemas.common import Page
from certctl.schemas.revocations import RevokeRequest

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.schemas.certificates import (
        CertificateCreate,
        CertificateSort,
        CertificateStatus,
    )
    from certctl.schemas.revocations import ReasonName, RevocationStatus

Format = Literal["pem", "chain", "der", "pkcs7", "pkcs12", "jks"]

#: The longest that the server holds a request open (`Prefer: wait`).
MAX_SERVER_WAIT = 60
#: States of a revocation in which the CA has not answered yet.
OPEN_REVOCATIONS: frozenset[RevocationStatus] = frozenset({"requested", "told"})

_LARGEST_PAGE = 500


class CertificateCalls(Calls):
    """`/api/v1/certificates`."""

    def issue(
        self, request: CertificateCreate, *, idempotency_key: str | None = None, wait: float = 0
    ) -> CertificateView:
        """Order a certificate; its `version` is None while the CA works on it.

        The server is asked to wait up to `wait` seconds (60 at most). A lost answer is asked for
        again under the same key (a random one by default), so that it never makes a second
        certificate. An error that is `uncertain` may be repeated with that key for 24 hours.

        `certctl.pki.key_signatures.sign_key` makes the `key_signature` that some accounts want; a
        repetition has to have the same one.
        """
        return self._order("/api/v1/certificates", request, idempotency_key, wait)

    def renew(
        self,
        certificate_id: str,
        request: RenewRequest | None = None,
        *,
        idempotency_key: str | None = None,
        wait: float = 0,
    ) -> CertificateView:
        """Order the next version of a certificate, by default with the CSR of the newest one.

        While the CA works on it, or the order waits for a CSR with a new key, `version` is the old
        one, and `order_id` is the order to follow. Waiting and repeating are as with `issue`.
        """
        address = at("certificates", certificate_id, "renew")
        return self._order(address, request or RenewRequest(), idempotency_key, wait)

    def certificates(
        self,
        *,
        status: CertificateStatus | None = None,
        issuer_id: str | None = None,
        profile_id: str | None = None,
        owner: str | None = None,
        name: str | None = None,
        expires_after: datetime | None = None,
        expires_before: datetime | None = None,
        sort: CertificateSort | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[CertificateSummary]:
        """One page of the inventory, newest first unless sorted otherwise.

        What does not fit every part that is given is left out; `name` is a name, what names begin
        with (`shop*`), or the domain they are below (`*.example.org`). The page may be short, or
        empty, and yet have a `next`: go on with it, the rest given as before.
        """
        answer = self._get(
            "/api/v1/certificates",
            status=status,
            issuer_id=issuer_id,
            profile_id=profile_id,
            owner=owner,
            name=name,
            expires_after=_as_text(expires_after),
            expires_before=_as_text(expires_before),
            sort=sort,
            limit=limit,
            cursor=cursor,
        )
        return parse(Page[CertificateSummary], answer)

    def certificate(self, certificate_id: str) -> CertificateView:
        """A certificate with its newest version."""
        return parse(CertificateView, self._get(at("certificates", certificate_id)))

    def versions(
        self, certificate_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[VersionView]:
        """One page of a certificate's versions, newest first."""
        address = at("certificates", certificate_id, "versions")
        return parse(Page[VersionView], self._get(address, limit=limit, cursor=cursor))

    def every_version(self, certificate_id: str) -> list[VersionView]:
        """All of a certificate's versions, newest first."""
        found: list[VersionView] = []
        cursor: str | None = None
        while True:
            page = self.versions(certificate_id, limit=_LARGEST_PAGE, cursor=cursor)
            found += page.data
            cursor = page.next
            if cursor is None:
                return found

    def download(
        self,
        certificate_id: str,
        file_format: Format = "pem",
        *,
        version_id: str | None = None,
        store_password: str | None = None,
    ) -> bytes:
        """The newest version or another: the leaf (`pem`, `der`), or with its CAs (`chain`,
        `pkcs7`); or a trust store for Java with its CAs (`pkcs12`, `jks`).

        The password of a trust store is `changeit` unless another one is given.
        """
        address = at("certificates", certificate_id, "download")
        answer = self._connection.send(
            "GET",
            address,
            params={"format": file_format, "version": version_id},
            headers=None if store_password is None else {"X-Store-Password": store_password},
        )
        return answer.content

    # Revocation. Repeating is harmless, so lost answers are asked for again.

    def revoke(self, certificate_id: str, reason: ReasonName = "unspecified") -> CertificateView:
        """Revoke every version that has not expired; `version.revocation` says how far it is."""
        address = at("certificates", certificate_id, "revoke")
        return parse(CertificateView, self._post(address, RevokeRequest(reason=reason)))

    def revoke_version(
        self, certificate_id: str, version_id: str, reason: ReasonName = "unspecified"
    ) -> VersionView:
        """Revoke one version; `revocation` says how far it is."""
        address = at("certificates", certificate_id, "versions", version_id, "revoke")
        return parse(VersionView, self._post(address, RevokeRequest(reason=reason)))

    def release(self, certificate_id: str) -> CertificateView:
        """Take back the hold of every version."""
        address = at("certificates", certificate_id, "release")
        try:
            return parse(CertificateView, self._post(address))
        except ApiError as error:
            if not _was_released(error):
                raise
            return self.certificate(certificate_id)

    def release_version(self, certificate_id: str, version_id: str) -> VersionView:
        """Take back the hold of one version."""
        address = at("certificates", certificate_id, "versions", version_id, "release")
        try:
            return parse(VersionView, self._post(address))
        except ApiError as error:
            if not _was_released(error):
                raise
            found = self.every_version(certificate_id)
            return next(version for version in found if version.id == version_id)

    def wait_for_revocations(
        self,
        certificate_id: str,
        timeout: float,
        *,
        version_id: str | None = None,
    ) -> list[VersionView]:
        """All versions, once the CA has answered about each (or about one), or after the timeout.

        It also has to answer where a hold is being taken back. The waiting is like that for an
        order.
        """

        def is_settled(versions: list[VersionView]) -> bool:
            return not any(
                version.revocation and version.revocation.state in OPEN_REVOCATIONS
                for version in versions
                if version_id in {None, version.id}
            )

        def ask() -> list[VersionView]:
            return self.every_version(certificate_id)

        return self._watch(ask, is_settled, timeout)

    def _order(
        self,
        address: str,
        request: CertificateCreate | RenewRequest,
        idempotency_key: str | None,
        wait: float,
    ) -> CertificateView:
        seconds = max(0, min(int(wait), MAX_SERVER_WAIT))
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if seconds:
            headers["Prefer"] = f"wait={seconds}"
        answer = self._post(
            address, request, headers=headers, answer_within=ANSWER_SECONDS + seconds
        )
        return parse(CertificateView, answer)


def _was_released(error: ApiError) -> bool:
    """Whether the hold that is no longer there was taken back by us, in a lost answer."""
    return error.uncertain and error.code == "not-on-hold"


def _as_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
