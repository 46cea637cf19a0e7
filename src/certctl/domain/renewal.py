"""When a certificate is due for renewal: a pure function of its lifetime and its id."""

from __future__ import annotations

import hashlib

_SHORT_MS = 10 * 86_400 * 1000
_JITTER_SHARE = 10


def renewal_time(certificate_id: str, not_before: int, not_after: int) -> int:
    """The moment from which a version should be renewed; all times in milliseconds.

    One third of its lifetime is left then, or half of it when it lasts less than ten days. Up to a
    tenth of what is left is added before that moment: derived from the certificate's id, so that
    certificates that were made together are not renewed together, and a restart changes nothing.
    """
    lifetime = not_after - not_before
    left = lifetime // 2 if lifetime < _SHORT_MS else lifetime // 3
    digest = hashlib.sha256(certificate_id.encode()).digest()
    share = int.from_bytes(digest[:4]) / 2**32
    return not_after - left - int(left / _JITTER_SHARE * share)
