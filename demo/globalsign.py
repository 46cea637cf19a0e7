"""One certificate's life at GlobalSign Atlas: here a stand-in of certctl's tests, on loopback.

It speaks the vendor's API over TLS with client certificates, takes its time, and keeps books.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.hvca import hvca

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conformance.hvca import Hvca

ISSUE_SECONDS = 2.0


@contextmanager
def stand_in(folder: Path) -> Iterator[Hvca]:
    """The stand-in, and beside it the files that an operator gets from GlobalSign."""
    folder.mkdir()
    with hvca(folder) as ca:
        ca.issue_seconds = ISSUE_SECONDS
        ca.quota = 100
        account = ca.new_account()
        ca.settings(account, folder)
        for name, secret in (("api-key", account.api_key), ("api-secret", account.api_secret)):
            file = folder / f"{name}.txt"
            file.write_text(secret)
            file.chmod(0o600)
        yield ca


def configure(run: Callable[..., str], certctl: str, ca: Hvca, folder: Path) -> None:
    """Make an issuer of it, and test the connection."""
    run(
        certctl, "issuers", "create", "GlobalSign", "--name", "GlobalSign",
        "--set", f"api_url={ca.api_url}",
        "--secret-file", f"api_key={folder}/api-key.txt",
        "--secret-file", f"api_secret={folder}/api-secret.txt",
        "--set", f"client_cert_path={Path.cwd() / folder}/client.crt",
        "--set", f"client_key_path={Path.cwd() / folder}/client.key",
        "--set", f"server_ca_path={ca.trust_path.resolve()}",
    )  # fmt: skip
    run(certctl, "issuers", "test", "iss-globalsign", says="dialect atlas")


def live(run: Callable[..., str], certctl: str, ca: Hvca) -> str:
    """Issue and revoke a certificate there; its serial in hex."""
    issued = run(
        certctl, "issue", "shop.demo.test", "--issuer", "iss-globalsign", "--owner", "demo"
    )
    certificate_id = issued.split()[1]
    run("openssl", "x509", "-in", "shop.demo.test.crt", "-noout", "-serial", "-issuer", "-enddate")
    run(
        certctl, "revoke", certificate_id, "--reason", "cessationOfOperation", "--yes",
        says="cessationOfOperation",
    )  # fmt: skip
    run(certctl, "certs", "show", certificate_id, says="revoked")
    ((serial, reason),) = ca.books.revoked().items()
    return f"in the books of GlobalSign's stand-in: {serial} revoked, {reason}"
