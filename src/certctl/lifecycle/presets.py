"""The profiles that exist from the first start."""

from __future__ import annotations

from certctl.domain.imports import IMPORTED_PROFILE_ID
from certctl.domain.keys import KeyType
from certctl.domain.names import NameKind
from certctl.domain.profiles import SECONDS_PER_DAY, Profile
from certctl.domain.usages import Usage

_ALL_KEYS = frozenset(KeyType)
#: What browsers and other relying parties of the public web accept (CA/B Forum BR §6.1.5).
_WEB_KEYS = frozenset({KeyType.RSA, KeyType.P256, KeyType.P384})
_HOSTS = frozenset({NameKind.DNS, NameKind.IP})


def _days(days: int) -> int:
    return days * SECONDS_PER_DAY


PRESETS: tuple[Profile, ...] = (
    Profile(
        id="prof-tls-server",
        name="TLS server",
        description="Servers inside an organisation: names and addresses, up to 397 days",
        key_types=_ALL_KEYS,
        usages=(Usage.SERVER_AUTH,),
        name_kinds=_HOSTS,
        default_validity=_days(90),
        max_validity=_days(397),
    ),
    Profile(
        id="prof-tls-client",
        name="TLS client",
        description="Clients that authenticate to servers: people, machines, SPIFFE workloads",
        key_types=_ALL_KEYS,
        usages=(Usage.CLIENT_AUTH,),
        name_kinds=frozenset({NameKind.DNS, NameKind.EMAIL, NameKind.URI}),
        default_validity=_days(90),
        max_validity=_days(397),
    ),
    Profile(
        id="prof-mtls",
        name="Mutual TLS",
        description="Services that are both server and client to each other",
        key_types=_ALL_KEYS,
        usages=(Usage.SERVER_AUTH, Usage.CLIENT_AUTH),
        name_kinds=frozenset({NameKind.DNS, NameKind.IP, NameKind.URI}),
        default_validity=_days(30),
        max_validity=_days(397),
    ),
    Profile(
        id="prof-smime",
        name="S/MIME",
        description="E-mail signing and encryption for mailboxes",
        key_types=_ALL_KEYS,
        usages=(Usage.EMAIL_PROTECTION,),
        name_kinds=frozenset({NameKind.EMAIL}),
        default_validity=_days(365),
        max_validity=_days(824),
    ),
    Profile(
        id="prof-code-signing",
        name="Code signing",
        description="Signing of programs and packages; named by a common name, RSA from 3072 bits",
        key_types=_ALL_KEYS,
        usages=(Usage.CODE_SIGNING,),
        name_kinds=frozenset(),
        default_validity=_days(365),
        max_validity=_days(459),
        rsa_min_bits=3072,
    ),
    Profile(
        id="prof-time-stamping",
        name="Time stamping",
        description="A time-stamping authority (RFC 3161); named by a common name",
        key_types=_ALL_KEYS,
        usages=(Usage.TIME_STAMPING,),
        name_kinds=frozenset(),
        default_validity=_days(365),
        max_validity=_days(459),
        rsa_min_bits=3072,
    ),
    Profile(
        id="prof-tls-47-day",
        name="TLS server, 47 days",
        description="The longest public lifetime from March 2029 on; a new key with each renewal",
        key_types=_WEB_KEYS,
        usages=(Usage.SERVER_AUTH,),
        name_kinds=_HOSTS,
        default_validity=_days(47),
        max_validity=_days(47),
        new_key_on_renewal=True,
    ),
    Profile(
        id="prof-tls-6-day",
        name="TLS server, 6 days",
        description="Short-lived: over before a revocation would be noticed",
        key_types=_WEB_KEYS,
        usages=(Usage.SERVER_AUTH,),
        name_kinds=_HOSTS,
        default_validity=_days(6),
        max_validity=_days(6),
        new_key_on_renewal=True,
    ),
    Profile(
        id="prof-workload-30-minute",
        name="Workload, 30 minutes",
        description="Services that renew all the time: too short to be revoked, so without CRL "
        "and OCSP addresses (RFC 9608)",
        key_types=_WEB_KEYS,
        usages=(Usage.SERVER_AUTH, Usage.CLIENT_AUTH),
        name_kinds=frozenset({NameKind.DNS, NameKind.IP, NameKind.URI}),
        default_validity=30 * 60,
        max_validity=30 * 60,
    ),
    Profile(
        id=IMPORTED_PROFILE_ID,
        name="Imported",
        description="Certificates that were imported, whatever is in them; nothing is ordered with "
        "it",
        key_types=_ALL_KEYS,
        usages=tuple(Usage),
        name_kinds=frozenset(NameKind),
        default_validity=_days(397),
        max_validity=_days(397),
    ),
)
