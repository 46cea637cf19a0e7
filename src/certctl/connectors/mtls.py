"""TLS contexts for calls to CAs, cached by the files they are made of.

A call costs one `stat` for each file. Any difference that it shows builds a new context from the
files; what is wrong with them is remembered in the same way, so that a thousand calls do not read
a broken pair a thousand times. A context that was handed out is never changed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from certctl.connectors.errors import Misconfigured
from certctl.domain.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Contexts that nobody asked for during this many seconds are dropped.
UNUSED_SECONDS = 3600.0

_MAX_BYTES = 4_000_000  # every public root there is takes a quarter of a megabyte
_ATTEMPTS = 5
# File systems count time in ticks of up to 10 ms: a file that was changed in the tick in which it
# was looked at could be changed once more, and look the same.
_SETTLED_MS = 20
# What failed for another reason (too many open files, say) may work again with no file changed.
_LASTING = frozenset(
    {
        errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)  # fmt: skip


class FileIdentity(NamedTuple):
    """What tells one state of a file from another: any difference counts, not only a newer one."""

    mtime_ns: int
    ctime_ns: int
    inode: int
    size: int
    device: int


def file_identity(path: str) -> FileIdentity | None:
    """The present identity of a file (one `stat`, links followed), or None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 # making a Path costs more than the stat, each call
    except (OSError, ValueError):
        return None
    return FileIdentity(
        found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size, found.st_dev
    )


def fingerprint(paths: Iterable[str]) -> tuple[FileIdentity | None, ...]:
    """The present identity of each file; None for what is missing."""
    return tuple([file_identity(path) for path in paths])


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files that a context is made of; with none of them it is the system's trust alone."""

    certificate: str | None = None
    key: str | None = None
    trust: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Each file once."""
        named = (self.certificate, self.key, self.trust)
        return tuple(dict.fromkeys(path for path in named if path is not None))


@dataclass(slots=True, eq=False)
class _Entry:
    paths: tuple[str, ...]
    identity: tuple[FileIdentity | None, ...] = ()
    context: ssl.SSLContext | None = None
    wrong: str = ""
    used: float = 0.0
    building: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_current(self) -> bool:
        built = self.context is not None or bool(self.wrong)
        return built and fingerprint(self.paths) == self.identity

    def answer(self) -> ssl.SSLContext:
        if self.context is None:
            raise Misconfigured(self.wrong)
        return self.context


class TlsContexts:
    """Contexts by the files they are made of; belongs to one event loop."""

    def __init__(
        self, *, clock: Clock | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock or SystemClock()
        self._monotonic = monotonic
        self._entries: dict[TlsFiles, _Entry] = {}
        self._swept = monotonic()

    def current(self, files: TlsFiles) -> ssl.SSLContext | None:
        """The context of the files as they are now, or None where it must be built first.

        Raises Misconfigured for files that were found wrong and have not changed since.
        """
        entry = self._entries.get(files)
        if entry is None or not entry.is_current():
            return None
        entry.used = self._monotonic()
        return entry.answer()

    async def build(self, files: TlsFiles) -> ssl.SSLContext:
        """The context of the files as they are now, built in a thread, once for all who wait.

        Raises Misconfigured, with what is wrong and at which file, never with what it holds.
        """
        self._drop_unused()
        entry = self._entries.setdefault(files, _Entry(files.paths))
        entry.used = self._monotonic()
        async with entry.building:
            if not entry.is_current():
                now_ms = self._clock.now_ms
                built = await asyncio.to_thread(_build_settled, files, now_ms)
                entry.identity, entry.context, entry.wrong = built
        return entry.answer()

    def _drop_unused(self) -> None:
        now = self._monotonic()
        if now - self._swept < UNUSED_SECONDS / 60:
            return
        self._swept = now
        for files, entry in list(self._entries.items()):
            if now - entry.used > UNUSED_SECONDS and not entry.building.locked():
                del self._entries[files]


# No files look like this, so that the next call looks again.
_NEVER: tuple[FileIdentity | None, ...] = (None, None, None, None)


class _Built(NamedTuple):
    identity: tuple[FileIdentity | None, ...]
    context: ssl.SSLContext | None
    wrong: str


class _WrongFiles(Exception):
    """What is wrong, in words for the operator; `passing` where it may end with no file changed."""

    def __init__(self, words: str, *, passing: bool = False) -> None:
        super().__init__(words)
        self.passing = passing


class _Encrypted(Exception):
    """OpenSSL asked for a passphrase."""


def _build_settled(files: TlsFiles, now_ms: Callable[[], int]) -> _Built:
    """Build from files that nobody changed meanwhile."""
    for attempt in range(_ATTEMPTS):
        before = fingerprint(files.paths)
        newest = max((found.ctime_ns // 1_000_000 for found in before if found), default=0)
        if 0 <= now_ms() - newest < _SETTLED_MS and attempt < _ATTEMPTS - 1:
            time.sleep(_SETTLED_MS / 1000)
            continue
        try:
            built = _Built(before, _build(files), "")
        except _WrongFiles as error:
            built = _Built(_NEVER if error.passing else before, None, str(error))
        if fingerprint(files.paths) == before:
            return built
    named = ", ".join(files.paths)
    return _Built(_NEVER, None, f"{named}: written to again and again while being read")


def _build(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.trust is None:
        context.load_default_certs()
    else:
        _load_trust(context, files.trust)
    if files.certificate is not None and files.key is not None:
        _load_pair(context, files.certificate, files.key)
    return context


def _load_trust(context: ssl.SSLContext, path: str) -> None:
    _readable(path, "trust bundle")
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise _WrongFiles(
            f"the trust bundle {path} cannot be used: {_reason(error)}; it must hold certificates "
            "in PEM, and nothing else",
            passing=_is_passing(error),
        ) from None
    if not context.cert_store_stats()["x509"]:
        raise _WrongFiles(f"the trust bundle {path} holds no certificate, so nothing is trusted")
    # What the operator put there is trusted as it is, an intermediate without its root included.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    _readable(certificate, "client certificate")
    _readable(key, "client key")
    try:
        context.load_cert_chain(certificate, key, password=_never_ask)
    except _Encrypted:
        raise _WrongFiles(
            f"the client key {key} is encrypted, which is not supported; store it decrypted, "
            "readable by this service only"
        ) from None
    except (OSError, ValueError) as error:
        words = _what_is_wrong(certificate, key, error)
        raise _WrongFiles(words, passing=_is_passing(error)) from None


def _never_ask() -> str:
    # Without this OpenSSL asks on the terminal, and the whole process waits.
    raise _Encrypted


def _readable(path: str, what: str) -> None:
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe could wait for ever
            raise _WrongFiles(f"the {what} {path} is not a file")
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        raise _WrongFiles(
            f"the {what} {path} cannot be read: {_reason(error)}; check the path, and that the "
            "user of this service may read it",
            passing=_is_passing(error),
        ) from None
    if found.st_size > _MAX_BYTES:
        raise _WrongFiles(f"the {what} {path} is too large to be one")
    if not found.st_size:
        raise _WrongFiles(f"the {what} {path} is empty")


def _what_is_wrong(certificate: str, key: str, error: Exception) -> str:
    """Find the file at fault: OpenSSL's own words name neither the file nor the reason."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"the client key {key} is not the key of the first certificate in {certificate}; if "
            "they are being replaced, the other file is still to come"
        )
    try:
        x509.load_pem_x509_certificates(Path(certificate).read_bytes())
    except (OSError, ValueError):
        return f"the client certificate {certificate} is not a certificate in PEM"
    try:
        load_pem_private_key(Path(key).read_bytes(), None)
    except Exception:  # noqa: BLE001 # whatever it raises, the key cannot be used
        return f"the client key {key} is not a private key in PEM"
    return f"the client certificate {certificate} and key {key} cannot be used: {_reason(error)}"


def _is_passing(error: Exception) -> bool:
    return (
        isinstance(error, OSError)
        and not isinstance(error, ssl.SSLError)
        and error.errno not in _LASTING
    )


def _reason(error: Exception) -> str:
    """Why, in the system's or OpenSSL's words; never the file's content."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unknown reason").replace("_", " ").lower()
    return getattr(error, "strerror", None) or "not a path"
