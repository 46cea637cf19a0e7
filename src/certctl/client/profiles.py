"""Calls about profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.client.calls import Calls, at
from certctl.client.connection import parse
from certctl.schemas.common import Page
from certctl.schemas.profiles import ProfileView

if TYPE_CHECKING:
    from certctl.schemas.profiles import ProfileCreate, ProfileUpdate

_PROFILES = "/api/v1/profiles"


class ProfileCalls(Calls):
    """`/api/v1/profiles`."""

    def profiles(self, *, archived: bool = False) -> Page[ProfileView]:
        """Every profile; those that were archived only where they are asked for."""
        answer = self._get(_PROFILES, archived="true" if archived else None)
        return parse(Page[ProfileView], answer)

    def profile(self, profile_id: str) -> ProfileView:
        """One profile."""
        return parse(ProfileView, self._get(at("profiles", profile_id)))

    def create_profile(self, profile: ProfileCreate) -> ProfileView:
        """Make a profile.

        Its name can be there only once, but an answer that was lost looks like a name that is
        taken, so nothing is sent again that may have been carried out: after an error that is
        `uncertain`, look at `profiles()` before you try again.
        """
        return parse(ProfileView, self._post(_PROFILES, profile, repeatable=False))

    def update_profile(self, profile_id: str, profile: ProfileUpdate) -> ProfileView:
        """Replace all of a profile, for what comes next.

        An ApiError with status 409 where `revision` is not the one that the profile has now.
        """
        answer = self._connection.send("PUT", at("profiles", profile_id), body=profile)
        return parse(ProfileView, answer)

    def enable_profile(self, profile_id: str) -> ProfileView:
        """Let requests name it. Repeating is harmless."""
        return parse(ProfileView, self._post(at("profiles", profile_id, "enable")))

    def disable_profile(self, profile_id: str) -> ProfileView:
        """Take no more requests for it. Repeating is harmless."""
        return parse(ProfileView, self._post(at("profiles", profile_id, "disable")))

    def delete_profile(self, profile_id: str, *, archive: bool = False) -> None:
        """Delete it, or archive it: no request may name it then.

        An ApiError with status 409 where certificates use a profile that was to be deleted.
        """
        self._connection.send(
            "DELETE", at("profiles", profile_id), params={"archive": "true" if archive else None}
        )
