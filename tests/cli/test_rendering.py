"""Tables at every width, and times."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from certctl.cli.tables import Column, Table, as_text, clean, draw_on
from certctl.cli.times import full, relative
from tests.cli.fake_server import Reply, summary

if TYPE_CHECKING:
    from tests.cli.fake_server import FakeServer

ID = "cert-01m884jtm8b523emct2shtxtx7"
TABLE = Table(
    (
        Column("ID"),
        Column("STATUS", is_state=True),
        Column("NAMES", least=12),
        Column("ISSUER", least=9),
        Column("EXPIRES"),
        Column("OWNER", least=8, extra=True),
    ),
    [
        (ID, "issued", "www.example.org, " * 6, "iss-local", "in 89 days", "web team"),
        (ID, "archived", "", "iss-01m884jtm8b523emct2shtxtx7", "", ""),
    ],
)


def drawn(table: Table, width: int) -> list[str]:
    stream = StringIO()
    draw_on(Console(file=stream, width=width, color_system=None, highlight=False), table)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 76, 80, 100, 132, 200, 300])
def test_tables_fit_and_ids_are_whole(width: int) -> None:
    lines = drawn(TABLE, width)
    assert all(cell_len(line) <= width for line in lines)
    assert sum(ID in line for line in lines) == 2


def test_one_line_a_row_at_80_columns() -> None:
    lines = drawn(TABLE, 80)
    assert len(lines) == 3
    assert "…" in lines[1]
    assert "OWNER" not in lines[0]


def test_everything_is_there_where_there_is_room() -> None:
    lines = drawn(TABLE, 300)
    assert "OWNER" in lines[0]
    assert not any("…" in line for line in lines)


def test_a_record_for_each_row_at_40_columns() -> None:
    lines = drawn(TABLE, 40)
    assert lines[0] == ID
    assert "  STATUS   issued" in lines
    assert not any("…" in line for line in lines)
    assert "    iss-01m884jtm8b523emct2shtxtx7" in lines, "an id goes on a line of its own"


def test_columns_that_say_nothing_are_left_out_for_people() -> None:
    table = Table((Column("ID"), Column("PROBLEM", least=7)), [("a", ""), ("b", "")])
    assert drawn(table, 80)[0] == "ID"
    assert as_text(table).splitlines()[0] == "ID  PROBLEM"


def test_plain_text_is_whole_and_aligned() -> None:
    lines = as_text(TABLE).splitlines()
    assert len({line.index(word) for line, word in zip(lines, ("NAMES", "www"), strict=False)}) == 1
    assert "www.example.org, " * 6 in lines[1]
    assert not any(line.endswith(" ") for line in lines)


def test_wide_characters_keep_the_columns_straight() -> None:
    table = Table((Column("OWNER"), Column("X")), [("日本", "1"), ("ab", "2")])
    first, second = as_text(table).splitlines()[1:]
    assert cell_len(first) == cell_len(second)


def test_text_from_elsewhere_cannot_move_the_cursor() -> None:
    assert clean("a\x1b[2Jb\nc\u202e") == "a\ufffd[2Jb\ufffdc\ufffd"
    assert clean("Müller, 日本") == "Müller, 日本"


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "now"),
        (5, "in 5 s"),
        (-65, "1 min ago"),
        (-3600, "1 h ago"),
        (47 * 3600, "in 47 h"),
        (30 * 86_400 - 1, "in 29 days"),
        (397 * 86_400, "in 397 days"),
        (3650 * 86_400, "in 9 years"),
    ],
)
def test_relative_times(seconds: int, expected: str) -> None:
    assert relative(NOW + timedelta(seconds=seconds), NOW) == expected


def test_full_times_are_in_utc() -> None:
    assert full(NOW + timedelta(days=3), NOW) == "2026-01-04 12:00:00 UTC (in 3 days)"
    assert full(None, NOW) == relative(None, NOW) == ""


@pytest.mark.parametrize("columns", [40, 80])
def test_on_a_terminal(server: FakeServer, columns: int) -> None:
    rows = [summary(number) for number in range(3)]
    server.on("GET", "/api/v1/certificates", Reply(200, {"data": rows, "next": None}))
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "from certctl.cli import main; main()", "certs"],
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"},
        stdout=inner,
    ) as process:
        os.close(inner)
        shown = b""
        while True:
            try:
                part = os.read(outer, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
        os.close(outer)
        assert process.wait(60) == 0
    lines = Console().render_str(shown.decode(), markup=False).plain.splitlines()
    text = [line.rstrip().replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]
    assert all(len(line) <= columns for line in text)
    for row in rows:
        assert sum(row["id"] in line for line in text) == 1
