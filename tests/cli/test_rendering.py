"""Tables at every width, and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import typer
from rich.cells import cell_len
from rich.console import Console

from certctl.cli.tables import Column, Table, as_text, clean, draw_on
from certctl.cli.times import full, moment, relative
from tests.cli.conftest import on_terminal
from tests.cli.fake_server import (
    Reply,
    bulk_view,
    revocation_line,
    revocation_view,
    summary,
    version_view,
)

if TYPE_CHECKING:
    from collections.abc import Callable

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:30", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31 12:30:15 UTC", datetime(2026, 1, 31, 12, 30, 15, tzinfo=UTC)),
        ("2026-01-31T12:30Z", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30+02:00", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
    ],
)
def test_times_without_a_zone_are_in_utc(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "31.01.2026", "2026-13-01"])
def test_what_is_no_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="2026-01-31T12:00"):
        moment(text)


def refused_line(number: int) -> dict[str, Any]:
    problem = "the CA's own words, which are many and go on for longer than a line"
    return revocation_line(number, "refused", reason="cessationOfOperation", problem=problem)


def revoked_version(number: int) -> dict[str, Any]:
    return version_view(number, revocation=revocation_view(reason="cessationOfOperation"))


def large_bulk(number: int) -> dict[str, Any]:
    counts = {"refused": 17}
    return bulk_view("running", id=f"bulk-{number:026d}", total=100_000, revocations=counts)


ROWS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "certs": ("certificates", summary),
    "certs versions cert-1": ("certificates/cert-1/versions", revoked_version),
    "revocations": ("revocations", refused_line),
    "revocations bulk": ("bulk-revocations", large_bulk),
}


@pytest.mark.parametrize("columns", [50, 80, 120])
@pytest.mark.parametrize("command", ROWS)
def test_on_a_terminal(server: FakeServer, command: str, columns: int) -> None:
    path, make_row = ROWS[command]
    rows = [make_row(number) for number in range(3)]
    server.on("GET", f"/api/v1/{path}", Reply(200, {"data": rows, "next": None}))
    code, lines = on_terminal(*command.split(), columns=columns)
    assert code == 0
    assert all(len(line) <= columns for line in lines), lines
    for row in rows:
        shown = row.get("certificate_id", row["id"])
        assert sum(shown in line for line in lines) == 1
    if columns >= 80:
        assert len(lines) == 4, "one line for each row"
