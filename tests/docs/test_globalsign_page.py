"""The operator's page for GlobalSign Atlas does what it says, command by command."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors.globalsign.config import GlobalSignConfig
from certctl.domain.serials import serial_hex
from tests.conformance.driver import all_drivers
from tests.conformance.hvca import hvca
from tests.docs.pages import DOCS, Block, Shell, read_blocks, read_rows
from tests.support.api import client_for
from tests.support.server import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx2

    from tests.conformance.hvca import Account, Hvca

PAGE = (DOCS / "connectors" / "globalsign.md").read_text("utf-8")
BLOCKS = read_blocks(PAGE)
#: What the page says that the account has left, and had before its first certificate.
LEFT = 5000
#: Waits are a tenth, so that a test does not take a minute.
SCALE = {"CERTCTL_SCHEDULE_SCALE": "0.1"}
_PATIENCE_SECONDS = 30.0

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("socket_enabled")]


@dataclass(slots=True)
class Operator:
    """Somebody with an account, who follows the page section by section."""

    folder: Path
    ca: Hvca
    server: ServerProcess
    shell: Shell
    done: list[Block]

    @property
    def files(self) -> Path:
        """The folder that the page calls ATLAS."""
        return self.folder / "atlas"

    def run(self, heading: str, number: int = 0) -> str:
        """Run a block as it is written; what it says."""
        return self.shell(self.take(heading, number).text)

    def take(self, heading: str, number: int = 0) -> Block:
        """A block with commands under a heading, counted from 0."""
        block = [b for b in BLOCKS if b.heading == heading and b.language == "sh"][number]
        self.done.append(block)
        return block

    def secrets(self, account: Account, key: str, secret: str) -> None:
        """What GlobalSign shows of a new key, in files."""
        (self.folder / key).write_text(f"{account.api_key}\n")
        (self.folder / secret).write_text(f"{account.api_secret}\n")

    def last_key(self) -> str | None:
        """The API key that the last login came with."""
        keys = [entry.api_key for entry in self.ca.books.entries(None) if entry.api_key]
        return keys[-1] if keys else None

    def api(self) -> httpx2.Client:
        """A client for what the page has no command for."""
        return client_for(self.server)


def environment(block: Block, replaced: Mapping[str, str]) -> dict[str, str]:
    """The variables of a block, with what is a reader's own replaced."""
    assert block.language == "ini"
    found = dict(line.split("=", 1) for line in block.text.splitlines())
    values = {
        "https://emea.api.hvca.globalsign.com:8443/v2": replaced["url"],
        "/etc/certctl/globalsign": replaced["folder"],
    }
    for name, value in found.items():
        for written, real in values.items():
            found[name] = found[name].replace(written, real)
        if value == "…":
            found[name] = replaced[name]
    return found


def open_account(folder: Path, ca: Hvca) -> Account:
    """The files that an account begins with, under the names that the page uses."""
    account = ca.new_account()
    folder.mkdir()
    account.write(folder, "client")
    shutil.copy(ca.trust_path, folder / "server-ca.pem")
    return account


def settings(folder: Path, ca: Hvca, account: Account) -> dict[str, str]:
    """The environment that the page shows, for this account."""
    (block,) = [block for block in BLOCKS if block.language == "ini"]
    secrets = {
        "CERTCTL_GLOBALSIGN_API_KEY": account.api_key,
        "CERTCTL_GLOBALSIGN_API_SECRET": account.api_secret,
    }
    return environment(block, {"url": ca.api_url, "folder": str(folder), **secrets})


def test_every_command_of_the_page_works_as_written(tmp_path: Path) -> None:
    with hvca(tmp_path, "atlas") as ca:
        ca.quota = LEFT + 1
        first = open_account(tmp_path / "atlas", ca)
        shown = settings(tmp_path / "atlas", ca, first)
        server = ServerProcess(tmp_path / "data", {**SCALE, **shown})
        server.start()
        try:
            variables = {"ATLAS_URL": ca.api_url, "ATLAS": str(tmp_path / "atlas")}
            operator = Operator(tmp_path, ca, server, Shell(tmp_path, server.url, variables), [])
            named = operator.take("Playbooks").text
            assert [line.split("=")[0] for line in named.splitlines()] == list(variables)
            _set_up(operator, first)
            _test(operator)
            second = _rotate_the_certificate(operator)
            _rotate_the_key(operator, shown, [first, second])
            _choose_a_region(operator)
            _show_the_key(operator)
        finally:
            server.stop()
    commands = [block for block in BLOCKS if block.language == "sh"]
    assert sorted(commands, key=BLOCKS.index) == sorted(operator.done, key=BLOCKS.index)


def _set_up(operator: Operator, account: Account) -> None:
    said = operator.run("Set it up by environment")
    assert "Test    ok" in said
    assert (operator.folder / "www.example.org.crt").exists()
    for heading, made in (
        ("Set it up on the command line", "iss-globalsign-emea"),
        ("Set it up over REST", "iss-globalsign-rest"),
    ):
        operator.secrets(account, "api-key.txt", "api-secret.txt")
        said = operator.run(heading)
        assert made in said
        assert account.api_secret not in said
    assert operator.ca.books.orders(), "the environment's issuer has ordered"


def _test(operator: Operator) -> None:
    line, answer = operator.run("Test the connection").rsplit("{", 1)
    shown, _ = [b.text for b in BLOCKS if b.heading == "Test the connection" and not b.language]
    assert f"Answer  {shown}\n" in line
    assert json.loads("{" + answer)["detail"] == shown


def _rotate_the_certificate(operator: Operator) -> Account:
    """In the middle of it an order comes in, which goes on by itself."""
    second = operator.ca.new_account()
    certificate, key = second.write(operator.folder, "new")
    certificate_first, key_then, test = operator.take("Rotate the client certificate").text.split(
        "\n"
    )
    assert (certificate.name, key.name) == ("new.crt", "new.key")
    operator.shell(certificate_first)
    before = len(operator.ca.books.orders())
    with operator.api() as client:
        order = order_in_between(operator, client)
        assert "is not the key of the first certificate" in order["problem"]
        assert order["state"] == "ready"
        assert len(operator.ca.books.orders()) == before, "nothing was sent"
        operator.shell(key_then)
        order = wait_for(client, order["id"], "issued")
    assert len(operator.ca.books.orders()) == before + 1, "and it was ordered once"
    assert "Test    ok" in operator.shell(test)
    last = operator.ca.books.entries(None)[-1]
    assert last.client_serial == serial_hex(second.serial)
    return second


def order_in_between(operator: Operator, client: httpx2.Client) -> dict[str, Any]:
    """An order that is placed now; its state once the CA should have been asked."""
    operator.shell(
        "certctl --json issue between.example.org --issuer iss-globalsign-emea --no-wait || true"
    )
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        order: dict[str, Any] = client.get("/api/v1/orders").json()["data"][0]
        if order["problem"]:
            return order
        time.sleep(0.05)
    pytest.fail(f"nothing was found wrong: {order}")


def _rotate_the_key(operator: Operator, shown: Mapping[str, str], old: list[Account]) -> None:
    third = operator.ca.new_account()
    operator.secrets(third, "new-key.txt", "new-secret.txt")
    assert "Test    ok" in operator.run("Rotate the key and the secret")
    assert operator.last_key() == third.api_key
    operator.secrets(third, "new-key.txt", "new-secret.txt")
    changed = json.loads(operator.run("Rotate the key and the secret", 1))
    assert (changed["id"], changed["revision"]) == ("iss-globalsign-rest", 2)
    assert third.api_secret not in json.dumps(changed)
    operator.server.stop()
    operator.server.extra = {
        **SCALE,
        **shown,
        "CERTCTL_GLOBALSIGN_API_KEY": third.api_key,
        "CERTCTL_GLOBALSIGN_API_SECRET": third.api_secret,
    }
    operator.server.start()
    third.write(operator.files, "client")  # what is old can then be ended, as the page says
    for account in old:
        operator.ca.end(account)
    for issuer in ("iss-globalsign", "iss-globalsign-emea", "iss-globalsign-rest"):
        assert "Test    ok" in operator.shell(f"certctl issuers test {issuer}")
        assert operator.last_key() == third.api_key


def _choose_a_region(operator: Operator) -> None:
    here = len(operator.ca.books.orders())
    folder = operator.folder / "apac"
    folder.mkdir()
    with hvca(folder, "atlas") as there:
        account = there.new_account()
        account.write(operator.files, "apac")
        shutil.copy(there.trust_path, operator.files / "apac-ca.pem")
        operator.secrets(account, "apac-key.txt", "apac-secret.txt")
        operator.shell.variables = {**operator.shell.variables, "APAC_URL": there.api_url}
        operator.run("Choose a region")
        assert len(there.books.orders()) == 1
    assert len(operator.ca.books.orders()) == here


def _show_the_key(operator: Operator) -> None:
    """The three ways that an account wants a key to be shown in, as the page's table has them."""
    ways = {
        "a certificate request": ("PKCS10", "FORBIDDEN"),
        "a public key": ("PKCS8", "FORBIDDEN"),
        "a public key and a signature over it": ("PKCS8", "REQUIRED"),
    }
    rows = read_rows(PAGE, "Showing that you have the key")
    assert [row[0].strip("`") for row in rows] == list(ways)
    for words, (form, signature) in ways.items():
        operator.ca.policy["public_key"]["key_format"] = form
        operator.ca.policy["public_key_signature"] = signature
        said = operator.shell("certctl issuers test iss-globalsign")
        assert f"key wanted as {words};" in said
        if signature == "FORBIDDEN":
            operator.shell("certctl issue plain.example.org --issuer iss-globalsign --force")
    operator.run("Showing that you have the key")
    assert (operator.folder / "signed.example.org.crt").exists()


def test_the_environment_that_is_shown_is_what_the_model_requires() -> None:
    (block,) = [block for block in BLOCKS if block.language == "ini"]
    names = [line.split("=")[0] for line in block.text.splitlines()]
    required = [n for n, field in GlobalSignConfig.model_fields.items() if field.is_required()]
    wanted = {GlobalSignConfig.env_prefix + name.upper() for name in [*required, "server_ca_path"]}
    assert set(names) == wanted
    assert f"{{settings-table}} {GlobalSignConfig.__module__}:GlobalSignConfig" in PAGE


def test_what_is_said_of_the_evidence_is_so() -> None:
    names = {driver.name for driver in all_drivers() if driver.name.startswith("globalsign-")}
    assert names == {
        "globalsign-atlas",
        "globalsign-headers-at-once",
        "globalsign-headers-later",
        "globalsign-auto-atlas",
        "globalsign-auto-headers",
    }


def wait_for(client: httpx2.Client, order_id: str, state: str) -> dict[str, Any]:
    """An order once it has come to a state."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        order: dict[str, Any] = client.get(f"/api/v1/orders/{order_id}").json()
        if order["state"] == state:
            return order
        time.sleep(0.05)
    pytest.fail(f"the order is {order['state']}: {order['problem']}")
