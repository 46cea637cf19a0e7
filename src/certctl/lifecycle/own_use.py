"""What this server's own HTTPS certificate needs of a profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain.errors import Conflict, InvalidInput
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_name
from certctl.domain.profiles import Abilities, check_issuer, check_key, check_names
from certctl.domain.usages import Usage

if TYPE_CHECKING:
    from certctl.domain.profiles import Profile
    from certctl.storage.profiles import ProfileRecord

#: The kind of key that is made for it.
KEY_TYPE, KEY_BITS = KeyType.P256, 256


@dataclass(frozen=True, slots=True)
class OwnUse:
    """With which profile the certificate is ordered, from which issuer, for which names."""

    profile_id: str
    issuer_id: str
    names: tuple[str, ...]

    def check(self, after: ProfileRecord) -> None:
        """Raise Conflict where the next certificate could not be had once a profile is so."""
        if after.profile.id != self.profile_id:
            return
        if not after.enabled:
            raise self._conflict("it cannot be done without")
        if Usage.SERVER_AUTH not in after.profile.usages:
            raise self._conflict("it needs the usage serverAuth")
        try:
            self._order(after.profile)
        except InvalidInput as error:
            raise self._conflict(error.detail) from None

    def _order(self, profile: Profile) -> None:
        check_issuer(profile, self.issuer_id)
        check_key(profile, Abilities(), KEY_TYPE, KEY_BITS)
        names = [parse_name(name, "server_names") for name in self.names]
        check_names(profile, Abilities(), names, None)

    def _conflict(self, because: str) -> Conflict:
        return Conflict(
            "profile-needed",
            f"this server's own HTTPS certificate is ordered with this profile: {because}",
            hint="set CERTCTL_SERVER_TLS_CERT_PATH and CERTCTL_SERVER_TLS_KEY_PATH and restart "
            "the server, or make another profile for what you have in mind",
        )
