"""Where the server is, and how to be let in."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from certctl.client.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "https://127.0.0.1:8443"
#: Where a local server may keep its data, when nobody says so.
USUAL_DATA_DIRS = (Path("data"), Path("/var/lib/certctl"))

_KEY_FILE, _CA_FILE, _ADDRESS_FILE = "admin.key", "ca.pem", "server.json"
_NAME_THE_SERVER = (
    "set CERTCTL_SERVER_URL and CERTCTL_API_KEY, or name a local server's data directory "
    "with --data-dir or CERTCTL_DATA_DIR"
)


class NotConfigured(ClientError):
    """The server's address, key or trust anchor is missing or unusable."""

    code = "not-configured"

    def __init__(self, detail: str, *, hint: str, code: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.code = code or self.code


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """A server's address, the API key to send, and the CA file to trust (None: the system's)."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    ca_bundle: Path | None = None
    is_local: bool = False


def find_server(
    *,
    url: str | None = None,
    data_dir: Path | None = None,
    ca_bundle: Path | None = None,
    environ: Mapping[str, str] | None = None,
    need_key: bool = True,
) -> ServerAccess:
    """Find the server: what was passed, then the environment, then a local data directory.

    A data directory that nobody named serves only the server it belongs to: its admin key is never
    sent to an address that came from elsewhere. One that was passed goes before the environment.

    Raises NotConfigured saying what was looked for.
    """
    environment = os.environ if environ is None else environ
    if data_dir is None:
        url = url or environment.get("CERTCTL_SERVER_URL") or None
    folder = data_dir or _path(environment.get("CERTCTL_DATA_DIR"))
    if folder is None and url is None:
        folder = next((usual for usual in USUAL_DATA_DIRS if _is_data_dir(usual)), None)

    key = environment.get("CERTCTL_API_KEY", "").strip() or None
    if folder is not None and (key is None or data_dir is not None):
        key = _read_key(folder / _KEY_FILE, need_key=need_key and key is None) or key
    if key is None and need_key:
        raise NotConfigured(
            _no_key(url, folder),
            hint=_NAME_THE_SERVER,
            code=None if folder is None and url is None else "api-key-missing",
        )
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise NotConfigured(
            "the API key has characters that no key has",
            hint="a key is one word of letters, digits and signs; copy it again",
        )

    bundle = ca_bundle or _path(environment.get("CERTCTL_CA_BUNDLE"))
    if folder is not None and (bundle is None or (data_dir is not None and ca_bundle is None)):
        own = folder / _CA_FILE
        bundle = own if own.exists() else bundle
    return ServerAccess(
        url=_checked(url) if url else _local_address(folder),
        api_key=key,
        ca_bundle=bundle,
        is_local=url is None,
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _is_data_dir(folder: Path) -> bool:
    """Whether a server was here: any folder may be called `data`."""
    try:
        return any((folder / name).exists() for name in (_ADDRESS_FILE, _KEY_FILE, _CA_FILE))
    except PermissionError:  # then it is somebody's, and reading the key finds the words
        return True


def _read_key(path: Path, *, need_key: bool) -> str | None:
    try:
        return path.read_text("ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if not need_key:
            return None
        reason = error.strerror if isinstance(error, OSError) else "it is not a key"
        raise NotConfigured(
            f"cannot read the API key in {path}: {reason}",
            hint="run this as the user who runs the server, or set CERTCTL_API_KEY",
        ) from None


def _no_key(url: str | None, folder: Path | None) -> str:
    if folder is not None:
        path = folder / _KEY_FILE
        return f"there is no API key: CERTCTL_API_KEY is not set, and {path} is not there"
    if url is not None:
        return (
            "there is no API key for that server: CERTCTL_API_KEY is not set "
            "(a key found in a local data directory is not sent to another server)"
        )
    usual = " nor ".join(
        str(usual) if usual.is_absolute() else f"./{usual}" for usual in USUAL_DATA_DIRS
    )
    return (
        "no server found: CERTCTL_SERVER_URL, CERTCTL_API_KEY and CERTCTL_DATA_DIR are not set, "
        f"and neither {usual} is a server's data directory"
    )


def _local_address(folder: Path | None) -> str:
    if folder is None:
        return DEFAULT_URL
    path = folder / _ADDRESS_FILE
    try:
        stored = json.loads(path.read_bytes())["url"]
    except FileNotFoundError:
        return DEFAULT_URL
    except OSError as error:
        raise NotConfigured(
            f"cannot read the server's address in {path}: {error.strerror}",
            hint="run this as the user who runs the server, or set CERTCTL_SERVER_URL",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise NotConfigured(
            f"{path} does not hold a server's address",
            hint="start the server again, which writes it anew, or set CERTCTL_SERVER_URL",
        ) from None
    return _checked(str(stored))


def _checked(url: str) -> str:
    hint = "write it as https://certctl.example.org:8443"
    try:
        parts = urlsplit(url)
        is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good:
        raise NotConfigured("the server's address is not a URL", hint=hint)
    if parts.scheme != "https":
        raise NotConfigured("the server's address does not begin with https://", hint=hint)
    if parts.username or parts.query or parts.fragment:
        raise NotConfigured("the server's address has more than host, port and path", hint=hint)
    return url.rstrip("/")
