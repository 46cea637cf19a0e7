"""`certctl revoke CERT-ID` and `certctl release`: the question, what is sent, how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.revocations import RevocationReason
from tests.cli.conftest import interrupted, on_terminal
from tests.cli.fake_server import (
    CERTIFICATE,
    ORDER,
    Reply,
    Seen,
    certificate_view,
    problem,
    revocation_view,
    version_view,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer

PATH = f"/api/v1/certificates/{CERTIFICATE}"
REVOKE = ("POST", f"{PATH}/revoke")
RELEASE = ("POST", f"{PATH}/release")
NEWEST, OLDER, EXPIRED = (version_view(number)["id"] for number in (3, 2, 1))
PAST = "2026-01-02T12:00:00Z"


class Inventory:
    """One certificate with an expired version and two that are not; revoking changes them."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.state = "confirmed"
        #: What the CA answers, by and by: the state that is seen at each look.
        self.later: list[str] = []
        self.problem: str | None = None
        self.versions = {
            NEWEST: version_view(3),
            OLDER: version_view(2),
            EXPIRED: version_view(1, not_after=PAST),
        }
        server.on("GET", PATH, lambda _: Reply(200, self.view()))
        server.on("GET", f"{PATH}/versions", self.list_versions)
        server.on(*REVOKE, self.revoke)
        server.on(*RELEASE, self.release)
        for version in self.versions:
            server.on("POST", f"{PATH}/versions/{version}/revoke", self.revoke)
            server.on("POST", f"{PATH}/versions/{version}/release", self.release)

    def view(self) -> dict[str, Any]:
        newest = self.versions[NEWEST]
        status = "revoked" if newest["revocation"] else "issued"
        return certificate_view(None, status=status, version=newest)

    def list_versions(self, _: Seen) -> Reply:
        if self.later:
            self.turn(self.later.pop(0))
        return Reply(200, {"data": list(self.versions.values()), "next": None})

    def turn(self, state: str) -> None:
        for version in self.versions.values():
            revocation = version["revocation"]
            if revocation is None:
                continue
            version["revocation"] = {**revocation, "state": state, "problem": self.problem}
            if revocation["action"] == "release" and state == "confirmed":
                version["revocation"] = None

    def revoke(self, seen: Seen) -> Reply:
        for version in self.meant(seen):
            version["revocation"] = revocation_view(self.state, reason=seen.json()["reason"])
        return self.recorded(seen)

    def release(self, seen: Seen) -> Reply:
        for version in self.meant(seen):
            version["revocation"] = revocation_view(
                "requested", reason="certificateHold", action="release"
            )
        return self.recorded(seen)

    def meant(self, seen: Seen) -> list[dict[str, Any]]:
        if "/versions/" in seen.path:
            return [self.versions[seen.path.split("/")[-2]]]
        return [self.versions[NEWEST], self.versions[OLDER]]

    def recorded(self, seen: Seen) -> Reply:
        one = "/versions/" in seen.path
        return Reply(200, self.meant(seen)[0] if one else self.view())

    def hold(self) -> None:
        """Put the two valid ones on hold."""
        for version in (NEWEST, OLDER):
            held = revocation_view(reason="certificateHold")
            self.versions[version] = {**self.versions[version], "revocation": held}

    def changes(self) -> list[Seen]:
        """What was asked for that changes something."""
        return [seen for seen in self.server.seen if seen.method == "POST"]


@pytest.fixture
def inventory(server: FakeServer) -> Inventory:
    """A server with one certificate."""
    return Inventory(server)


# The question


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_without_a_terminal_nothing_is_revoked_unasked(
    run: Run, inventory: Inventory, arguments: tuple[str, ...]
) -> None:
    result = run("revoke", CERTIFICATE, *arguments)
    assert result.exit_code == 2
    assert "add --yes" in result.stderr
    assert inventory.server.seen == []


def test_on_a_terminal_one_sees_what_will_go_and_is_asked(inventory: Inventory) -> None:
    code, lines = on_terminal("revoke", CERTIFICATE, "--reason", "superseded", answer="n")
    text = "\n".join(lines)
    assert code == 3
    assert "Names        www.example.org" in text
    for version in (NEWEST, OLDER):
        assert version in text
        assert inventory.versions[version]["serial"] in text
    assert EXPIRED not in text
    assert "Valid until  2126-01-01 12:00:00 UTC" in text
    assert "Revoke 2 versions (superseded)? It cannot be taken back [y/N]" in text
    assert lines[-1].strip() == "Nothing was revoked."
    assert inventory.changes() == []
    assert all(len(line) <= 80 for line in lines)


def test_a_yes_revokes(inventory: Inventory) -> None:
    code, lines = on_terminal("revoke", CERTIFICATE, answer="y")
    assert code == 0
    assert [seen.path for seen in inventory.changes()] == [REVOKE[1]]
    assert "Status       revoked" in lines


def test_json_on_a_terminal_asks_nobody(inventory: Inventory) -> None:
    code, _ = on_terminal("revoke", CERTIFICATE, "--json")
    assert code == 2
    assert inventory.server.seen == []


def test_a_hold_is_called_one(inventory: Inventory) -> None:
    code, lines = on_terminal("revoke", CERTIFICATE, "--reason", "certificateHold", answer="n")
    assert code == 3
    assert any("Put 2 versions on hold? `certctl release` takes it back" in line for line in lines)


def test_what_is_revoked_already_is_not_counted(inventory: Inventory) -> None:
    inventory.versions[OLDER]["revocation"] = revocation_view(reason="superseded")
    code, lines = on_terminal("revoke", CERTIFICATE, answer="n")
    assert code == 3
    assert any("Revoke 1 version (unspecified)?" in line for line in lines)
    assert not any(OLDER in line for line in lines)


def test_where_nothing_is_left_to_go_nobody_is_asked(inventory: Inventory) -> None:
    for version in (NEWEST, OLDER):
        inventory.versions[version]["revocation"] = revocation_view(reason="superseded")
    code, lines = on_terminal("revoke", CERTIFICATE, "--reason", "superseded")
    assert code == 0
    assert not any("[y/N]" in line for line in lines)
    assert len(inventory.changes()) == 1, "the server has the last word"


def test_a_dry_run_changes_nothing(run: Run, inventory: Inventory) -> None:
    inventory.versions[OLDER]["revocation"] = revocation_view()
    result = run("revoke", CERTIFICATE, "--dry-run")
    assert result.exit_code == 0
    assert NEWEST in result.stdout
    assert OLDER not in result.stdout
    assert EXPIRED not in result.stdout
    assert "1 version would be revoked." in result.stderr
    (shown,) = json.loads(run("revoke", CERTIFICATE, "--dry-run", "--json").stdout)["data"]
    assert shown["id"] == NEWEST
    assert inventory.changes() == []


# What is sent, and what is said


@pytest.mark.parametrize("reason", [reason.value for reason in RevocationReason])
def test_reasons(run: Run, inventory: Inventory, reason: str) -> None:
    result = run("revoke", CERTIFICATE, "--reason", reason.upper(), "--yes")
    assert result.exit_code == 0, result.stderr
    (sent,) = inventory.changes()
    assert (sent.path, sent.json()) == (REVOKE[1], {"reason": reason})
    assert result.stdout.count(f"Revocation   confirmed: {reason}, 2026-01-01") == 2
    assert "Status       revoked" in result.stdout


def test_a_reason_that_is_none(run: Run, inventory: Inventory) -> None:
    result = run("revoke", CERTIFICATE, "--reason", "removeFromCRL", "--yes")
    assert result.exit_code == 2
    assert "keyCompromise" in result.stderr
    assert inventory.server.seen == []


def test_one_version(run: Run, inventory: Inventory) -> None:
    result = run("revoke", CERTIFICATE, "--version", OLDER, "--yes")
    assert result.exit_code == 0, result.stderr
    assert [seen.path for seen in inventory.changes()] == [f"{PATH}/versions/{OLDER}/revoke"]
    assert OLDER in result.stdout
    assert NEWEST not in result.stdout
    assert "Status       issued" in result.stdout


def test_json_is_the_certificate_or_the_version_as_it_is_then(
    run: Run, inventory: Inventory
) -> None:
    inventory.state = "requested"
    inventory.later = ["requested", "confirmed"]
    one = run("revoke", CERTIFICATE, "--version", OLDER, "--yes", "--json")
    assert json.loads(one.stdout) == inventory.versions[OLDER]
    inventory.state = "confirmed"
    every = run("revoke", CERTIFICATE, "--yes", "--json")
    assert json.loads(every.stdout) == inventory.view()
    assert every.stderr == one.stderr == ""


def test_a_version_that_is_not_there(run: Run, inventory: Inventory) -> None:
    result = run("revoke", CERTIFICATE, "--version", "ver-none", "--yes")
    assert result.exit_code == 6
    assert f"certctl certs versions {CERTIFICATE}" in result.stderr
    assert inventory.changes() == []


def test_what_was_never_issued_is_not_revoked(run: Run, server: FakeServer) -> None:
    server.on("GET", PATH, Reply(200, certificate_view(None, status="pending")))
    result = run("revoke", CERTIFICATE, "--yes")
    assert result.exit_code == 3
    assert f"certctl orders cancel {ORDER}" in result.stderr


@pytest.mark.parametrize("code", ["already-revoked", "certificate-expired"])
def test_what_the_server_refuses(run: Run, inventory: Inventory, code: str) -> None:
    inventory.server.on(*REVOKE, problem(409, code))
    result = run("revoke", CERTIFICATE, "--yes")
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"Error: the detail of {code}\nHint: the hint" in result.stderr


def test_a_lost_answer_is_asked_for_again(run: Run, inventory: Inventory) -> None:
    inventory.server.on(*REVOKE, Reply(lost=True), inventory.revoke)
    assert run("revoke", CERTIFICATE, "--yes").exit_code == 0
    assert len(inventory.changes()) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--yes",),
        (CERTIFICATE, "--owner", "web team"),
        ("--version", "ver-1", "--owner", "web team"),
        ("--version", "ver-1"),
        ("--issued-after", "yesterday"),
    ],
)
def test_usage_errors(run: Run, inventory: Inventory, arguments: tuple[str, ...]) -> None:
    result = run("revoke", *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert inventory.server.seen == []


# A CA that has to be told


def test_the_ca_is_waited_for(run: Run, inventory: Inventory) -> None:
    inventory.state = "requested"
    inventory.later = ["requested", "requested", "told", "confirmed"]
    result = run("revoke", CERTIFICATE, "--yes")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("Revocation   confirmed") == 2


@pytest.mark.parametrize(
    ("state", "said"), [("requested", "the CA is yet to be told"), ("told", "the CA works on it")]
)
def test_a_ca_that_has_not_answered(run: Run, inventory: Inventory, state: str, said: str) -> None:
    inventory.state = state
    result = run("revoke", CERTIFICATE, "--yes", "--no-wait")
    assert result.exit_code == 7
    assert result.stdout.count(f"Revocation   {state}: unspecified") == 2
    assert f"Pending: {said}. The revocation is recorded" in result.stderr
    assert f"certctl certs show {CERTIFICATE}" in result.stderr
    as_json = run("revoke", CERTIFICATE, "--yes", "--no-wait", "--json")
    assert as_json.exit_code == 7
    assert json.loads(as_json.stdout)["status"] == "revoked"
    assert json.loads(as_json.stderr)["type"] == "urn:certctl:problem:revocation-pending"


def test_a_ca_that_refuses(run: Run, inventory: Inventory) -> None:
    inventory.state = "requested"
    inventory.later = ["requested", "refused"]
    inventory.problem = "the CA's own words"
    result = run("revoke", CERTIFICATE, "--yes")
    assert result.exit_code == 8
    assert "Revocation   refused" in result.stdout
    assert "Error: the CA refused the revocation: the CA's own words" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_whatever_fails_afterwards_it_is_recorded(
    run: Run, inventory: Inventory, arguments: tuple[str, ...]
) -> None:
    inventory.server.on(
        "GET", f"{PATH}/versions", inventory.list_versions, problem(500, "internal-error")
    )
    result = run("revoke", CERTIFICATE, "--yes", *arguments)
    assert result.exit_code == 7
    assert "The revocation is recorded" in result.stderr
    if arguments:
        assert json.loads(result.stdout)["status"] == "revoked"


def test_ctrl_c_while_waiting_is_a_wait_that_ended(inventory: Inventory, folder: Path) -> None:
    inventory.state = "told"

    def tell(seen: Seen) -> Reply:
        if inventory.changes():
            (folder / "polled").touch()
        return inventory.list_versions(seen)

    inventory.server.on("GET", f"{PATH}/versions", tell)
    code, stderr = interrupted("revoke", CERTIFICATE, "--yes", when=folder / "polled")
    assert code == 7
    assert "interrupted. The revocation is recorded" in stderr
    assert f"certctl certs show {CERTIFICATE}" in stderr


# The end of a hold


def test_a_hold_is_taken_back(run: Run, inventory: Inventory) -> None:
    inventory.hold()
    inventory.later = ["confirmed", "requested", "confirmed"]
    result = run("release", CERTIFICATE)
    assert result.exit_code == 0, result.stderr
    assert [seen.path for seen in inventory.changes()] == [RELEASE[1]]
    assert inventory.changes()[0].body == b""
    assert "Status       issued" in result.stdout
    assert NEWEST in result.stdout
    assert OLDER in result.stdout
    assert "Revocation" not in result.stdout


def test_the_hold_of_one_version(run: Run, inventory: Inventory) -> None:
    inventory.hold()
    inventory.later = ["confirmed", "confirmed"]
    result = run("release", CERTIFICATE, "--version", OLDER, "--json")
    assert result.exit_code == 0, result.stderr
    assert [seen.path for seen in inventory.changes()] == [f"{PATH}/versions/{OLDER}/release"]
    assert json.loads(result.stdout) == inventory.versions[OLDER]
    assert inventory.versions[OLDER]["revocation"] is None
    assert inventory.versions[NEWEST]["revocation"] is not None


def test_a_release_that_the_ca_has_not_confirmed(run: Run, inventory: Inventory) -> None:
    inventory.hold()
    result = run("release", CERTIFICATE, "--no-wait")
    assert result.exit_code == 7
    assert "the CA is yet to be told. The release is recorded" in result.stderr
    assert "Revocation   release requested: certificateHold" in result.stdout


def test_a_release_that_the_ca_refuses_leaves_the_hold(run: Run, inventory: Inventory) -> None:
    inventory.hold()

    def refuse(seen: Seen) -> Reply:
        inventory.hold()
        inventory.problem = "the CA's own words"
        inventory.turn("confirmed")
        return inventory.recorded(seen)

    inventory.server.on(*RELEASE, refuse)
    result = run("release", CERTIFICATE)
    assert result.exit_code == 8
    assert "the CA refused the release: the CA's own words" in result.stderr
    assert "Revocation   confirmed: certificateHold" in result.stdout


def test_without_a_hold_there_is_none_to_take_back(run: Run, inventory: Inventory) -> None:
    inventory.server.on(*RELEASE, problem(409, "not-on-hold"))
    result = run("release", CERTIFICATE)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "the detail of not-on-hold" in result.stderr
