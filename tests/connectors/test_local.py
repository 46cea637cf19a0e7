"""The Local CA as a connector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import ValidationError

from certctl.connectors.contract import ConnectorContext, ExposesChain, IssuanceRequest
from certctl.connectors.errors import Misconfigured
from certctl.connectors.local import CONNECTOR, LocalConfig, LocalConnector, build_local
from certctl.connectors.registry import config_from_environment, connector_type
from certctl.connectors.transport import Transports
from certctl.domain.orders import Recovery
from certctl.domain.usages import Usage
from certctl.pki.certificates import chain_pem, check_issued
from certctl.pki.requests import parse_request
from tests.ca.test_files import PASSWORD, key_pem, write
from tests.support.pki import NOW_MS, make_ca, make_csr, make_key, make_root

if TYPE_CHECKING:
    from pathlib import Path


class StoppedClock:
    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.at = now_ms

    def now_ms(self) -> int:
        return self.at


class MemoryState:
    """A ConnectorState whose `get` lets others go first, as a database does."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        value = self.values.get(key)
        await asyncio.sleep(0)
        return value

    async def put_if_absent(self, key: str, value: bytes) -> bytes:
        await asyncio.sleep(0)
        return self.values.setdefault(key, value)


def context(
    state: MemoryState | None = None, clock: StoppedClock | None = None
) -> ConnectorContext:
    return ConnectorContext(
        "iss-local",
        clock or StoppedClock(),
        state or MemoryState(),
        Transports(),
        structlog.get_logger(),
    )


def request(**changes: Any) -> IssuanceRequest:
    csr = parse_request(make_csr(make_key(), ["www.example.org"], "www.example.org"))
    arguments: dict[str, Any] = {
        "order_id": "ord-1",
        "csr": csr,
        "common_name": csr.common_name,
        "names": csr.names,
        "usages": (Usage.SERVER_AUTH,),
        "validity": 86_400,
        "must_staple": False,
    }
    return IssuanceRequest(**{**arguments, **changes})


def build(config: LocalConfig, where: ConnectorContext) -> LocalConnector:
    return asyncio.run(build_local(config, where))


def test_issues_from_a_root_of_its_own() -> None:
    connector = build(LocalConfig(common_name="Example Root"), context())
    wanted = request()
    issued = asyncio.run(connector.issue(wanted))
    check_issued(
        issued.certificate, issued.chain, spki=wanted.csr.spki, names=wanted.names, now_ms=NOW_MS
    )
    assert isinstance(connector, ExposesChain)
    assert tuple(issued.chain) == connector.chain()
    assert connector.chain()[0].subject.rfc4514_string() == "CN=Example Root"
    assert connector.recovery is Recovery.INTERNAL
    assert connector.abilities.max_validity == 397 * 86_400
    result = asyncio.run(connector.check())
    assert result.host is None
    assert "Example Root" in result.detail


def test_root_is_made_once() -> None:
    state = MemoryState()

    async def start_twice() -> tuple[LocalConnector, LocalConnector]:
        return await asyncio.gather(
            build_local(LocalConfig(), context(state)), build_local(LocalConfig(), context(state))
        )

    first, second = asyncio.run(start_twice())
    third = build(LocalConfig(), context(state))
    assert first.chain() == second.chain() == third.chain()
    assert len(state.values) == 1
    issued = asyncio.run(third.issue(request()))
    issued.certificate.verify_directly_issued_by(first.chain()[0])


def test_issues_as_a_sub_ca(tmp_path: Path) -> None:
    key = make_key(which=1)
    ca = make_ca(key, make_root())
    paths = write(tmp_path, chain_pem([ca, make_root()[1]]), key_pem(key, password=PASSWORD))
    config = LocalConfig.model_validate(
        {"cert_path": paths[0], "key_path": paths[1], "key_password": PASSWORD}
    )
    state = MemoryState()
    connector = build(config, context(state))
    assert connector.chain() == (ca, make_root()[1])
    assert not state.values
    issued = asyncio.run(connector.issue(request()))
    issued.certificate.verify_directly_issued_by(ca)
    assert PASSWORD not in repr(config)


def test_file_problems_keep_their_words(tmp_path: Path) -> None:
    paths = write(tmp_path, "", key_pem(make_key(which=1)))
    with pytest.raises(Misconfigured) as caught:
        build(LocalConfig(cert_path=paths[0], key_path=paths[1]), context())
    assert caught.value.code == "ca-certificate-no-pem"
    assert "ca.pem has no PEM certificate" in caught.value.detail


def test_expired_ca_says_so() -> None:
    clock = StoppedClock()
    connector = build(LocalConfig(), context(clock=clock))
    clock.at += 3651 * 86_400_000
    with pytest.raises(Misconfigured, match="expired"):
        asyncio.run(connector.issue(request()))
    with pytest.raises(Misconfigured, match="expired"):
        asyncio.run(connector.check())


@pytest.mark.parametrize(
    "settings",
    [
        {"cert_path": "a.pem"},
        {"key_path": "a.key"},
        {"key_password": "x"},
        {"surprise": 1},
        {"validity_days": 0},
        {"validity_days": 36_501},
        {"common_name": ""},
        {"common_name": " "},
        {"common_name": "a" * 65},
        {"common_name": "gro.\u202eexample"},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LocalConfig.model_validate(settings)


def test_type_and_environment() -> None:
    for name in ("GenericCA", "genericca", "local", "local_ca"):
        assert connector_type(name) is CONNECTOR
    settings = config_from_environment(
        LocalConfig, {"CERTCTL_CA_VALIDITY_DAYS": "30", "CERTCTL_OTHER": "x"}
    )
    assert LocalConfig.model_validate(settings).validity_days == 30
    assert all(field.description for field in LocalConfig.model_fields.values())
