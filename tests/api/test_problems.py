"""Every error is a problem document, the framework's own included, and none echoes its input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from certctl.api import problems
from certctl.domain.keys import KeyType
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from httpx2 import Response

    from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.anyio

SECRET = "hunter2-hunter2-hunter2"


def check(response: Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    assert SECRET not in response.text
    problem: dict[str, Any] = response.json()
    assert problem["type"] == problems.TYPE_PREFIX + code
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]
    return problem


async def test_no_such_address(plane: ControlPlane) -> None:
    check(await plane.client.get(f"/api/v1/{SECRET}"), 404, "route-not-found")


async def test_no_such_object(plane: ControlPlane) -> None:
    for noun in ("certificate", "order", "issuer", "profile"):
        response = await plane.client.get(f"/api/v1/{noun}s/{SECRET}")
        check(response, 404, f"{noun}-not-found")


async def test_wrong_method_says_which_are_right(plane: ControlPlane) -> None:
    response = await plane.client.delete("/api/v1/certificates")
    check(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("key", [None, SECRET, f"certctl_admin_{'a' * 43}"])
async def test_without_a_good_key_nothing_is_told(plane: ControlPlane, key: str | None) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": ""}
    for path in ("/api/v1/certificates", "/api/v1/nothing", "/api/v1/openapi.json"):
        response = await plane.client.get(path, headers=headers)
        check(response, 401, "api-key-invalid" if key else "api-key-missing")
        assert response.headers["www-authenticate"].startswith("Bearer")


async def test_health_needs_no_key(plane: ControlPlane) -> None:
    for path in ("/healthz", "/readyz"):
        response = await plane.client.get(path, headers={"Authorization": ""})
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit(plane: ControlPlane, *, announced: bool) -> None:
    content = b"{" + b" " * (256 * 1024) + b"}"

    async def pieces() -> Any:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    response = await plane.client.post(
        "/api/v1/certificates", content=content if announced else pieces()
    )
    check(response, 413, "body-too-large")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"{}{}"])
async def test_a_body_that_is_no_json_object(plane: ControlPlane, content: bytes) -> None:
    response = await plane.client.post("/api/v1/certificates", content=content)
    check(response, 422, "invalid-body")


async def test_an_unknown_field_is_not_repeated(plane: ControlPlane) -> None:
    csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
    response = await plane.client.post(
        "/api/v1/certificates", json={"issuer_id": "iss-local", "csr": csr, SECRET: SECRET}
    )
    check(response, 422, "invalid-body")


async def test_a_fault_of_ours_tells_nothing_but_an_id(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_id: str) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(plane.services.catalog, "issuer", broken)
    response = await plane.client.get("/api/v1/issuers/iss-local")
    problem = check(response, 500, "internal-error")
    assert "request_id" in problem["hint"]


async def test_the_openapi_document_describes_every_answer(plane: ControlPlane) -> None:
    document = (await plane.client.get("/api/v1/openapi.json")).json()
    assert document["components"]["schemas"]["CertificateCreate"]["examples"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            problem = operation["responses"]["422"]["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
