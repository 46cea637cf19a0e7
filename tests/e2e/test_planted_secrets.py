"""Secrets that are planted wherever there is room for one come out nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.keys import KeyType
from certctl.storage.engine import database_url, writer_engine
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in import stand_in
from tests.releases.upgrading import contents
from tests.support.fleet import STAND_IN_PACKAGE, running_fleet
from tests.support.pki import make_csr, make_key
from tests.support.server import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.conformance.stand_in import StandIn
    from tests.support.fleet import Fleet
    from tests.support.targets import DatabaseTarget

WEBHOOK_SECRET = "whsec_cGxhbnRlZCBmb3IgdGhlIHdlYmhvb2ssIDMyIGJ5dGVz"
WEBHOOK_TOKEN = "planted-in-the-webhook-address"
WRONG_SECRET = "planted-in-a-refused-change"
UNKNOWN_SECRET = "planted-under-a-wrong-name"
PAGES = (
    "/api/v1/issuers",
    "/api/v1/issuers?archived=true",
    "/api/v1/issuers/types",
    "/api/v1/issuers/iss-standin",
    "/api/v1/certificates",
    "/api/v1/orders",
    "/api/v1/revocations",
    "/api/v1/profiles",
    "/api/v1/audit?limit=500",
    "/api/v1/secrets",
    "/api/v1/openapi.json",
    "/metrics",
    "/healthz",
    "/readyz",
)
RUN = "from certctl.cli import main; main()"
COMMANDS = (
    ("issuers",),
    ("issuers", "show", "iss-standin"),
    ("issuers", "test", "iss-standin"),
    ("issuers", "types", "StandIn"),
    ("orders",),
    ("audit",),
    ("secrets",),
)


def settings(ca: StandIn, folder: Path) -> tuple[dict[str, str], list[str]]:
    """An environment with a secret wherever one can be, and those secrets."""
    account = ca.new_account()
    values = ca.settings(account, folder)
    environment = {f"CERTCTL_STANDIN_{name.upper()}": value for name, value in values.items()}
    environment |= {
        "CERTCTL_SCHEDULE_SCALE": "0.01",
        "CERTCTL_LOG_LEVEL": "debug",
        "CERTCTL_WEBHOOK_URL": f"https://127.0.0.1:1/{WEBHOOK_TOKEN}",
        "CERTCTL_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "CERTCTL_CONFIG_ENCRYPTION_KEY": "planted: the key that seals, 32 characters",
        "CERTCTL_CONFIG_DECRYPTION_KEYS": "planted: a key that still opens; 32 characters",
    }
    planted = [
        account.api_key,
        account.api_secret,
        WEBHOOK_SECRET,
        WEBHOOK_SECRET.removeprefix("whsec_"),
        WEBHOOK_TOKEN,
        WRONG_SECRET,
        UNKNOWN_SECRET,
        environment["CERTCTL_CONFIG_ENCRYPTION_KEY"],
        environment["CERTCTL_CONFIG_DECRYPTION_KEYS"],
    ]
    return environment, planted


def order(client: httpx2.Client) -> dict[str, Any]:
    csr = make_csr(make_key(KeyType.P256), ["planted.example.org"])
    body = {"issuer_id": "iss-standin", "csr": csr}
    headers = {"Prefer": "wait=10"}
    found: dict[str, Any] = client.post("/api/v1/certificates", json=body, headers=headers).json()
    return found


def go_through_all(client: httpx2.Client, ca: StandIn) -> list[str]:
    """What can go well and badly with an issuer; every answer."""
    answers: list[str] = []
    for mischief in (
        None,
        Mischief.REFUSED,
        Mischief.RATE_LIMITED,
        Mischief.ERROR,
        Mischief.GARBAGE,
        Mischief.RESET_AFTER,
        Mischief.UNAUTHORIZED,
    ):
        if mischief is not None:
            ca.misbehave(mischief, on=Operation.SUBMIT)
        certificate = order(client)
        answers.append(json.dumps(certificate))
        path = f"/api/v1/orders/{certificate['order_id']}"
        answers.append(client.get(path).text)
    ca.behave()
    changes: list[dict[str, Any]] = [
        {"name": "x", "config": {"api_url": WRONG_SECRET, "api_secret": WRONG_SECRET}},
        {"name": "x", "config": {UNKNOWN_SECRET: UNKNOWN_SECRET}},
        {"name": "x", "config": {"api_key": {"deep": WRONG_SECRET}}},
        {"name": "x", "type": WRONG_SECRET, "config": {}},
    ]
    for change in changes:
        refused = client.put("/api/v1/issuers/iss-standin", json=change)
        assert 400 <= refused.status_code < 500, refused.text
        answers.append(refused.text)
    ca.misbehave(Mischief.FORBIDDEN, on=Operation.ACCOUNT)
    answers.append(client.post("/api/v1/issuers/iss-standin/test").text)
    answers.append(client.post("/api/v1/issuers/iss-standin/test").text)
    assert '"ok"' in answers[-1]
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code == 200, (page, answer.text)
        answers.append(answer.text)
    return answers


def on_the_command_line(fleet: Fleet) -> list[str]:
    server = fleet.servers[0]
    outputs = []
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-c", RUN, "--data-dir", str(server.data_dir), *command],
            capture_output=True,
            text=True,
            check=False,
            env=clean_environment({}),
        )
        assert done.returncode == 0, (command, done.stderr)
        outputs += [done.stdout, done.stderr]
    return outputs


def stored(folder: Path) -> list[str]:
    """Every file that the servers wrote, as text; keys that they hand to their operator aside."""
    handed_out = {"admin.key", "encryption.key"}
    return [
        path.read_bytes().decode("latin-1")
        for path in folder.rglob("*")
        if path.is_file() and path.name not in handed_out
    ]


def rows(url: str, folder: Path) -> str:
    """Everything in a PostgreSQL database."""
    engine = writer_engine(database_url(url, folder))
    try:
        return str(contents(engine))
    finally:
        engine.dispose()


@pytest.mark.timeout(180)
def test_planted_secrets_come_out_nowhere(database_target: DatabaseTarget, tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    with stand_in(tmp_path) as ca:
        environment, planted = settings(ca, credentials)
        with running_fleet(database_target, folder, environment, STAND_IN_PACKAGE) as fleet:
            planted.append(fleet.key.split("_", 2)[2])
            with fleet.client(0) as client:
                said = go_through_all(client, ca)
            said += on_the_command_line(fleet)
            time.sleep(0.5)  # for what is written a moment later
        said += stored(folder)
    if database_target.url is not None:
        said.append(rows(database_target.url, tmp_path))
    words = "\n".join(said)
    assert "iss-standin" in words
    assert "the account is locked" in words, "the CA's own words are shown"
    for secret in planted:
        assert secret not in words
