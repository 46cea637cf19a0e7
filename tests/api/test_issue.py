"""Issuing from the Local CA: one request, one transaction, 201."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.domain.keys import KeyType
from tests.support.control_plane import add_issuer
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"


def body(**more: Any) -> dict[str, Any]:
    csr = make_csr(make_key(KeyType.P256), ["www.example.org", "10.0.0.1"])
    return {"issuer_id": "iss-local", "csr": csr, **more}


async def test_the_certificate_comes_at_once_with_its_chain(plane: ControlPlane) -> None:
    response = await plane.client.post(PATH, json=body(validity_days=30, owner="web team"))
    assert response.status_code == 201
    answer = response.json()
    assert response.headers["Location"] == f"{PATH}/{answer['id']}"
    assert response.headers["Cache-Control"] == "no-store"
    leaf = x509.load_pem_x509_certificate(answer["version"]["certificate"].encode())
    (root,) = x509.load_pem_x509_certificates(answer["version"]["chain"].encode())
    leaf.verify_directly_issued_by(root)
    assert answer["version"]["serial"] == f"{leaf.serial_number:x}"
    assert answer["names"] == ["www.example.org", "10.0.0.1"]
    assert answer["status"] == "issued"
    assert answer["owner"] == "web team"
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert lifetime.total_seconds() == 30 * 86_400 - 1
    again = await plane.client.get(response.headers["Location"])
    assert again.json() == answer


async def test_a_csr_may_come_as_base64_of_its_der(plane: ControlPlane) -> None:
    request = body()
    der = x509.load_pem_x509_csr(request["csr"].encode()).public_bytes(Encoding.DER)
    response = await plane.client.post(
        PATH, json={**request, "csr": base64.b64encode(der).decode()}
    )
    assert response.status_code == 201


async def test_downloads(plane: ControlPlane) -> None:
    answer = (await plane.client.post(PATH, json=body())).json()
    version = answer["version"]
    path = f"{PATH}/{answer['id']}/download"
    pem = await plane.client.get(path)
    assert pem.text == version["certificate"]
    assert pem.headers["content-type"].startswith("application/x-pem-file")
    chain = await plane.client.get(path, params={"format": "chain"})
    assert chain.text == version["certificate"] + version["chain"]
    der = await plane.client.get(path, params={"format": "der"})
    assert der.headers["content-type"] == "application/pkix-cert"
    assert f"{x509.load_der_x509_certificate(der.content).serial_number:x}" == version["serial"]
    wrong = await plane.client.get(path, params={"format": "gif"})
    assert wrong.status_code == 422


@pytest.mark.parametrize(
    ("profile", "names", "common_name", "key_type"),
    [
        ("prof-tls-server", ["*.example.org"], None, KeyType.RSA),
        ("prof-tls-client", ["user@example.org"], "Ada Lovelace", KeyType.P384),
        ("prof-mtls", ["spiffe://example.org/web"], None, KeyType.ED25519),
        ("prof-smime", ["user@example.org"], None, KeyType.P256),
        ("prof-code-signing", [], "Example Ltd", KeyType.P521),
        ("prof-time-stamping", [], "Example TSA", KeyType.P384),
        ("prof-tls-47-day", ["www.example.org"], None, KeyType.P256),
        ("prof-tls-6-day", ["www.example.org"], None, KeyType.P256),
    ],
)
async def test_every_profile_issues(
    plane: ControlPlane,
    profile: str,
    names: list[str],
    common_name: str | None,
    *,
    key_type: KeyType,
) -> None:
    csr = make_csr(make_key(key_type), names, common_name)
    response = await plane.client.post(
        PATH, json={"issuer_id": "iss-local", "profile_id": profile, "csr": csr}
    )
    assert response.status_code == 201, response.text
    rules = (await plane.client.get(f"/api/v1/profiles/{profile}")).json()
    leaf = x509.load_pem_x509_certificate(response.json()["version"]["certificate"].encode())
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert lifetime.total_seconds() + 1 <= rules["max_validity_seconds"]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert len(list(usages)) == len(rules["usages"])


async def test_the_audit_log_says_who_issued_what(plane: ControlPlane) -> None:
    answer = (await plane.client.post(PATH, json=body())).json()
    events = (await plane.client.get("/api/v1/audit")).json()["data"]
    event = next(event for event in events if event["object_id"] == answer["id"])
    assert (event["actor"], event["action"]) == ("admin", "certificate.issued")
    assert event["detail"]["serial"] == answer["version"]["serial"]
    report = (await plane.client.post("/api/v1/audit/verify")).json()
    assert report["problems"] == []
    assert report["events"] >= len(events)


async def test_the_inventory_is_paged_newest_first(plane: ControlPlane) -> None:
    ids = [(await plane.client.post(PATH, json=body())).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await plane.client.get(PATH, params=params)).json()
        seen += [row["id"] for row in page["data"]]
        assert len(page["data"]) <= 2
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    wrong = await plane.client.get(PATH, params={"cursor": "nonsense"})
    assert wrong.status_code == 422
    assert "nonsense" not in wrong.text


async def test_issuers_and_profiles_are_listed(plane: ControlPlane) -> None:
    issuers = (await plane.client.get("/api/v1/issuers")).json()["data"]
    assert [(i["id"], i["type"], i["status"]) for i in issuers] == [
        ("iss-local", "GenericCA", "ready")
    ]
    profiles = (await plane.client.get("/api/v1/profiles")).json()["data"]
    assert len(profiles) == 10
    root = await plane.client.get("/api/v1/issuers/iss-local/ca")
    certificate = x509.load_pem_x509_certificate(root.content)
    assert certificate.subject == certificate.issuer


async def test_an_issuer_that_another_process_has_just_made_is_known(plane: ControlPlane) -> None:
    await add_issuer(plane.services.database, "iss-new", "GenericCA")
    response = await plane.client.post(PATH, json=body(issuer_id="iss-new"))
    assert response.status_code == 201, response.text
