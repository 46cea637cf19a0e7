"""Generated requests against a running server: its own description is the specification."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from certctl.domain.keys import KeyType
from tests.support.api import client_for
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from tests.support.server import ServerProcess

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: Stands in for a credential that somebody sends in the wrong place.
PLANTED = "planted-" + secrets.token_hex(16)
#: What schemathesis generates: its parts are typed by the document, not by us.
Case = Any
CREATE = "POST /api/v1/certificates"


def csr_pool() -> st.SearchStrategy[str]:
    """CSRs that a TLS profile accepts."""
    keys = [make_key(KeyType.P256), make_key(KeyType.ED25519), make_key(KeyType.RSA)]
    return st.sampled_from(
        [make_csr(key, [f"host-{i}.example.org", "10.0.0.7"]) for i, key in enumerate(keys)]
    )


def acceptable(case: Case) -> Case:
    """A generated request for a certificate, turned towards what exists."""
    if isinstance(case.body, dict) and "csr" in case.body:
        kept = {name: case.body[name] for name in ("csr", "owner") if name in case.body}
        case.body = {**kept, "issuer_id": "iss-local"}
    return case


def planted(case: Case, where: int) -> Case:
    """A generated request with a secret where none belongs."""
    if where == 0 and isinstance(case.body, dict):
        case.body = {**case.body, PLANTED: 1}
    elif where == 1 and isinstance(case.body, dict) and case.body:
        name = max(case.body, key=str)
        case.body = {**case.body, name: PLANTED}
    elif where == 2:
        case.query = {**(case.query or {}), "cursor": PLANTED, "state": PLANTED}
    elif where == 3:
        case.path_parameters = dict.fromkeys(case.path_parameters or {}, PLANTED)
    elif where == 4:
        case.headers = {**(case.headers or {}), "Idempotency-Key": f"{PLANTED} é".encode().hex()}
    return case


def schema_operation(result: Any) -> Any:
    """An operation, or the fault in our document."""
    return result.ok()


def explore(server: ServerProcess, cases: int) -> Counter[str]:
    """Send that many generated requests; counts answers by operation and status."""
    with client_for(server) as client:
        document = client.get("/api/v1/openapi.json").raise_for_status().json()
    schemathesis.openapi.format("csr", csr_pool())
    schema = schemathesis.openapi.from_dict(document)
    operations: list[Any] = [schema_operation(found) for found in schema.get_all_operations()]
    seen: Counter[str] = Counter()
    others = [operation for operation in operations if operation.label != CREATE]
    (create,) = (operation for operation in operations if operation.label == CREATE)
    both = list(schemathesis.GenerationMode)
    positive = schemathesis.GenerationMode.POSITIVE
    plans: list[tuple[st.SearchStrategy[Case], int]] = [
        (create.as_strategy(generation_mode=positive).map(acceptable), cases * 4 // 10),
        (
            st.one_of([create.as_strategy(generation_mode=mode) for mode in both]).flatmap(
                lambda case: st.integers(0, 5).map(lambda where: planted(case, where))
            ),
            cases * 3 // 10,
        ),
    ]
    each = max(1, cases * 4 // 10 // len(others) + 1)
    plans += [
        (
            st.one_of(
                [
                    operation.as_strategy(generation_mode=mode)
                    for mode in both
                    if mode is positive or list(operation.iter_parameters())
                ]
            ).flatmap(lambda case: st.integers(0, 5).map(lambda where: planted(case, where))),
            each,
        )
        for operation in others
    ]
    for strategy, count in plans:
        _send(server, strategy, count, seen)
    return seen


def _send(
    server: ServerProcess,
    strategy: st.SearchStrategy[Case],
    count: int,
    seen: Counter[str],
) -> None:
    key = server.key

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def send(case: Case) -> None:
        arguments: dict[str, Any] = {"verify": str(server.ca)}
        response = case.call(
            base_url=server.url, headers={"Authorization": f"Bearer {key}"}, **arguments
        )
        seen[f"{case.operation.label} {response.status_code}"] += 1
        case.validate_response(response, checks=CHECKS)
        text = response.text
        assert key not in text
        if response.status_code >= 400:
            assert PLANTED not in text

    send()


@pytest.mark.timeout(300)
def test_generated_requests_get_documented_answers_that_echo_no_secret(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would override `verify`
        monkeypatch.delenv(name, raising=False)
    seen = explore(server, 500)
    assert sum(seen.values()) >= 500
    assert seen[f"{CREATE} 201"] >= 100, seen


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_more_generated_requests(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    seen = explore(server, 2500)
    assert sum(seen.values()) >= 2000
    assert seen[f"{CREATE} 201"] >= 100, seen
