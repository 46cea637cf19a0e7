"""Settings of an account: where its API is, and for how long an order is asked about often."""

from __future__ import annotations

import pytest

from certctl.connectors.globalsign.config import GlobalSignConfig

HOST = "https://emea.api.hvca.globalsign.com:8443"


def config(**settings: object) -> GlobalSignConfig:
    required = {
        "api_url": HOST,
        "api_key": "key",
        "api_secret": "secret",
        "client_cert_path": "client.crt",
        "client_key_path": "client.key",
    }
    return GlobalSignConfig.model_validate(required | settings)


@pytest.mark.parametrize(
    ("api_url", "base_url"),
    [
        (HOST, f"{HOST}/v2"),
        (f"{HOST}/", f"{HOST}/v2"),
        (f"{HOST}/v2", f"{HOST}/v2"),
        (f"{HOST}/v2/", f"{HOST}/v2"),
        (f"{HOST}/v2.1", f"{HOST}/v2.1"),
        (f"{HOST}/gateway", f"{HOST}/gateway/v2"),
        (f"{HOST}/v2x", f"{HOST}/v2x/v2"),
    ],
)
def test_the_version_is_added_where_it_is_missing(api_url: str, base_url: str) -> None:
    assert config(api_url=api_url).endpoint({}).base_url == base_url


def test_a_burst_of_polls_is_ten_minutes_unless_it_is_set() -> None:
    assert config().poll_max_wait_seconds == 600
    assert config(poll_max_wait_seconds=90).poll_max_wait_seconds == 90
