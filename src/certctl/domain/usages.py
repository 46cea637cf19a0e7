"""Extended key usages (RFC 5280 §4.2.1.12) by the names that profiles use."""

from __future__ import annotations

from enum import StrEnum


class Usage(StrEnum):
    """What a certificate may be used for."""

    SERVER_AUTH = "serverAuth"
    CLIENT_AUTH = "clientAuth"
    EMAIL_PROTECTION = "emailProtection"
    CODE_SIGNING = "codeSigning"
    TIME_STAMPING = "timeStamping"
