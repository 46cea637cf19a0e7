"""Completion: what the shells are told, and that nothing goes wrong loudly."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certctl.cli import offers
from certctl.cli.completing import LINE, VARIABLE, complete
from certctl.cli.completion import SCRIPTS, Shell
from certctl.domain.access import Role
from tests.cli.fake_server import (
    BULK,
    CERTIFICATE,
    KEY_ID,
    ORDER,
    Reply,
    bulk_view,
    issuer_view,
    key_view,
    order_view,
    profile_view,
    summary,
    type_view,
    version_view,
)

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer

CERTCTL = str(Path(sys.executable).with_name("certctl"))
CERTIFICATES = "/api/v1/certificates"


class Tab(Protocol):
    """Presses Tab at the end of a line: each word that is offered, with what is said about it."""

    def __call__(self, line: str, *, by: str = "fish") -> dict[str, str]: ...


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's caches, empty."""
    place = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    return place / "certctl"


@pytest.fixture
def tab(capsys: pytest.CaptureFixture[str]) -> Tab:
    def press(line: str, *, by: str = "fish") -> dict[str, str]:
        complete({VARIABLE: by, LINE: line})
        captured = capsys.readouterr()
        assert captured.err == ""
        found = {}
        for offer in captured.out.splitlines():
            value, words = offer.split("\t")
            found[value] = words
        return found

    return press


@pytest.fixture
def known(server: FakeServer) -> FakeServer:
    """A server that has one of each."""
    versions = f"certificates/{CERTIFICATE}/versions"
    for path, row in {
        "certificates": summary(1, id=CERTIFICATE, owner="web-team"),
        versions: version_view(7),
        "orders": order_view("pending"),
        "issuers": issuer_view("iss-local", name="Local"),
        "issuers/types": type_view(),
        "profiles": profile_view("prof-shop"),
        "keys": key_view(),
        "bulk-revocations": bulk_view(),
    }.items():
        server.on("GET", f"/api/v1/{path}", Reply(200, {"data": [row], "next": None}))
    return server


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("certctl o", {"orders"}),
        ("certctl --js", {"--json"}),
        ("certctl certs a", {"archive"}),
        ("certctl certs --expires-", {"--expires-after", "--expires-before", "--expires-in"}),
        ("certctl certs --status e", {"expired"}),
        ("certctl certs list --sort -n", set()),
        ("certctl certs list --sort not", {"not_after"}),
        ("certctl certs download cert-1 --format p", {"pem", "pkcs7", "pkcs12"}),
        ("certctl keys create x --role ", set(Role)),
        ("certctl orders --state unc", {"uncertain"}),
        ("certctl issue --key-type rs", {"rsa-2048", "rsa-3072", "rsa-4096"}),
        ("certctl revoke --reason ce", {"cessationOfOperation", "certificateHold"}),
        ("certctl audit --action certificate.rev", {"certificate.revoked"}),
        ("certctl audit --object-type pr", {"profile"}),
        ("certctl completion ", {"bash", "zsh", "fish"}),
        ("certctl certs show --versio", set()),
    ],
)
def test_what_needs_no_server(tab: Tab, line: str, expected: set[str]) -> None:
    assert set(tab(line)) == expected


@pytest.mark.parametrize(
    ("line", "value", "words"),
    [
        ("issue www.example.org --issuer ", "iss-local", "Local"),
        ("issue --profile prof-", "prof-shop", "Shop"),
        ("issue --owner ", "web-team", ""),
        ("certs show ", CERTIFICATE, "www1.a-rather-long-name.example.org, localhost"),
        (f"certs download {CERTIFICATE} --version ", f"ver-{7:026d}", f"{7:040x}"),
        (f"revoke {CERTIFICATE} --version ", f"ver-{7:026d}", f"{7:040x}"),
        ("renew cert-", CERTIFICATE, "www1"),
        ("certs --json list --issuer iss", "iss-local", "Local"),
        ("orders show ", ORDER, "pending, iss-slow"),
        ("issuers test ", "iss-local", "Local"),
        ("issuers create Acme", "AcmeTrust", "AcmeTrust Certificate Services"),
        ("profiles create x --like ", "prof-shop", "Shop"),
        ("keys create x --role operator --issuer ", "iss-local", "Local"),
        ("keys revoke ", KEY_ID, "deploy tool, operator"),
        ("revocations follow ", BULK, "done, keyCompromise"),
        ("revocations --bulk ", BULK, "done"),
        ("audit --actor ", KEY_ID, "deploy tool"),
    ],
)
def test_what_the_server_knows(
    tab: Tab, known: FakeServer, line: str, value: str, words: str
) -> None:
    found = tab(f"certctl {line}")
    assert list(found) == [value]
    assert found[value].startswith(words)


def test_the_part_after_an_equals_sign(tab: Tab, known: FakeServer) -> None:
    assert list(tab("certctl issue --issuer=iss", by="bash")) == ["iss-local"]
    for shell in ("zsh", "fish"):
        assert list(tab("certctl issue --issuer=iss", by=shell)) == ["--issuer=iss-local"]


def test_the_server_that_the_line_names_is_asked(
    tab: Tab, known: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CERTCTL_SERVER_URL")
    monkeypatch.delenv("CERTCTL_CA_BUNDLE")
    line = f"certctl --server {known.url} --ca-bundle {known.ca} issue --issuer "
    assert list(tab(line)) == ["iss-local"]


def test_an_answer_is_kept_for_a_moment_and_for_this_key_alone(
    tab: Tab, known: FakeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> int:
        return len(known.requests("GET", "/api/v1/issuers"))

    line = "certctl issue --issuer "
    assert tab(line) == tab(line) != {}
    assert asked() == 1
    (kept,) = cache.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700

    monkeypatch.setenv("CERTCTL_API_KEY", "another-key")
    assert tab(line) == {}, "the other key may see less"
    monkeypatch.undo()
    for name, value in {**known.environment, "XDG_CACHE_HOME": str(cache.parent)}.items():
        monkeypatch.setenv(name, value)
    assert tab(line) != {}
    assert asked() == 2

    long_ago = time.time() - offers.KEPT_SECONDS - 1
    os.utime(kept, (long_ago, long_ago))
    assert tab(line) != {}
    assert asked() == 3


def test_what_is_long_over_is_dropped(tab: Tab, known: FakeServer, cache: Path) -> None:
    tab("certctl issue --issuer ")
    (old,) = cache.iterdir()
    os.utime(old, (0, 0))
    tab("certctl issue --profile ")
    (new,) = cache.iterdir()
    assert new != old


def test_no_place_for_a_cache_is_no_obstacle(tab: Tab, known: FakeServer, cache: Path) -> None:
    cache.parent.write_text("a file")
    assert list(tab("certctl issue --issuer ")) == ["iss-local"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(lost=True),
        Reply(500, b"oops"),
        Reply(200, b"<html>"),
        Reply(200, {"data": [{"name": "no id"}]}),
        Reply(200, {"data": [{"id": 7, "name": "x"}]}),
        Reply(200, {"data": [{"id": "$(touch x)", "name": "x"}]}),
        Reply(200, {"data": [{"id": "-rf", "name": "x"}]}),
        Reply(200, []),
    ],
    ids=["lost", "500", "html", "no-id", "number", "shell", "option", "list"],
)
def test_what_is_no_answer_offers_nothing(tab: Tab, server: FakeServer, reply: Reply) -> None:
    server.on("GET", "/api/v1/issuers", reply)
    assert tab("certctl issue --issuer ") == {}


def test_words_of_others_are_text_only(tab: Tab, server: FakeServer) -> None:
    row = issuer_view("iss-a", name="a\tb\nc\x1b[2J" + "x" * 100)
    server.on("GET", "/api/v1/issuers", Reply(200, {"data": [row], "next": None}))
    (words,) = tab("certctl issue --issuer ").values()
    assert words.isprintable()
    assert len(words) <= 60


@pytest.mark.parametrize("settings", [{}, {"CERTCTL_SERVER_URL": "http://x"}], ids=["none", "bad"])
def test_without_a_server_nothing_is_offered(
    tab: Tab, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert tab("certctl issue --issuer ") == {}


@pytest.mark.usefixtures("socket_enabled")
def test_a_server_that_never_answers_is_left_in_time(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offers.PATIENCE_SECONDS <= 1
    monkeypatch.setattr(offers, "PATIENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("CERTCTL_SERVER_URL", f"https://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("CERTCTL_API_KEY", "key")
        before = time.monotonic()
        assert tab("certctl issue --issuer ") == {}
        assert time.monotonic() - before < 1
        assert tab("certctl issue --issuer ") == {}


PIECES = ["certs", "list", "show", "keys", "create", "--status", "--name", "--", "-", "=", "'", '"']
PIECES += [
    "\\",
    "issued",
    " ",
    " ",
    "--json",
    "--expires-in",
    "30d",
    "ä",
    "\x00",
    "$(x)",
    "--limit",
]


@given(st.lists(st.sampled_from(PIECES), max_size=6))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_line_makes_it_fail(tab: Tab, pieces: list[str]) -> None:
    tab("certctl " + "".join(pieces))


def test_little_is_loaded(known: FakeServer) -> None:
    heavy = ("httpx2", "rich", "cryptography", "fastapi", "sqlalchemy", "asyncio")
    code = (
        "import sys; from certctl.cli import main; main(); "
        f"print(*(name for name in {heavy} if name in sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, VARIABLE: "bash", LINE: "certctl issue --issuer "}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr.strip()) == ("iss-local\tLocal\n", "")


# The scripts


def test_a_script_is_printed_or_written_where_the_shell_looks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for shell, place in {
        "bash": ".local/share/bash-completion/completions/certctl",
        "zsh": ".zfunc/_certctl",
        "fish": ".config/fish/completions/certctl.fish",
    }.items():
        script = run("completion", shell).stdout
        assert json.loads(run("completion", shell, "--json").stdout)["script"] == script
        for _ in range(2):  # again, after an upgrade
            told = run("completion", shell, "--install")
            assert told.exit_code == 0
            assert str(tmp_path / place) in told.stdout
        assert (tmp_path / place).read_text() == script


def script(shell: str) -> str:
    path = Path(f"completion.{shell}")
    path.write_text(SCRIPTS[Shell(shell)])
    return str(path)


BASH = r"""
source "$1"
press() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=$2
    _certctl_completion "$certctl"
    printf '%s\n' "${COMPREPLY[@]}"
}
certctl=$2
complete -p certctl
press 'certctl --server https://127.0.0.1:1 certs --sta' 9
press 'certctl issue --issuer ' 9
press 'certctl issue --issuer ' 63
press 'certctl issue --issuer nothing' 9
"""


def test_bash(known: FakeServer) -> None:
    two = [issuer_view("iss-local", name="Local $(touch x) `y`"), issuer_view("iss-b", name="B")]
    known.on("GET", "/api/v1/issuers", Reply(200, {"data": two, "next": None}))
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", script("bash"), CERTCTL],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "complete -o default -o nosort -F _certctl_completion certctl",
        "--status",  # although bash ends words at the colons of an address
        "iss-local",
        "iss-b",
        "iss-local  (Local $(touch x) `y`)",  # what a second Tab lists
        "iss-b  (B)",
        "",
    ]
    assert done.stderr == ""
    assert not Path("x").exists()


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(shell) is None, reason=f"there is no {shell} here: apt-get install {shell}"
    )


@needs("fish")
def test_fish(known: FakeServer) -> None:
    code = f'source {script("fish")}; complete -C "$argv[1]"'
    for line, expected in {
        f"{CERTCTL} issue --issuer ": ["iss-local\tLocal"],
        f"{CERTCTL} issue --issuer=is": ["--issuer=iss-local\tLocal"],
        f"{CERTCTL} certs --stat": ["--status\tOnly those that stand so."],
    }.items():
        done = subprocess.run(
            ["fish", "--no-config", "-c", code, line], check=True, capture_output=True, text=True
        )
        assert done.stdout.splitlines() == expected


@needs("zsh")
def test_zsh(known: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(CERTCTL).parent}:{os.environ['PATH']}")
    start = tmp_path / ".zshrc"
    start.write_text(
        "PS1='> '; autoload -Uz compinit; compinit -u -D; unsetopt beep\n"
        f"source {Path(script('zsh')).resolve()}\nprint ready\n"
    )
    outer, inner = pty.openpty()
    environment = {**os.environ, "ZDOTDIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        ["zsh", "-d", "-i"],
        env=environment,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    ) as process:
        os.close(inner)

        def until(words: str) -> None:
            seen = ""
            while words not in seen:
                assert select.select([outer], [], [], 20)[0], seen
                seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(outer, 4096).decode())

        try:
            until("ready")
            os.write(outer, b"certctl issue --issuer=is\t")
            until("--issuer=iss-local")
            os.write(outer, b"--profile pro\t")
            until("prof-shop")
            os.write(outer, b"\x15certctl certs \t\t")
            until("Show a certificate")
        finally:
            process.kill()
            os.close(outer)
