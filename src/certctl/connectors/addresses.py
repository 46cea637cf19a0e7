"""Addresses of certificate authorities: which may be configured, and which an answer may name."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from certctl.connectors.errors import BadAnswer, Misconfigured

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_HTTPS_PORT = 443
_MAX_HOST = 253  # RFC 1035 §2.3.4, without the length octets
_MAX_ADDRESS = 4096
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
# Printable ASCII without space and backslash, which some parsers read as a slash.
_ADDRESS = re.compile(r"[!-\[\]-~]*")
_NOT_IN_A_PATH = re.compile(r"[\x00-\x20\x7f\\#]")


@dataclass(frozen=True, slots=True)
class BaseAddress:
    """A base URL taken apart. `path` has no slash at its end; `authority` names port 443 never."""

    authority: str
    path: str

    @property
    def prefix(self) -> str:
        """What every address below it begins with."""
        return f"https://{self.authority}{self.path}"


def parse_base_url(url: str) -> BaseAddress:
    """Take a configured base URL apart; raises Misconfigured, without echoing it."""
    try:
        parts = urlsplit(url)
        authority = _authority(parts)
    except ValueError:
        raise Misconfigured("the CA's URL cannot be read; write https://host/path") from None
    if not _ADDRESS.fullmatch(url):
        raise Misconfigured(
            "the CA's URL holds a character that no URL may hold; write an international host "
            "name in its ASCII form (xn--…)"
        )
    if parts.scheme != "https":
        raise Misconfigured("the CA's URL must begin with https://; nothing is sent unprotected")
    if "@" in parts.netloc:
        raise Misconfigured(
            "the CA's URL must not hold a user name or password; use the issuer's own settings"
        )
    if "?" in url or "#" in url:
        raise Misconfigured("the CA's URL must end with its path, without '?' or '#'")
    if authority is None:
        raise Misconfigured("the CA's URL names no host that can be called")
    if _climbs(parts.path):
        raise Misconfigured("the CA's URL must not hold '.' or '..' as a part of its path")
    return BaseAddress(authority, parts.path.rstrip("/"))


def checked_path(path: str) -> str:
    """A path that may be appended to the base URL, with a slash before it if it has none.

    Raises BadAnswer where it would lead out of the base URL: only the CA's own words do that.
    """
    if _NOT_IN_A_PATH.search(path) or _climbs(path):
        raise BadAnswer("what the CA calls the order or certificate cannot be part of an address")
    # Without it, the path would go on with the host's name.
    return path if not path or path[0] in "/?" else f"/{path}"


def path_below(base: BaseAddress, url: str) -> str:
    """The path below `base` of an address in an answer (RFC 9110 §10.2.2); raises BadAnswer.

    A relative address is read as one below the base URL, whatever was called.
    """
    if not 0 < len(url) <= _MAX_ADDRESS or not _ADDRESS.fullmatch(url):
        raise BadAnswer("the CA's answer names an address that cannot be read")
    try:
        parts = urlsplit(url)
        authority = _authority(parts)
    except ValueError:
        raise BadAnswer("the CA's answer names an address that cannot be read") from None
    if parts.scheme or parts.netloc:
        if parts.scheme not in {"https", ""} or "@" in parts.netloc or authority != base.authority:
            raise BadAnswer("the CA's answer names an address at another host, which is not called")
    elif not parts.path.startswith("/"):
        return checked_path(_with_query("/" + parts.path, parts.query))
    if parts.path != base.path and not parts.path.startswith(base.path + "/"):
        raise BadAnswer("the CA's answer names an address outside of its API, which is not called")
    return checked_path(_with_query(parts.path.removeprefix(base.path), parts.query))


def _with_query(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _authority(parts: SplitResult) -> str | None:
    """Host and port in one form, or None where there is no host. Raises ValueError."""
    host, port = parts.hostname, parts.port
    if port == 0:
        raise ValueError("no port")
    if not host:
        return None
    if ":" in host:
        host = f"[{ipaddress.IPv6Address(host)}]"
    elif len(host) > _MAX_HOST or not all(map(_LABEL.fullmatch, host.removesuffix(".").split("."))):
        return None
    return host if port in {None, _HTTPS_PORT} else f"{host}:{port}"


def _climbs(path: str) -> bool:
    """Whether a server could read a dot segment in it (RFC 3986 §3.3), encoded or not."""
    plain = unquote(path.partition("?")[0])
    return any(part in {".", ".."} for part in re.split(r"[/\\]", plain)) or any(
        part.partition(";")[0] in {".", ".."} for part in plain.split("/")
    )
