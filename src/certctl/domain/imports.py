"""Certificates that certctl did not issue: kept and watched, never renewed, never revoked here."""

from __future__ import annotations

import hashlib
import re

#: The profile of every imported certificate, and of no other: nothing can be ordered with it.
IMPORTED_PROFILE_ID = "prof-imported"

#: The type of the issuers that stand for CAs whose certificates were imported.
EXTERNAL_TYPE = "External"

_EXTERNAL_ID = re.compile(r"iss-ext-[0-9a-f]{32}")


def external_issuer_id(issuer_dn: bytes, key_identifier: bytes) -> str:
    """The issuer that stands for the CA of that name (DER) and key.

    The same everywhere, so that a serial is unique within it whoever imports first.
    """
    digest = hashlib.sha256(len(issuer_dn).to_bytes(4) + issuer_dn + key_identifier).hexdigest()
    return f"iss-ext-{digest[:32]}"


def is_external_issuer_id(issuer_id: str) -> bool:
    """Whether it is such an id: no other issuer may have one."""
    return _EXTERNAL_ID.fullmatch(issuer_id) is not None
