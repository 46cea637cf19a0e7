"""`certctl certs --watch`: what becomes of the list, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from certctl.cli.watching import Screen, changes, follow
from certctl.client import ApiError, ClientError, ConnectionFailed
from certctl.schemas.certificates import CertificateSummary
from certctl.schemas.common import Page, Problem
from tests.cli.fake_server import Reply, problem, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer, Seen

CERTIFICATES = "/api/v1/certificates"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
AWAY = ConnectionFailed("cannot reach the server", hint="is it running?")


def row(number: int, **more: Any) -> CertificateSummary:
    return CertificateSummary.model_validate(summary(number, **more))


class Time:
    """Sleeps in no time; after `enough` sleeps, somebody presses Ctrl-C."""

    def __init__(self, enough: int) -> None:
        self.slept: list[float] = []
        self._enough = enough

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self._enough:
            raise KeyboardInterrupt

    def clock(self) -> datetime:
        return START + timedelta(seconds=sum(self.slept))


class Notebook:
    """A view that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str | float] = []

    def show(self, page: Page[CertificateSummary], now: datetime) -> None:
        self.told.append(f"{now:%H:%M:%S} {len(page.data)}")

    def away(self, error: ClientError, pause: float) -> None:
        assert error is AWAY
        self.told.append(pause)


def looks(*answers: int | Exception) -> Callable[[], Page[CertificateSummary]]:
    """Answers with so many rows, or fails, one after the other."""
    left = iter(answers)

    def look() -> Page[CertificateSummary]:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return Page(data=[row(number) for number in range(answer)])

    return look


def test_it_looks_every_few_seconds_until_ctrl_c() -> None:
    time, view = Time(3), Notebook()
    with pytest.raises(KeyboardInterrupt):
        follow(looks(1, 2, 2), view, every=5, sleep=time.sleep, clock=time.clock)
    assert view.told == ["12:00:00 1", "12:00:05 2", "12:00:10 2"]
    assert time.slept == [5, 5, 5]


def test_a_server_that_goes_away_is_waited_for_ever_longer() -> None:
    time, view = Time(9), Notebook()
    answers = looks(1, AWAY, AWAY, AWAY, AWAY, AWAY, 2, AWAY, 2)
    with pytest.raises(KeyboardInterrupt):
        follow(answers, view, every=5, sleep=time.sleep, clock=time.clock)
    assert view.told == ["12:00:00 1", 5, 10, 20, 40, 60, "12:02:20 2", 5, "12:02:30 2"]


def test_it_never_asks_more_often_than_every() -> None:
    time, view = Time(3), Notebook()
    with pytest.raises(KeyboardInterrupt):
        follow(looks(1, AWAY, AWAY), view, every=300, sleep=time.sleep, clock=time.clock)
    assert time.slept == [300, 300, 300]


REFUSED = ApiError(
    Problem(type="urn:certctl:problem:api-key-unknown", title="", status=401, detail="no"), 401
)


@pytest.mark.parametrize("answers", [(AWAY,), (REFUSED,), (1, REFUSED)], ids=["0", "1", "2"])
def test_what_waiting_does_not_help_ends_it(answers: tuple[int | Exception, ...]) -> None:
    with pytest.raises(ClientError) as failure:
        follow(looks(*answers), Notebook(), every=5, sleep=Time(9).sleep)
    assert failure.value is answers[-1]


STATUSES = st.sampled_from(["pending", "issued", "expired"])
LISTS = st.dictionaries(st.integers(0, 5), STATUSES)


@given(LISTS, LISTS)
def test_changes_lead_from_one_list_to_the_other(
    before: dict[int, str], after: dict[int, str]
) -> None:
    old = {row(n).id: row(n, status=status) for n, status in before.items()}
    new = [row(n, status=status) for n, status in after.items()]
    told = dict(old)
    for kind, one in changes(old, new):
        assert (one.id in told) is (kind != "new")
        if kind == "gone":
            del told[one.id]
        else:
            assert told.get(one.id) != one, "nothing is told that is no change"
            told[one.id] = one
    assert told == {one.id: one for one in new}
    assert [one for _, one in changes(None, new)] == new


def stopping_after(lists: Sequence[list[dict[str, Any]] | Reply]) -> Callable[[Seen], Reply]:
    """Answers with these; then the key is refused, which ends the watching."""
    left = iter(lists)

    def answer(_: Seen) -> Reply:
        found = next(left, None)
        if found is None:
            return problem(401, "api-key-unknown")
        return found if isinstance(found, Reply) else Reply(200, {"data": found, "next": None})

    return answer


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two looks."""
    defaults = {**(follow.__kwdefaults__ or {}), "sleep": lambda _: None}
    monkeypatch.setattr(follow, "__kwdefaults__", defaults)


SEQUENCE: list[list[dict[str, Any]] | Reply] = [
    [summary(1, status="pending", not_after=None)],
    [summary(1, status="pending", not_after=None)],
    problem(503, "server-stopping"),
    [summary(2), summary(1, names=["a\x1b[2J.example"])],
    [summary(2)],
]


@pytest.mark.usefixtures("quick")
def test_in_a_pipe_there_is_a_line_for_each_change(run: Run, server: FakeServer) -> None:
    server.on("GET", CERTIFICATES, stopping_after(SEQUENCE))
    result = run("certs", "--watch", "--status", "issued")
    assert result.exit_code == 5
    told = [line.split()[3:6] for line in result.stdout.splitlines()]
    assert told == [
        ["listed", summary(1)["id"], "pending"],
        ["new", summary(2)["id"], "issued"],
        ["changed", summary(1)["id"], "issued"],
        ["gone", summary(1)["id"], "issued"],
    ]
    assert "\x1b" not in result.stdout
    assert "It is asked again in 5 s." in result.stderr
    assert all(s.query["status"] == "issued" for s in server.requests("GET", CERTIFICATES))


@pytest.mark.usefixtures("quick")
def test_in_json_each_line_is_a_change(run: Run, server: FakeServer) -> None:
    server.on("GET", CERTIFICATES, stopping_after(SEQUENCE))
    result = run("certs", "--watch", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["change"] for line in lines] == ["listed", "new", "changed", "gone"]
    assert lines[1]["certificate"]["id"] == summary(2)["id"]
    assert datetime.fromisoformat(lines[0]["at"]).tzinfo is not None
    away = json.loads(result.stderr.splitlines()[0])
    assert away["type"] == "urn:certctl:problem:server-stopping"


def test_a_screen_is_drawn_once_a_look_and_tells_what_is_wrong(folder: object) -> None:
    stream = StringIO()
    console = Console(file=stream, width=80, height=8, force_terminal=True, color_system=None)
    screen = Screen(console, "No certificates fit.", 5)
    drawn = []
    steps: list[Callable[[], None]] = [
        lambda: screen.show(Page(data=[]), START),
        lambda: screen.show(Page(data=[row(n) for n in range(40)], next="x"), START),
        lambda: screen.away(AWAY, 10),
    ]
    for step in steps:
        step()
        drawn.append(stream.getvalue())
        stream.seek(0)
        stream.truncate()
    empty, full, away = drawn
    assert "No certificates fit." in empty
    assert "Every 5 s: 40 and more, at 12:00:00 UTC." in full
    assert full.count("\x1b[H") == 1, "one move to the corner, and every line over the old one"
    assert "\x1b[2J" not in full
    assert len(full.splitlines()) <= 9
    assert "cannot reach the server. It is asked again in 10 s." in away
    assert row(0).id in away, "what was there last stays"
    screen.leave()


@pytest.mark.parametrize(("sent", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_terminal_has_its_own_screen_back(
    server: FakeServer, sent: signal.Signals, expected: int
) -> None:
    server.on("GET", CERTIFICATES, Reply(200, {"data": [summary(1)], "next": None}))
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "from certctl.cli import main; main()", "certs", "--watch"],
        env={**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"},
        stdin=inner,
        stdout=inner,
        stderr=inner,
    ) as process:
        os.close(inner)
        shown = b""
        while select.select([outer], [], [], 30)[0]:
            try:
                part = os.read(outer, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if summary(1)["id"].encode() in part:
                process.send_signal(sent)
            shown += part
        os.close(outer)
        code = process.wait(30)
    assert code == expected
    on, off, cursor = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
    assert shown.count(on) == shown.count(off) == 1
    assert cursor in shown
    left = shown.partition(off)[2]
    assert summary(1)["id"].encode() in left, "what was there last is left"
    assert b"Traceback" not in shown
