"""Calls about issuers and their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.client.calls import Calls, at
from certctl.client.connection import parse
from certctl.schemas.common import Page
from certctl.schemas.issuers import IssuerCheck, IssuerTypeView, IssuerView

if TYPE_CHECKING:
    from certctl.schemas.issuers import IssuerCreate, IssuerUpdate

_ISSUERS = "/api/v1/issuers"
#: A test logs in at the CA, through time-outs and repetitions of the server's own.
_TEST_SECONDS = 180.0
_NO_CONTENT = 204


class IssuerCalls(Calls):
    """`/api/v1/issuers`."""

    def issuers(self, *, archived: bool = False) -> Page[IssuerView]:
        """Every issuer; those that were archived only where they are asked for."""
        answer = self._get(_ISSUERS, archived="true" if archived else None)
        return parse(Page[IssuerView], answer)

    def issuer(self, issuer_id: str) -> IssuerView:
        """One issuer. Its secrets are masked."""
        return parse(IssuerView, self._get(at("issuers", issuer_id)))

    def issuer_ca(self, issuer_id: str) -> str:
        """PEM of the issuer's own certificates: the signing CA first, the root last."""
        return self._get(at("issuers", issuer_id, "ca")).text

    def issuer_types(self) -> Page[IssuerTypeView]:
        """Every type of issuer that the server knows, with the JSON schema of its settings."""
        return parse(Page[IssuerTypeView], self._get(f"{_ISSUERS}/types"))

    def create_issuer(self, issuer: IssuerCreate) -> IssuerView:
        """Add an issuer.

        Two would be two, so nothing is sent again that may have been carried out: after an error
        that is `uncertain`, look at `issuers()` before you try again.
        """
        return parse(IssuerView, self._post(_ISSUERS, issuer, repeatable=False))

    def update_issuer(self, issuer_id: str, issuer: IssuerUpdate) -> IssuerView:
        """Replace all of an issuer; secrets that are left out or masked stay as they are.

        An ApiError with status 409 where `revision` is not the one that the issuer has now.
        """
        answer = self._connection.send("PUT", at("issuers", issuer_id), body=issuer)
        return parse(IssuerView, answer)

    def enable_issuer(self, issuer_id: str) -> IssuerView:
        """Let it issue. Repeating is harmless."""
        return parse(IssuerView, self._post(at("issuers", issuer_id, "enable")))

    def disable_issuer(self, issuer_id: str) -> IssuerView:
        """Stop it from issuing. Repeating is harmless."""
        return parse(IssuerView, self._post(at("issuers", issuer_id, "disable")))

    def test_issuer(self, issuer_id: str) -> IssuerCheck:
        """Have the server call the CA. What comes of it is kept; a failure is no error here."""
        answer = self._post(
            at("issuers", issuer_id, "test"), answer_within=_TEST_SECONDS, repeatable=False
        )
        return parse(IssuerCheck, answer)

    def delete_issuer(self, issuer_id: str, *, archive: bool = False) -> IssuerView | None:
        """Delete it, or archive it: it issues no more then, and what it issued stays.

        The archived issuer, where the server shows it. An ApiError with status 409 where
        certificates depend on an issuer that was to be deleted.
        """
        answer = self._connection.send(
            "DELETE", at("issuers", issuer_id), params={"archive": "true" if archive else None}
        )
        if answer.status_code == _NO_CONTENT or not answer.content:
            return None
        return parse(IssuerView, answer)
