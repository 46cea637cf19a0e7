"""The keys that seal what is stored: shown, and rotated."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import interrupted, on_terminal
from tests.cli.fake_server import Reply, problem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer, Seen

ROTATE = "/api/v1/secrets/rotate"


def sealing(source: str = "file", old: int | None = None, **more: Any) -> dict[str, Any]:
    """12 values under a new key; an old one where it is said how many it has."""
    keys = [{"key_id": "0a0b0c0d", "current": True, "values": 12}]
    if old is not None:
        keys.append({"key_id": "11223344", "current": False, "values": old})
    return {"source": source, "keys": keys, **more}


def test_the_keys_and_what_each_seals(run: Run, server: FakeServer) -> None:
    server.on("GET", "/api/v1/secrets", Reply(200, sealing("environment", old=1)))
    result = run("secrets")
    assert result.exit_code == 0
    assert "CERTCTL_CONFIG_ENCRYPTION_KEY" in result.stdout
    assert result.stdout.splitlines()[2:] == [
        "KEY       SEALS        VALUES",
        "0a0b0c0d  from now on  12",
        "11223344  no more      1",
    ]
    assert "1 value is under an old key" in result.stderr
    assert "certctl secrets rotate" in result.stderr
    server.on("GET", "/api/v1/secrets", Reply(200, sealing(old=0)))
    assert run("secrets").stderr == ""


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (sealing(), "Back up the data directory"),
        (sealing("environment", old=0), "out of CERTCTL_CONFIG_DECRYPTION_KEYS"),
        (sealing("environment", old=2), "2 values are under an old key"),
        (sealing("environment"), ""),
    ],
)
def test_a_rotation_says_what_is_left_to_do(
    run: Run, server: FakeServer, answer: dict[str, Any], advice: str
) -> None:
    server.on("POST", ROTATE, Reply(200, {**answer, "resealed": 7}))
    result = run("secrets", "rotate")
    assert result.exit_code == 0
    assert result.stdout.startswith("Sealed anew: 7\n")
    assert advice in result.stderr
    assert bool(result.stderr) == bool(advice)
    as_json = run("secrets", "rotate", "--json")
    assert json.loads(as_json.stdout) == {**answer, "resealed": 7}
    assert as_json.stderr == ""


def test_the_server_says_what_to_do_first(run: Run, server: FakeServer) -> None:
    server.on("POST", ROTATE, problem(409, "no-other-sealing-key"))
    result = run("secrets", "rotate")
    assert result.exit_code == 3
    assert "Hint: the hint" in result.stderr


def test_a_rotation_whose_answer_is_lost_can_be_repeated(run: Run, server: FakeServer) -> None:
    server.on("POST", ROTATE, Reply(lost=True))
    result = run("secrets", "rotate")
    assert result.exit_code == 4
    assert "may go on without you" in result.stderr
    assert "repeating it is harmless" in result.stderr
    assert len(server.requests("POST", ROTATE)) == 1


def test_ctrl_c_leaves_the_rotation_to_the_server(server: FakeServer, folder: Path) -> None:
    over = threading.Event()

    def hang(_: Seen) -> Reply:
        (folder / "asked").touch()
        over.wait(30)
        return Reply(lost=True)

    server.on("POST", ROTATE, hang)
    code, stderr = interrupted("secrets", "rotate", when=folder / "asked")
    over.set()
    assert code == 130
    assert "may go on without you" in stderr
    assert "certctl secrets" in stderr


def test_a_person_sees_that_it_is_at_work(server: FakeServer) -> None:
    server.on("POST", ROTATE, Reply(200, sealing() | {"resealed": 7}))
    code, lines = on_terminal("secrets", "rotate")
    assert code == 0
    assert any("Sealing everything anew" in line for line in lines)
    assert "Sealed anew: 7" in lines
