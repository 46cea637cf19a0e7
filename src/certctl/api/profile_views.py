"""Between profiles and REST bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.clock import from_ms
from certctl.domain.keys import KeyType
from certctl.domain.name_patterns import parse_patterns
from certctl.domain.names import NameKind
from certctl.domain.profiles import Profile
from certctl.domain.usages import Usage
from certctl.schemas.profiles import ProfileView, ProfileWarning

if TYPE_CHECKING:
    from certctl.lifecycle.profiles import ProfileState
    from certctl.schemas.profiles import ProfileRules


def wanted_profile(body: ProfileRules, profile_id: str) -> Profile:
    """The profile that a request describes; raises InvalidInput for a pattern that is none."""
    patterns, issuers = body.name_patterns, body.allowed_issuers
    return Profile(
        id=profile_id,
        name=body.name,
        description=body.description,
        key_types=frozenset(KeyType(key) for key in body.key_types),
        rsa_min_bits=body.rsa_min_bits,
        usages=tuple(Usage(usage) for usage in dict.fromkeys(body.usages)),
        name_kinds=frozenset(NameKind(kind) for kind in body.name_kinds),
        name_patterns=None if patterns is None else parse_patterns(patterns),
        allowed_issuers=None if issuers is None else tuple(issuers),
        default_validity=body.default_validity_seconds,
        max_validity=body.max_validity_seconds,
        must_staple=body.must_staple,
        new_key_on_renewal=body.new_key_on_renewal,
    )


def profile_view(state: ProfileState) -> ProfileView:
    """A profile."""
    record = state.record
    profile = record.profile
    patterns, issuers = profile.name_patterns, profile.allowed_issuers
    return ProfileView(
        id=profile.id,
        name=profile.name,
        description=profile.description,
        key_types=[key.value for key in sorted(profile.key_types)],
        rsa_min_bits=profile.rsa_min_bits,
        usages=[usage.value for usage in profile.usages],
        name_kinds=[kind.value for kind in sorted(profile.name_kinds)],
        name_patterns=None if patterns is None else [str(pattern) for pattern in patterns],
        allowed_issuers=None if issuers is None else list(issuers),
        default_validity_seconds=profile.default_validity,
        max_validity_seconds=profile.max_validity,
        must_staple=profile.must_staple,
        new_key_on_renewal=profile.new_key_on_renewal,
        enabled=record.enabled,
        revision=record.revision,
        archived_at=None if record.archived_at is None else from_ms(record.archived_at),
        created_at=from_ms(record.created_at),
        updated_at=from_ms(record.updated_at),
        warnings=[
            ProfileWarning(issuer_id=warning.issuer_id, detail=warning.detail)
            for warning in state.warnings
        ],
    )
