"""The server that runs here, its HTTPS certificate, and the status address in certificates."""

from __future__ import annotations

import json
import os
import socket
import ssl
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
from cryptography import x509

from certctl.domain.clock import from_ms
from certctl.operation.doctor.findings import Finding, error, note, warning, well
from certctl.pki.certificates import split_pem_certificates
from certctl.storage.inspection import newest_local_versions

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from certctl.domain.clock import Clock
    from certctl.settings import Settings
    from certctl.storage.inspection import Inspection

SERVER, HTTPS, STATUS = "server", "https", "status address"

_SECONDS = 5.0
_OK = 200
_MAX_CRL = 64 * 1024 * 1024
#: A certificate that has less left was not renewed in time: ours is after two thirds.
_LEAST_LEFT, _LEAST_PART = timedelta(days=14), 4


@dataclass(frozen=True, slots=True)
class Running:
    """What the server that started last says of itself, and what it shows.

    Without a certificate it gave no answer; or, with a problem, one that clients do not accept.
    """

    url: str
    pid: int
    certificate: x509.Certificate | None = None
    problem: str | None = None


def find_running(data_dir: Path) -> Running | None:
    """The server of `server.json`, asked for its certificate; None where none was ever there."""
    try:
        said = json.loads((data_dir / "server.json").read_bytes())
        url, pid = str(said["url"]), int(said["pid"])
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 443)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    anchor = data_dir / "ca.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is called by the address that it listens on, which an operator's certificate need not name;
    # whom it is verified by is its own anchor, and nothing else.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(anchor)
    except OSError:
        return Running(url, pid, problem=f"{anchor} cannot be read as a certificate")
    try:
        with (
            socket.create_connection(address, timeout=_SECONDS) as plain,
            context.wrap_socket(plain) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as refused:
        return Running(url, pid, problem=f"by {anchor} it is refused: {refused.verify_message}")
    except OSError:
        return Running(url, pid)
    return Running(url, pid, x509.load_der_x509_certificate(der) if der else None)


def check_server(running: Running | None) -> list[Finding]:
    """Whether one runs here and answers."""
    if running is None:
        return [note(SERVER, "none has run with this data directory", "certctl server")]
    return judge_server(running, process_exists=_exists(running.pid))


def judge_server(running: Running, *, process_exists: bool) -> list[Finding]:
    """What an answer, or none, means."""
    if running.certificate is not None or running.problem is not None:
        return [well(SERVER, f"answers at {running.url}")]
    if process_exists:
        return [
            error(
                SERVER,
                f"process {running.pid} is there, and nothing answers at {running.url}",
                "look into its log; restart it",
            )
        ]
    return [note(SERVER, "does not run", "start it: certctl server, or systemctl start certctl")]


def check_https(settings: Settings, running: Running | None, clock: Clock) -> list[Finding]:
    """The end of the certificate that is served, and of the operator's file that is to be."""
    now = from_ms(clock.now_ms())
    found: list[Finding] = []
    path = settings.server_tls_cert_path
    if path is not None:
        try:
            leaf = split_pem_certificates(path.read_text())[0]
        except (OSError, ValueError, IndexError):
            found.append(
                error(
                    HTTPS,
                    f"{path} (CERTCTL_SERVER_TLS_CERT_PATH) cannot be read as PEM certificates",
                    "put the certificate there, with its chain; the server keeps the one it has "
                    "until then, and does not start without",
                )
            )
        else:
            found.append(judge_end(f"the certificate in {path}", leaf, now, is_ours=False))
    if running is not None and running.problem is not None:
        found.append(
            error(
                HTTPS,
                f"clients cannot trust what is at {running.url}: {running.problem}",
                "restart the server: it writes its trust anchor anew; then give it to the clients",
            )
        )
    if running is not None and running.certificate is not None:
        found.append(
            judge_end(
                f"the certificate at {running.url}", running.certificate, now, is_ours=path is None
            )
        )
    return found


def judge_end(
    which: str, certificate: x509.Certificate, now: datetime, *, is_ours: bool
) -> Finding:
    """What the time that a certificate has left means; `is_ours` for one that renews itself."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    hint = (
        "the server renews it by itself: look into its log for why it did not"
        if is_ours
        else "put a new certificate and its key into the files; they are read again by themselves"
    )
    if now < start:
        words = f"{which} begins at {start:%Y-%m-%d %H:%M} UTC only"
        return error(HTTPS, words, "look at this machine's clock")
    if now >= end:
        return error(HTTPS, f"{which} ended at {end:%Y-%m-%d %H:%M} UTC", hint)
    if end - now < min(_LEAST_LEFT, (end - start) / _LEAST_PART):
        return warning(HTTPS, f"{which} ends at {end:%Y-%m-%d %H:%M} UTC", hint)
    return well(HTTPS, f"{which} lasts until {end:%Y-%m-%d %H:%M} UTC")


def check_status_address(
    inspection: Inspection, running: Running | None, clock: Clock
) -> list[Finding]:
    """Fetches a CRL from here as the newest certificates of our own CA say. Raises Unavailable."""
    ders = inspection.look(newest_local_versions)
    if not ders:
        return []
    certificates = [x509.load_der_x509_certificate(der) for der in ders]
    url = next((url for each in certificates if (url := _crl_address(each))), None)
    if url is None:
        return [
            note(
                STATUS,
                "the newest certificates of the Local CA do not say where their status is",
                "set CERTCTL_PUBLIC_STATUS_URL before you issue what is to be revoked",
            )
        ]
    if running is None or running.certificate is None:
        return [note(STATUS, f"certificates say {url}; not asked: no server runs here")]
    return judge_status(url, _fetch(url), from_ms(clock.now_ms()))


def judge_status(url: str, answer: bytes | str, now: datetime) -> list[Finding]:
    """What was fetched from a CRL's address, or the words for why nothing was, means."""
    if isinstance(answer, bytes):
        try:
            crl = x509.load_der_x509_crl(answer)
        except ValueError:
            answer = "what it answers with is no CRL"
        else:
            if crl.next_update_utc is not None and crl.next_update_utc <= now:
                answer = f"the CRL there is of before {crl.next_update_utc:%Y-%m-%d %H:%M} UTC"
    if isinstance(answer, str):
        return [
            error(
                STATUS,
                f"certificates say {url}, and from here it does not work: {answer}",
                "relying parties cannot tell what is revoked: look at name, firewall and proxy "
                "between here and CERTCTL_STATUS_HOST and _PORT, and at the server's log",
            )
        ]
    if _is_loopback(url):
        return [
            note(
                STATUS,
                f"works, and {url} can be reached from this machine only",
                "set CERTCTL_PUBLIC_STATUS_URL before you issue for others",
            )
        ]
    return [well(STATUS, f"{url} works from here")]


def _fetch(url: str) -> bytes | str:
    """What is there, or in words why nothing is."""
    try:
        # Not the environment's proxies: relying parties do not have them.
        with (
            httpx2.Client(trust_env=False, timeout=_SECONDS) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != _OK:
                return f"it answers {response.status_code}"
            content = b""
            for part in response.iter_bytes():
                content += part
                if len(content) > _MAX_CRL:
                    return "what it answers with does not end"
            return content
    except (httpx2.HTTPError, httpx2.InvalidURL) as fault:
        return str(fault) or type(fault).__name__


def _crl_address(certificate: x509.Certificate) -> str | None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    except (x509.ExtensionNotFound, ValueError):
        return None
    for point in extension.value:
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier):
                return name.value
    return None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
