"""Where the page for GlobalSign Atlas is tried: a real server, and a stand-in for each dialect."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.keys import KeyType
from tests.support.pki import make_csr, make_key
from tests.support.tls_peer import (
    Exchange,
    Hierarchy,
    key_pem,
    pem,
    refusing_peer,
    running_peer,
    server_context,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import httpx2

    from tests.conformance.hvca import Hvca

_PATIENCE_SECONDS = 30.0
_NEXT = count(1)


def new_name() -> str:
    """The name of an issuer that no other has."""
    return f"Atlas {next(_NEXT)}"


@dataclass(slots=True)
class Stage:
    """A server, and a stand-in for each dialect."""

    folder: Path
    atlas: Hvca
    headers: Hvca
    client: httpx2.Client
    #: The settings of an account in either.
    settings: dict[Hvca, dict[str, str]] = field(default_factory=dict)

    def issuer(self, ca: Hvca, **changes: str | None) -> str:
        """The id of a new issuer; `changes` to its settings, None takes one away."""
        answer = self._store(ca, changes)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def _store(self, ca: Hvca, changes: Mapping[str, str | None]) -> httpx2.Response:
        config = {
            name: value
            for name, value in {**self.settings[ca], "dialect": ca.dialect, **changes}.items()
            if value is not None
        }
        body = {"name": new_name(), "type": "GlobalSign", "config": config}
        return self.client.post("/api/v1/issuers", json=body)

    def refusal(self, ca: Hvca, **changes: str | None) -> str:
        """What is said of settings that are not taken."""
        answer = self._store(ca, changes)
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"].endswith(":issuer-settings-refused")
        return str(answer.json()["detail"])

    def test(self, ca: Hvca, **changes: str | None) -> str:
        """What a test of an issuer says that fails."""
        issuer = self.issuer(ca, **changes)
        found = self.client.post(f"/api/v1/issuers/{issuer}/test").json()
        assert found["status"] == "failed", found
        return str(found["detail"])

    def order(
        self,
        issuer: str,
        *,
        names: tuple[str, ...] = ("www.example.org",),
        key: KeyType = KeyType.P256,
        wait: int = 0,
        **more: Any,
    ) -> dict[str, Any]:
        """What the server answers to a request."""
        body = {"issuer_id": issuer, "csr": make_csr(make_key(key), list(names)), **more}
        headers = {"Prefer": f"wait={wait}"}
        found: dict[str, Any] = self.client.post(
            "/api/v1/certificates", json=body, headers=headers
        ).json()
        return found

    def problem(self, answer: Mapping[str, Any], *states: str) -> str:
        """What an order says went wrong last, once it is in one of these states."""
        order = self.until(answer["order_id"], *states)
        said = [entry["detail"] for entry in order["history"] if entry["detail"]]
        assert said, order
        return str(said[-1])

    def until(self, order_id: str, *states: str) -> dict[str, Any]:
        """An order, once it is in one of these states and the CA was asked."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            order: dict[str, Any] = self.client.get(f"/api/v1/orders/{order_id}").json()
            if order["state"] in states and order["history"]:
                return order
            time.sleep(0.02)
        pytest.fail(f"the order is {order['state']}: {order['problem']}")

    def settled(self, certificate_id: str) -> dict[str, Any]:
        """A revocation, once the CA has answered."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            certificate = self.client.get(f"/api/v1/certificates/{certificate_id}").json()
            found: dict[str, Any] = certificate["version"]["revocation"]
            if found["state"] in {"confirmed", "refused"}:
                return found
            time.sleep(0.02)
        pytest.fail(f"the revocation is {found}")

    def policy_says(self, change: Callable[[dict[str, Any]], None], **request: Any) -> str:
        """Why an order is refused whose account has a policy with that change."""
        change(self.atlas.policy)
        return self.problem(self.order(self.issuer(self.atlas), **request), "rejected")


@contextmanager
def strangers_server(
    stage: Stage, *, refusing: bool = False, pages: Mapping[str, Any] | None = None
) -> Iterator[dict[str, str]]:
    """Settings for a server that is not the stand-in: it refuses every client, or most pages.

    `pages` are the answers to what is asked by path, as JSON; else there is a 404.
    """
    hierarchy = Hierarchy("Some Web Server")
    bundle = stage.folder / "strangers.pem"
    bundle.write_bytes(pem(hierarchy.root))
    certificate, key = stage.folder / "nobody.crt", stage.folder / "nobody.key"
    own = make_key(which=4711)
    certificate.write_bytes(pem(Hierarchy("Nobody", which=1).issue(own, "nobody", client=True)))
    key.write_bytes(key_pem(own))
    paths = {"client_cert_path": str(certificate), "client_key_path": str(key)}
    paths["server_ca_path"] = str(bundle)
    context = server_context(
        stage.folder, hierarchy, clients=hierarchy if refusing else None, which=4711
    )

    async def answer(exchange: Exchange) -> None:
        found = (pages or {}).get(exchange.request.target)
        if found is None:
            await exchange.answer(404, b"<html>not here</html>", {"Content-Type": "text/html"})
        else:
            await exchange.answer(body=json.dumps(found).encode())

    if refusing:
        with refusing_peer(context) as port:
            yield {**paths, "api_url": f"https://localhost:{port}/v2"}
        return
    with running_peer(context) as peer:
        peer.script = answer
        yield {**paths, "api_url": f"{peer.url}/v2"}
