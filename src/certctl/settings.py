"""The server's settings: environment variables `CERTCTL_…`, and credentials of systemd's.

A credential (systemd.exec(5), `LoadCredential=`) is a file in a folder of the service's own, which
no other user can read. One that has the name of a variable stands for it; the variable wins.
"""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from certctl.domain.errors import CertctlError, Misconfigured
from certctl.domain.names import NameKind, parse_name

_BOOTSTRAP_HINT = "see the settings table in the documentation, or `certctl server --help`"


class Settings(BaseSettings):
    """Settings of one server process; each is the environment variable `CERTCTL_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="CERTCTL_", extra="ignore", frozen=True)

    data_dir: Path = Field(
        default=Path("data"),
        description="Folder for the database, the first admin key and the trust anchor",
    )
    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL URL; default: SQLite in the data directory"
    )
    server_host: str = Field(default="127.0.0.1", description="Address of the HTTPS listener")
    server_port: int = Field(default=8443, ge=0, le=65535, description="Its port")
    status_host: str = Field(
        default="127.0.0.1",
        description="Address of the plain HTTP listener for CRLs, OCSP and CA certificates",
    )
    status_port: int = Field(default=8080, ge=0, le=65535, description="Its port")
    public_status_url: str | None = Field(
        default=None,
        description="Address at which relying parties reach that listener, put into certificates; "
        "default: its own while both listeners are on loopback, else none",
    )
    server_names: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names in the server's certificate, separated by commas; "
        "default: localhost, loopback and this host's name",
    )
    server_tls_cert_path: Path | None = Field(
        default=None, description="Certificate (PEM, with chain) to serve instead of our own"
    )
    server_tls_key_path: Path | None = Field(default=None, description="Its private key")
    config_encryption_key: SecretStr | None = Field(
        default=None,
        description="Secret that seals keys and credentials; required with PostgreSQL, "
        "else made in the data directory",
    )
    config_decryption_keys: SecretStr | None = Field(
        default=None,
        description="Further secrets, separated by commas, that still open what they sealed: for "
        "the time of a rotation",
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="https address that events are posted to; default: none"
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="Secret that signs what is posted there, as `whsec_` and base64"
    )
    lease_seconds: float = Field(
        default=60.0,
        ge=0.5,
        le=3600,
        description="How long a process that has died keeps others from its orders",
    )
    order_max_age_days: float = Field(
        default=30.0, gt=0, le=365, description="When an order that its CA does not finish expires"
    )
    schedule_scale: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Shortens every wait for a CA, for trials: 0.1 is ten times as often",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes; more than one needs PostgreSQL"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is logged"
    )

    @field_validator("server_names", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("server_names")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                name = parse_name(text, "server_names")
            except CertctlError as error:
                raise ValueError(error.detail) from None
            if name.kind not in {NameKind.DNS, NameKind.IP}:
                raise ValueError("only DNS names and IP addresses can name a server")
        return value

    @field_validator("public_status_url")
    @classmethod
    def _is_public_url(cls, value: str | None) -> str | None:
        return None if value is None else _status_url(value)

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if (self.server_tls_cert_path is None) != (self.server_tls_key_path is None):
            raise ValueError("server_tls_cert_path and server_tls_key_path come together")
        if (self.webhook_url is None) != (self.webhook_secret is None):
            raise ValueError("webhook_url and webhook_secret come together")
        if self.workers > 1 and self.database_url is None:
            raise ValueError("workers > 1 needs PostgreSQL (database_url)")
        return self

    @property
    def is_local(self) -> bool:
        """Whether both listeners are on loopback: a trial, whose clients are on this machine."""
        return _is_loopback(self.server_host) and _is_loopback(self.status_host)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the server's own certificate carries."""
        if self.server_names:
            return self.server_names
        names = ["localhost", "127.0.0.1", "::1"]
        host = socket.gethostname().lower().rstrip(".")
        if _is_name(host):
            names.append(host)
        if _is_name(self.server_host) and self.server_host not in {*names, "0.0.0.0", "::"}:  # noqa: S104
            names.append(self.server_host)
        return tuple(dict.fromkeys(names))


def _status_url(text: str) -> str:
    """A URL as certificates carry it, without a slash at its end (RFC 5280 §4.2.1.13, §4.2.2.1)."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme == "https":
        raise ValueError(
            "must be http: with https, relying parties would need to check a certificate in order "
            "to check a certificate; what is served there is signed"
        )
    if parts.scheme != "http" or not parts.hostname or port == 0:
        raise ValueError("must look like http://pki.example.com or http://pki.example.com:8080/pki")
    if "?" in text or "#" in text:
        raise ValueError("must have no query and no fragment: paths are put behind it")
    if "@" in parts.netloc:
        raise ValueError("must name no user: it is put into certificates")
    if not text.isascii() or not text.isprintable() or set(text) & set(' <>"\\^`{|}'):
        raise ValueError("has characters that a URL cannot have")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_name(text: str) -> bool:
    try:
        parse_name(text, "server_names")
    except CertctlError:
        return False
    return True


def _credentials() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder and Path(folder).is_dir() else None


def load_settings(overrides: dict[str, Any] | None = None) -> Settings:
    """Read the environment and the service's credentials, with `overrides` on top.

    Raises Misconfigured naming the settings at fault, never their values.
    """
    try:
        return Settings(_secrets_dir=_credentials(), **(overrides or {}))
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            name = "_".join(str(part) for part in fault["loc"])
            message = fault["msg"].removeprefix("Value error, ")
            faults.append(f"CERTCTL_{name.upper()}: {message}" if name else message)
        raise Misconfigured("settings-invalid", "; ".join(faults), hint=_BOOTSTRAP_HINT) from None
