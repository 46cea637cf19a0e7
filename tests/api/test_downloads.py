"""A version as a file, in every format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from certctl.pki.certificates import to_pem
from tests.support.foreign import foreign, self_signed
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)]

PATH = "/api/v1/certificates"


async def bring(plane: ControlPlane, pem: str, **more: Any) -> str:
    answer = await plane.client.post(f"{PATH}/import", json={"certificate": pem, **more})
    assert answer.status_code == 201, answer.text
    return f"{PATH}/{answer.json()['certificate']['id']}/download"


async def test_each_format_has_what_it_says(plane: ControlPlane) -> None:
    what = foreign()
    path = await bring(plane, what.pem, chain=what.chain)
    name = path.split("/")[-2]
    for file_format, media_type, ending in (
        ("pem", "application/x-pem-file", "pem"),
        ("chain", "application/x-pem-file", "pem"),
        ("der", "application/pkix-cert", "cer"),
        ("pkcs7", "application/pkcs7-mime; smime-type=certs-only", "p7b"),
        ("pkcs12", "application/x-pkcs12", "p12"),
        ("jks", "application/x-java-keystore", "jks"),
    ):
        answer = await plane.client.get(path, params={"format": file_format})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == media_type
        disposition = f'attachment; filename="{name}.{ending}"'
        assert answer.headers["content-disposition"] == disposition
    chain = list(what.ca.chain)
    answer = await plane.client.get(path, params={"format": "pkcs7"})
    found = pkcs7.load_der_pkcs7_certificates(answer.content)
    assert {to_pem(each) for each in found} == {to_pem(each) for each in [what.certificate, *chain]}
    answer = await plane.client.get(path, params={"format": "pkcs12"})
    store = pkcs12.load_pkcs12(answer.content, b"changeit")
    assert store.key is None
    assert [each.certificate for each in store.additional_certs] == chain
    jks = (await plane.client.get(path, params={"format": "jks"})).content
    assert jks[:4] == bytes.fromhex("feedfeed")
    assert jks == (await plane.client.get(path, params={"format": "jks"})).content


async def test_a_password_of_ones_own_comes_in_a_header(plane: ControlPlane) -> None:
    what = foreign()
    path = await bring(plane, what.pem, chain=what.chain)
    query = {"format": "pkcs12"}
    headers = {"X-Store-Password": "planted-password"}
    answer = await plane.client.get(path, params=query, headers=headers)
    assert pkcs12.load_pkcs12(answer.content, b"planted-password").additional_certs
    for wrong in ("plant", "planted password", "planted" * 20, "planted-\xe9\xe9"):
        answer = await plane.client.get(
            path, params=query, headers={b"X-Store-Password": wrong.encode("latin-1")}
        )
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["type"] == "urn:certctl:problem:store-password-invalid"
        assert problem["field"] == "X-Store-Password"
        assert "plant" not in answer.text
    for field in ("password", "store_password", "X-Store-Password"):
        answer = await plane.client.get(path, params={**query, field: "planted-password"})
        assert pkcs12.load_pkcs12(answer.content, b"changeit").additional_certs


async def test_what_issued_itself_is_its_own_trust(plane: ControlPlane) -> None:
    box = self_signed()
    path = await bring(plane, to_pem(box))
    answer = await plane.client.get(path, params={"format": "pkcs12"})
    (entry,) = pkcs12.load_pkcs12(answer.content, b"changeit").additional_certs
    assert entry.certificate == box


async def test_without_a_chain_there_is_nothing_to_trust(plane: ControlPlane) -> None:
    path = await bring(plane, foreign().pem)
    for file_format in ("pkcs12", "jks"):
        answer = await plane.client.get(path, params={"format": file_format})
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:certctl:problem:chain-not-known"
        assert answer.json()["hint"]
    answer = await plane.client.get(path, params={"format": "pkcs7"})
    assert len(pkcs7.load_der_pkcs7_certificates(answer.content)) == 1
    assert (await plane.client.get(path, params={"format": "pfx"})).status_code == 422


async def test_the_trust_of_our_own_ca(plane: ControlPlane) -> None:
    csr = make_csr(make_key(), ["www.example.org"])
    made = (await plane.client.post(PATH, json={"issuer_id": "iss-local", "csr": csr})).json()
    path = f"{PATH}/{made['id']}/download"
    query = {"format": "pkcs12", "version": made["version"]["id"]}
    answer = await plane.client.get(path, params=query)
    (entry,) = pkcs12.load_pkcs12(answer.content, b"changeit").additional_certs
    root = await plane.client.get("/api/v1/issuers/iss-local/ca")
    assert entry.certificate == x509.load_pem_x509_certificate(root.content)
