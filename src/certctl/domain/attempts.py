"""How often somebody may fail: a bucket for each source, and no more sources than fit.

Pure decisions; times are seconds.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Allowance:
    tokens: float
    at: float
    #: How many were turned away since the last one that was let through.
    turned_away: int = 0


class Attempts:
    """Lets `burst` attempts of a source through, and after that one every `seconds`.

    Remembers at most `sources` of them. Whoever was not seen for longest is forgotten first, which
    gives it a full bucket again.
    """

    def __init__(self, *, burst: int, seconds: float, sources: int) -> None:
        self._burst = burst
        self._seconds = seconds
        self._most = sources
        self._known: OrderedDict[str, _Allowance] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, source: str, now: float) -> int | None:
        """Take one; None when there is none.

        Otherwise how many were turned away since the last one that was let through.
        """
        allowance = self._refilled(source, now)
        if allowance.tokens < 1:
            allowance.turned_away += 1
            return None
        allowance.tokens -= 1
        turned_away, allowance.turned_away = allowance.turned_away, 0
        return turned_away

    def give_back(self, source: str) -> None:
        """Put back what was taken for an attempt that was none."""
        allowance = self._known.get(source)
        if allowance is not None:
            allowance.tokens += 1

    def wait(self, source: str, now: float) -> float:
        """Seconds until there is one."""
        return max(1 - self._refilled(source, now).tokens, 0.0) * self._seconds

    def _refilled(self, source: str, now: float) -> _Allowance:
        allowance = self._known.get(source)
        if allowance is None:
            allowance = self._known[source] = _Allowance(float(self._burst), now)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(source)
        came_in = max(now - allowance.at, 0.0) / self._seconds
        allowance.tokens = min(allowance.tokens + came_in, float(self._burst))
        allowance.at = now  # of a clock that was set back too: else nothing came in for long
        return allowance


def source_of(host: str | None) -> str:
    """Whom an address stands for: an IPv6 client has a whole /64 to choose from."""
    if host is None:
        return "local"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)
