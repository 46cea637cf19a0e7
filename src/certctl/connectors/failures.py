"""What a call that brought no answer means: was it sent, and whose fault is it?"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    NoAnswer,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certctl.connectors.progress import Progress
    from certctl.connectors.redaction import Redaction

# Alerts with which a server refuses a client's certificate (RFC 8446 §6.2, RFC 5246 §7.2.2). With
# TLS 1.3 they come after the handshake, instead of an answer, and no request was looked at.
_CERTIFICATE_ALERTS = {
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is bad",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "its kind is not supported",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it is not acceptable",
    "TLSV1_ALERT_UNKNOWN_CA": "its issuer is unknown there",
    "TLSV1_ALERT_ACCESS_DENIED": "it has no access",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "one is required",
}
_TOO_OLD = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION", "VERSION_TOO_LOW"}
)
# X509_V_ERR_* of a chain that ends nowhere: what a trust bundle is for.
_NOT_TRUSTED = frozenset({2, 18, 19, 20, 21})


@dataclass(frozen=True, slots=True)
class Peer:
    """Who was called, for the words of an error. Times in seconds."""

    host: str
    proxy: str | None
    has_certificate: bool
    trust: str | None
    timeout: float
    deadline: float
    shown: Redaction


def too_late(progress: Progress, peer: Peer) -> IssuerError:
    """The whole call took longer than it may."""
    if not progress.sent:
        return Unavailable(f"{peer.host} could not be reached within {peer.deadline:g} s")
    return NoAnswer(f"{peer.host} did not answer completely within {peer.deadline:g} s")


def failure(error: Exception, progress: Progress, peer: Peer) -> IssuerError:  # noqa: PLR0911 # a table
    """Turn what the HTTP library raised into an error of the issuer."""
    import httpx2

    if isinstance(error, httpx2.DecodingError):
        return BadAnswer(f"{peer.host} sent an answer whose compression is broken")
    tls = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if tls is not None and tls.reason in _CERTIFICATE_ALERTS and not progress.answered:
        return _certificate_refused(tls.reason, peer)
    if not progress.sent:
        return Unavailable(_not_reached(error, tls, progress, peer))
    if isinstance(error, httpx2.TimeoutException):
        return NoAnswer(f"{peer.host} did not answer within {peer.timeout:g} s")
    if progress.answered:
        return NoAnswer(f"the answer of {peer.host} broke off")
    if isinstance(error, httpx2.RemoteProtocolError) and "disconnected" not in str(error):
        return NoAnswer(f"what {peer.host} sent back is not HTTP")
    return NoAnswer(f"{peer.host} closed the connection without an answer")


def is_dead_connection(error: Exception, progress: Progress) -> bool:
    """Whether a kept connection was found to be closed by the other side when it was used."""
    import httpx2

    closed = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
    return progress.kept and not progress.answered and isinstance(error, closed)


def _certificate_refused(reason: str, peer: Peer) -> IssuerError:
    why = _CERTIFICATE_ALERTS[reason]
    if peer.has_certificate:
        return Unauthorized(f"{peer.host} does not accept our client certificate: {why}")
    return Unauthorized(
        f"{peer.host} wants a client certificate ({why}), and this issuer has none set"
    )


def _not_reached(  # noqa: PLR0911 # a table
    error: Exception, tls: ssl.SSLError | None, progress: Progress, peer: Peer
) -> str:
    import httpx2

    target = peer.host if peer.proxy is None or progress.tunnel else f"the proxy {peer.proxy}"
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy {peer.proxy} refuses to connect: {peer.shown(str(error))}"
    if isinstance(error, httpx2.PoolTimeout):
        return f"all connections to {peer.host} were busy for {peer.timeout:g} s"
    if isinstance(error, httpx2.TimeoutException):
        return f"{target} could not be reached within {peer.timeout:g} s"
    if tls is not None:
        return _tls_words(tls, target, peer)
    if progress.secured:
        return (
            f"{target} closed the connection right after the TLS handshake; it may not accept the "
            "client certificate, or not take calls now"
        )
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror | UnicodeError) for cause in causes):
        return f"the name of {target} cannot be resolved"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return f"{target} refuses connections"
    system = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return f"{target} could not be reached: {system[-1] if system else 'the connection broke off'}"


def _tls_words(error: ssl.SSLError, target: str, peer: Peer) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        words = f"the certificate of {target} is not trusted: {error.verify_message}"
        if error.verify_code not in _NOT_TRUSTED:
            return words
        if peer.trust is None:
            return f"{words}; name a trust bundle in the issuer's settings if it is a private one"
        return f"{words}; the trust bundle {peer.trust}, which replaces the system's, lacks it"
    if error.reason in _TOO_OLD:
        return f"{target} speaks no version of TLS from 1.2 on"
    reason = (error.reason or "unknown reason").replace("_", " ").lower()
    return f"no TLS connection with {target} could be made: {reason}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those beneath it, the first one of a group."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
        else:
            seen = seen.__cause__ or seen.__context__
