"""How the doctor judges what it has seen: any state, and nothing touched."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.clock import from_ms
from certctl.operation.doctor import clocks, disk, files, listeners, work
from certctl.operation.doctor.database import judge_revision, judge_structure
from certctl.operation.doctor.findings import Finding, Severity
from certctl.operation.doctor.sealing import judge_sealing
from certctl.storage.conditions import ConditionRecord, ConditionState
from certctl.storage.issuer_checks import CheckRecord
from certctl.storage.migrate import HEAD
from certctl.storage.rotation import Place
from tests.support.pki import NOW, NOW_MS, make_authority, make_leaf

MIB = 1024 * 1024
PLACE = Path("/srv/certctl")


def worst(findings: list[Finding]) -> Severity:
    """The most severe; each that is wrong says what to do."""
    assert all(each.hint for each in findings if each.severity.is_wrong)
    order = list(Severity)
    return min((each.severity for each in findings), key=order.index, default=Severity.OK)


@given(st.integers(0, 0o777))
def test_a_folder_is_for_its_owner(mode: int) -> None:
    found = worst(files.judge_folder(PLACE, mode))
    if mode & 0o022:
        assert found is Severity.ERROR
    elif mode & 0o055:
        assert found is Severity.WARNING
    else:
        assert found is Severity.OK


@given(st.integers(0, 0o777), st.booleans())
def test_a_file_is_for_its_owner(mode: int, is_secret: bool) -> None:
    found = worst(files.judge_file(PLACE, mode, is_secret=is_secret))
    is_open = mode & (0o077 if is_secret else 0o022)
    assert found is (Severity.ERROR if is_open else Severity.OK)


@pytest.mark.parametrize(
    ("free", "database", "expected"),
    [
        (99, 1, Severity.ERROR),
        (101, 1, Severity.WARNING),
        (1025, 1, Severity.OK),
        (1999, 1000, Severity.WARNING),
        (2001, 1000, Severity.OK),
    ],
)
def test_room_on_the_disk(free: int, database: int, expected: Severity) -> None:
    assert worst([disk.judge_room(PLACE, free * MIB, database * MIB)]) is expected


def test_a_log_that_grows() -> None:
    assert disk.judge_log(disk.GREATEST_LOG) == []
    assert worst(disk.judge_log(disk.GREATEST_LOG + 1)) is Severity.WARNING


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (-70_000, Severity.ERROR),
        (-10_000, Severity.WARNING),
        (-4_000, Severity.OK),
        (50, Severity.OK),
        (4_000, Severity.OK),
        (10_000, Severity.WARNING),
        (70_000, Severity.ERROR),
    ],
)
def test_another_clock(theirs: int, expected: Severity) -> None:
    found = clocks.judge_other_clock("it", NOW_MS, NOW_MS + theirs, NOW_MS + 100)
    assert worst(found) is expected
    if expected is not Severity.OK:
        assert f"differ by {abs(theirs) / 1000:.0f} s" in found[0].detail


@given(st.none() | st.integers(0, NOW_MS * 2), st.none() | st.integers(0, NOW_MS * 2))
def test_what_is_stored_is_not_of_the_future(event: int | None, begins: int | None) -> None:
    found = worst(clocks.judge_stored_times(NOW_MS, event, begins))
    later = max(event or 0, begins or 0) > NOW_MS + 60_000
    assert found is (Severity.ERROR if later else Severity.OK)


@pytest.mark.parametrize(
    ("revision", "expected"),
    [(None, "note"), ("0001", "note"), (HEAD, "ok"), ("9999", "error")],
)
def test_a_revision(revision: str | None, expected: str) -> None:
    assert worst(judge_revision(revision, "sqlite")) == expected


def test_damage_names_the_first_of_it() -> None:
    assert judge_structure(PLACE, []) == []
    (found,) = judge_structure(PLACE, ["row 3 missing", "row 4 missing"])
    assert found.severity is Severity.ERROR
    assert "row 3 missing (and 1 more)" in found.detail


@pytest.mark.parametrize(
    ("unopened", "old", "expected"), [(0, 0, "ok"), (0, 2, "warning"), (5, 2, "error")]
)
def test_what_the_key_opens(unopened: int, old: int, expected: str) -> None:
    places = [Place(f"iss-{number}", "config") for number in range(unopened)]
    (found,) = judge_sealing(9, places, old)
    assert found.severity == expected
    assert ("'config' of 'iss-0'" in found.detail) == (unopened > 0)
    assert ("2 more" in found.detail) == (unopened > 3)


@pytest.mark.parametrize(
    ("left_days", "expected"), [(-1, "error"), (13, "warning"), (15, "ok"), (91, "error")]
)
def test_the_end_of_a_certificate(left_days: int, expected: str) -> None:
    leaf = make_leaf(make_authority(), validity_seconds=90 * 86_400)
    now = leaf.not_valid_after_utc - timedelta(days=left_days)
    for is_ours in (True, False):
        assert worst([listeners.judge_end("it", leaf, now, is_ours=is_ours)]) == expected


def test_a_short_certificate_is_judged_by_its_own_length() -> None:
    leaf = make_leaf(make_authority(), validity_seconds=6 * 86_400)
    for left, expected in ((1, "warning"), (2, "ok")):
        now = leaf.not_valid_after_utc - timedelta(days=left)
        assert worst([listeners.judge_end("it", leaf, now, is_ours=True)]) == expected


@pytest.mark.parametrize(
    ("certificate", "process_exists", "expected"),
    [(True, True, "ok"), (False, True, "error"), (False, False, "note")],
)
def test_a_server(certificate: bool, process_exists: bool, expected: str) -> None:
    shown = make_leaf(make_authority()) if certificate else None
    running = listeners.Running("https://127.0.0.1:8443", 17, shown)
    assert worst(listeners.judge_server(running, process_exists=process_exists)) == expected


def crl(next_update: timedelta) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    from tests.support.pki import make_key

    builder = x509.CertificateRevocationListBuilder(
        x509.Name([]), NOW - timedelta(days=9), NOW + next_update
    )
    signed = builder.sign(make_key(), SHA256())
    return signed.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("url", "answer", "expected"),
    [
        ("http://pki.example.org/crl", crl(timedelta(days=1)), "ok"),
        ("http://127.0.0.1:8080/crl", crl(timedelta(days=1)), "note"),
        ("http://localhost:8080/crl", crl(timedelta(days=1)), "note"),
        ("http://pki.example.org/crl", crl(timedelta(days=-1)), "error"),
        ("http://pki.example.org/crl", b"<html>", "error"),
        ("http://pki.example.org/crl", "it answers 404", "error"),
    ],
)
def test_what_a_status_address_answers(url: str, answer: bytes | str, expected: str) -> None:
    assert worst(listeners.judge_status(url, answer, NOW)) == expected


@pytest.mark.parametrize(("number", "expected"), [(0, "ok"), (1, "warning"), (2, "warning")])
def test_uncertain_orders(number: int, expected: str) -> None:
    assert worst(work.judge_orders(number)) == expected


def test_issuers_that_do_not_work() -> None:
    assert worst(work.judge_issuers([], [])) is Severity.OK
    alone = [
        ConditionRecord(f"iss-{state.value}", state, "the CA's words", NOW_MS, 1, None)
        for state in (ConditionState.OPEN, ConditionState.QUOTA)
    ]
    failed = CheckRecord("iss-failed", False, "no", None, "ca.example.org", NOW_MS, 5)
    found = work.judge_issuers(alone, [failed])
    assert [each.severity for each in found] == [Severity.WARNING] * 3
    assert all(f"{from_ms(NOW_MS):%Y-%m-%d}" in each.detail for each in found)
    assert "ca.example.org: no" in found[2].detail
