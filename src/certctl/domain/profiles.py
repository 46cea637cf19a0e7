"""Profiles: the rules for a class of certificates, and how a request is held against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain.errors import InvalidInput
from certctl.domain.keys import RSA_MAX_BITS, RSA_MIN_BITS, KeyType
from certctl.domain.names import MAX_NAMES, Name, NameKind, parse_name
from certctl.domain.usages import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.domain.name_patterns import NamePattern

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Profile:
    """Rules for a class of certificates. Lifetimes are in seconds.

    `name_patterns` allow names beyond their kinds, `allowed_issuers` are ids; None: all of them.
    """

    id: str
    name: str
    description: str
    key_types: frozenset[KeyType]
    usages: tuple[Usage, ...]
    name_kinds: frozenset[NameKind]
    default_validity: int
    max_validity: int
    rsa_min_bits: int = RSA_MIN_BITS
    must_staple: bool = False
    new_key_on_renewal: bool = False
    name_patterns: tuple[NamePattern, ...] | None = None
    allowed_issuers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a connector can put into a certificate. `max_validity` is in seconds, None for no limit
    of its own; `not_after_ms` is the end of the CA's own certificate where that binds; `hold` is
    whether a revocation with `certificateHold` can be made, and taken back."""

    key_types: frozenset[KeyType] = frozenset(KeyType)
    usages: frozenset[Usage] = frozenset(Usage)
    name_kinds: frozenset[NameKind] = frozenset(NameKind)
    must_staple: bool = True
    max_validity: int | None = None
    not_after_ms: int | None = None
    hold: bool = False


def check_issuer(profile: Profile, issuer_id: str) -> None:
    """Raise InvalidInput where a profile does not allow certificates of that issuer."""
    if profile.allowed_issuers is not None and issuer_id not in profile.allowed_issuers:
        raise InvalidInput(
            "issuer-not-allowed",
            "this profile does not allow certificates of this issuer",
            field="issuer_id",
            hint="the profile's allowed_issuers are those to choose from; or choose another "
            "profile",
        )


def check_profile_fits(
    profile: Profile, abilities: Abilities, *, field: str = "profile_id"
) -> None:
    """Raise InvalidInput where a profile asks for what the issuer's connector cannot do."""
    if missing := [usage for usage in profile.usages if usage not in abilities.usages]:
        raise InvalidInput(
            "usage-not-supported",
            f"this issuer cannot issue certificates for {', '.join(missing)}",
            field=field,
            hint="choose another issuer, or a profile without that usage",
        )
    if profile.must_staple and not abilities.must_staple:
        raise InvalidInput(
            "must-staple-not-supported",
            "this issuer cannot put the must-staple extension into certificates",
            field=field,
            hint="choose another issuer, or a profile without must-staple",
        )


def check_key(profile: Profile, abilities: Abilities, key_type: KeyType, bits: int) -> None:
    """Raise InvalidInput where a public key of this type and size is not allowed."""
    if key_type not in profile.key_types:
        allowed = ", ".join(sorted(profile.key_types))
        raise InvalidInput(
            "key-type-not-allowed",
            f"this profile does not allow {key_type} keys",
            field="csr",
            hint=f"make a key of one of these types: {allowed}",
        )
    if key_type not in abilities.key_types:
        raise InvalidInput(
            "key-type-not-supported",
            f"this issuer does not certify {key_type} keys",
            field="csr",
            hint="choose another issuer, or make a key of another type",
        )
    if key_type is KeyType.RSA and not profile.rsa_min_bits <= bits <= RSA_MAX_BITS:
        raise InvalidInput(
            "key-size-not-allowed",
            f"RSA keys must have {profile.rsa_min_bits} to {RSA_MAX_BITS} bits for this profile",
            field="csr",
            hint="make a new key within that range",
        )


def check_names(
    profile: Profile, abilities: Abilities, names: Sequence[Name], common_name: str | None
) -> None:
    """Raise InvalidInput where the names are too many, too few or not allowed.

    A common name that reads as an e-mail address or a URI is software's to take for one: where
    names are held against patterns, it has to be one of them. (One that is a DNS name or an IP
    address is among them already, see `domain.requests`.)
    """
    if len(names) > MAX_NAMES:
        raise InvalidInput(
            "too-many-names",
            f"a certificate may carry at most {MAX_NAMES} names",
            field="names",
            hint="split the names over several certificates",
        )
    if not names and (profile.name_kinds or not common_name):
        raise InvalidInput(
            "names-missing",
            "no name to certify: neither `names` nor the CSR has one",
            field="names",
            hint="list at least one name, or put it into the CSR's subjectAltName",
        )
    for index, name in enumerate(names):
        if name.kind not in profile.name_kinds:
            raise InvalidInput(
                "name-kind-not-allowed",
                f"this profile does not allow names of kind {name.kind}",
                field=f"names.{index}",
                hint=f"allowed: {', '.join(sorted(profile.name_kinds)) or 'a common name only'}",
            )
        if name.kind not in abilities.name_kinds:
            raise InvalidInput(
                "name-kind-not-supported",
                f"this issuer cannot certify names of kind {name.kind}",
                field=f"names.{index}",
                hint="choose another issuer, or leave that name out",
            )
    patterns = profile.name_patterns
    if patterns is None:
        return
    for index, name in enumerate(names):
        if not any(pattern.covers(name) for pattern in patterns):
            raise InvalidInput(
                "name-not-allowed",
                "this profile does not allow this name",
                field=f"names.{index}",
                hint="the profile's name_patterns say which names it allows; leave this one out, "
                "or choose another profile",
            )
    if common_name is not None and not _is_label_or_one_of(common_name, names):
        raise InvalidInput(
            "common-name-not-allowed",
            "the common name reads as an e-mail address or a URI, and is none of the names",
            field="csr",
            hint="make a CSR with another common name, or without one",
        )


def _is_label_or_one_of(common_name: str, names: Sequence[Name]) -> bool:
    if "@" not in common_name and "://" not in common_name:
        return True
    try:
        return parse_name(common_name, "csr") in names
    except InvalidInput:
        return False


def validity_for(
    profile: Profile, abilities: Abilities, validity_days: int | None, not_before_ms: int
) -> int:
    """Return the lifetime to ask for, in seconds.

    A lifetime that was asked for and is over a limit is refused; one that nobody asked for is the
    profile's default, shortened to what the issuer can give.
    """
    limits = [profile.max_validity]
    if abilities.max_validity is not None:
        limits.append(abilities.max_validity)
    if abilities.not_after_ms is not None:
        limits.append((abilities.not_after_ms - not_before_ms) // 1000)
    limit = min(limits)
    if validity_days is None:
        return min(profile.default_validity, limit)
    wanted = validity_days * SECONDS_PER_DAY
    if wanted > profile.max_validity:
        raise InvalidInput(
            "validity-over-profile",
            f"this profile allows at most {_in_words(profile.max_validity)}",
            field="validity_days",
            hint="ask for fewer days, or leave validity_days out for the profile's default",
        )
    if wanted > limit:
        raise InvalidInput(
            "validity-over-issuer",
            f"this issuer can give at most {_in_words(limit)} now",
            field="validity_days",
            hint="ask for fewer days, or leave validity_days out for the longest possible",
        )
    return wanted


def _in_words(seconds: int) -> str:
    if seconds < SECONDS_PER_DAY:
        return f"{seconds // 60} minutes, which is less than a day"
    return f"{seconds // SECONDS_PER_DAY} days"
