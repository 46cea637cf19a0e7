"""What the client trusts to be the server."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from certctl.client.config import NotConfigured

if TYPE_CHECKING:
    from pathlib import Path


def trust(ca_bundle: Path | None) -> ssl.SSLContext:
    """A context that verifies the server, by this file alone where there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # What is named is trusted, also where it is a sub-CA whose root is not at hand (RFC 5280 §6.1:
    # any certificate can be a trust anchor).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_bundle is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(ca_bundle)
    except ssl.SSLError:
        raise NotConfigured(
            f"{ca_bundle} holds no certificate", hint="name a PEM file with the CA's certificate"
        ) from None
    except OSError as error:
        raise NotConfigured(
            f"cannot read the CA file {ca_bundle}: {error.strerror}",
            hint="set --ca-bundle or CERTCTL_CA_BUNDLE to the server's ca.pem",
        ) from None
    return context
