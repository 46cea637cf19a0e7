"""A profile itself: whether its rules make sense, and whether an issuer can follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.domain.errors import InvalidInput
from certctl.domain.profiles import SECONDS_PER_DAY, check_profile_fits

if TYPE_CHECKING:
    from certctl.domain.profiles import Abilities, Profile


def check_rules(profile: Profile) -> None:
    """Raise InvalidInput where rules contradict each other, so that nothing could be ordered.

    Where there are patterns of names, each kind that is allowed has one, and no other kind has.
    """
    if profile.default_validity > profile.max_validity:
        raise InvalidInput(
            "profile-default-over-maximum",
            "the default lifetime is longer than the greatest one",
            field="default_validity_seconds",
            hint="shorten it, or raise max_validity_seconds",
        )
    if profile.name_patterns is None:
        return
    for index, pattern in enumerate(profile.name_patterns):
        if pattern.kind not in profile.name_kinds:
            raise InvalidInput(
                "profile-pattern-of-other-kind",
                f"a pattern is for names of kind {pattern.kind}, which the profile does not allow",
                field=f"name_patterns.{index}",
                hint="leave the pattern out, or add the kind to name_kinds",
            )
    kinds = {pattern.kind for pattern in profile.name_patterns}
    if missing := sorted(profile.name_kinds - kinds):
        raise InvalidInput(
            "profile-kind-without-pattern",
            f"the profile has patterns of names, and none for: {', '.join(missing)}",
            field="name_patterns",
            hint=f"add patterns for them (`{missing[0]}:**` allows all of that kind), or take "
            "the kind out of name_kinds",
        )


def check_issuer_can_follow(profile: Profile, abilities: Abilities, *, field: str) -> None:
    """Raise InvalidInput at `field` where no request could get a certificate of that issuer."""
    check_profile_fits(profile, abilities, field=field)
    if not profile.key_types & abilities.key_types:
        raise InvalidInput(
            "key-type-not-supported",
            "this issuer certifies none of the profile's types of keys",
            field=field,
            hint="take the issuer out of the list, or add a type of key that it certifies",
        )
    if profile.name_kinds and not profile.name_kinds & abilities.name_kinds:
        raise InvalidInput(
            "name-kind-not-supported",
            "this issuer can certify none of the profile's kinds of names",
            field=field,
            hint="take the issuer out of the list, or add a kind of names that it can certify",
        )


def shortfalls(profile: Profile, abilities: Abilities) -> list[str]:
    """What an issuer cannot give of all that the profile allows, in words; mostly nothing."""
    try:
        check_issuer_can_follow(profile, abilities, field="allowed_issuers")
    except InvalidInput as error:
        return [error.detail]
    found = []
    if keys := sorted(profile.key_types - abilities.key_types):
        found.append(f"it does not certify {', '.join(keys)} keys")
    if kinds := sorted(profile.name_kinds - abilities.name_kinds):
        found.append(f"it cannot certify names of kind {', '.join(kinds)}")
    longest = abilities.max_validity
    if longest is not None and longest < profile.max_validity:
        found.append(f"it gives at most {longest / SECONDS_PER_DAY:g} days")
    return found


def rules_of(profile: Profile) -> dict[str, Any]:
    """The rules as JSON values, as they are stored and audited; lifetimes in seconds."""
    patterns, issuers = profile.name_patterns, profile.allowed_issuers
    return {
        "description": profile.description,
        "key_types": sorted(profile.key_types),
        "rsa_min_bits": profile.rsa_min_bits,
        "usages": list(profile.usages),
        "name_kinds": sorted(profile.name_kinds),
        "name_patterns": None if patterns is None else [str(pattern) for pattern in patterns],
        "allowed_issuers": None if issuers is None else list(issuers),
        "default_validity": profile.default_validity,
        "max_validity": profile.max_validity,
        "must_staple": profile.must_staple,
        "new_key_on_renewal": profile.new_key_on_renewal,
    }
