"""Settings of an account at GlobalSign Atlas HVCA."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, SecretStr

from certctl.connectors.config import RemoteConfig
from certctl.connectors.transport import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = re.compile(r"v2(\.[0-9]{1,3})?", re.ASCII)


class GlobalSignConfig(RemoteConfig):
    """The environment, REST, the command line and the operator's page read this model."""

    env_prefix: ClassVar[str] = "CERTCTL_GLOBALSIGN_"

    api_url: str = Field(
        description="Address of the API in your account's region, as GlobalSign gave it to you "
        "(EMEA: https://emea.api.hvca.globalsign.com:8443/v2); with or without /v2 at its end"
    )
    api_key: SecretStr = Field(description="The account's API key")
    api_secret: SecretStr = Field(description="The secret that belongs to the API key")
    client_cert_path: str = Field(
        description="PEM file with the client certificate that GlobalSign issued to the account, "
        "and its chain"
    )
    client_key_path: str = Field(description="PEM file with the client certificate's private key")
    server_ca_path: str | None = Field(
        default=None,
        description="PEM bundle that is trusted instead of the system's, for the API's own "
        "certificate",
    )
    dialect: Literal["auto", "atlas", "headers"] = Field(
        default="auto",
        description="atlas: GlobalSign's published API, with a login; headers: key and secret in "
        "the headers of every request; auto: whichever the server speaks",
    )

    def endpoint(self, headers: Mapping[str, str]) -> Endpoint:
        """Where the API is; certificate and key are presented in every handshake."""
        key, secret = self.api_key.get_secret_value(), self.api_secret.get_secret_value()
        return Endpoint(
            base_url=_with_version(self.api_url),
            certificate_path=self.client_cert_path,
            key_path=self.client_key_path,
            trust_path=self.server_ca_path,
            headers=headers,
            secrets=(key, secret),
        )


def _with_version(url: str) -> str:
    base = url.rstrip("/")
    last = base.rpartition("/")[2]
    return base if _VERSION.fullmatch(last) else f"{base}/v2"
