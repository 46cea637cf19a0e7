"""GlobalSign's Atlas HVCA as its interface is published, strict, and with books and a script.

`with hvca() as ca:` runs it in a thread of this process. `atlas` says what it understands in the
dialect of the published interface, `headers` what in the one that some proxies speak.
"""

from __future__ import annotations

from tests.conformance.hvca.running import Hvca, hvca
from tests.conformance.hvca.sessions import token_mark
from tests.conformance.stand_in.accounts import Account

__all__ = ["Account", "Hvca", "hvca", "token_mark"]
