"""A customer of the stand-in of HVCA who speaks to it with nothing but an HTTP client."""

from __future__ import annotations

import base64
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certctl.pki.keys import spki_of
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.pki.keys import PrivateKey
    from tests.conformance.hvca import Account, Hvca

Json = dict[str, Any]

JSON = "application/json;charset=utf-8"
PROBLEM = "application/problem+json"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
DAY = 86_400

KEY = make_key()
CSR = make_csr(KEY, ["from-the-csr.example.org"], "from the csr")


def connect(ca: Hvca, account: Account | None, folder: Path) -> httpx2.Client:
    """A client that verifies the CA, and shows the account's certificate if there is one."""
    context = ssl.create_default_context(cafile=str(ca.trust_path))
    if account is not None:
        context.load_cert_chain(*account.write(folder))
    return httpx2.Client(base_url=ca.url, verify=context, trust_env=False)


def bare(key: PrivateKey) -> str:
    """PEM of a SubjectPublicKeyInfo."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def signed(key: PrivateKey, by: PrivateKey | None = None) -> str:
    """Base64 of a signature over a public key."""
    signer = by or key
    if isinstance(signer, rsa.RSAPrivateKey):
        raw = signer.sign(spki_of(key.public_key()), padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        raw = signer.sign(spki_of(key.public_key()), ec.ECDSA(hashes.SHA256()))
    return base64.b64encode(raw).decode()


def order(**changes: Any) -> Json:
    """The body of an order; a change to None leaves the field out."""
    body: Json = {
        "validity": {"not_before": int(time.time()), "not_after": int(time.time()) + DAY},
        "subject_dn": {"common_name": "www.example.org"},
        "san": {"dns_names": ["www.example.org", "mail.example.org"]},
        "extended_key_usages": [SERVER_AUTH],
        "public_key": CSR,
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


@dataclass
class Customer:
    """Somebody with an account, who is logged in."""

    ca: Hvca
    account: Account
    client: httpx2.Client
    token: str = ""

    def log_in(self, **changes: Any) -> httpx2.Response:
        """Log in, with other credentials where there are changes."""
        pair = {"api_key": self.account.api_key, "api_secret": self.account.api_secret}
        answer = self.client.post("/v2/login", json=pair | changes, headers={"Content-Type": JSON})
        if answer.status_code == 200:
            self.token = str(answer.json()["access_token"])
        return answer

    def ask(
        self, method: str, path: str, body: Json | None = None, **headers: str
    ) -> httpx2.Response:
        """Make a request with the token, and with a body of the right type."""
        sent = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            sent["Content-Type"] = JSON
        return self.client.request(method, f"/v2/{path}", json=body, headers=sent | headers)

    def get(self, path: str) -> httpx2.Response:
        """GET a page."""
        return self.ask("GET", path)

    def submit(self, **changes: Any) -> httpx2.Response:
        """Order a certificate."""
        return self.ask("POST", "certificates", order(**changes))

    def serial(self, **changes: Any) -> str:
        """Order a certificate, and have it accepted; its serial as the CA writes it."""
        answer = self.submit(**changes)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"].rpartition("/")[2]

    def certificate(self, **changes: Any) -> x509.Certificate:
        """Order a certificate, and fetch it."""
        answer = self.get(f"certificates/{self.serial(**changes)}")
        assert answer.status_code == 200, answer.text
        return x509.load_pem_x509_certificate(answer.json()["certificate"].encode())

    def wrong_fields(self, **changes: Any) -> set[str]:
        """The fields for which an order is refused."""
        answer = self.submit(**changes)
        assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM), answer.text
        assert answer.json()["description"]
        return set(answer.json()["errors"])
