"""A scripted CA that lives in the time of its control plane, whatever day it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.ca.authority import CertificateAuthority, create_root
from certctl.domain.orders import Recovery
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from certctl.domain.clock import Clock


class _Timely(CertificateAuthority):
    clock: Clock

    def issue(self, **arguments: Any) -> Certificate:
        return super().issue(**{**arguments, "now_ms": self.clock.now_ms()})


class TimelyCA(ScriptedCA):
    """Issues by the clock that it is given, from a root of its own."""

    def __init__(
        self,
        clock: Clock,
        script: list[Any] | None = None,
        recovery: Recovery = Recovery.ASK,
        revocations: list[Any] | None = None,
        lookups: list[Any] | None = None,
    ) -> None:
        super().__init__(script or ["issue"], recovery, revocations, lookups)
        key, root = create_root(common_name="Scripted CA", now_ms=clock.now_ms())
        authority = _Timely(key, root)
        authority.clock = clock
        self.authority = authority
