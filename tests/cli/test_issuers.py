"""Issuers on the command line: made, changed, tested, put away; and what is never shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import on_terminal
from tests.cli.fake_server import (
    NOW,
    Reply,
    check_view,
    issuer_view,
    problem,
    type_view,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer, Seen

PLANTED = "planted-secret-0451"
PATH = "/api/v1/issuers/iss-acme"
CREATE = ("issuers", "create", "acmetrust")
UPDATE = ("issuers", "update", "iss-acme")
URL = ("--set", "api_url=https://ca.example.org")


def stored(seen: Seen) -> Reply:
    """The issuer that was sent, as a server answers: without its secrets."""
    body = seen.json()
    config = body.get("config") or issuer_view()["config"]
    shown = {name: "********" if name in {"password", "pin"} else config[name] for name in config}
    view = issuer_view(
        body.get("id") or "iss-acme",
        name=body["name"],
        config=shown,
        enabled=body["enabled"],
        source=body.get("source", "api"),
        status="ready" if body["enabled"] else "disabled",
    )
    return Reply(201 if seen.method == "POST" else 200, view)


@pytest.fixture
def acme(server: FakeServer) -> FakeServer:
    """A server that knows two types, and has one issuer."""
    types = [type_view(), type_view("Other") | {"aliases": []}]
    server.on("GET", "/api/v1/issuers/types", Reply(200, {"data": types, "next": None}))
    server.on("GET", PATH, Reply(200, issuer_view()))
    server.on("POST", "/api/v1/issuers", stored)
    server.on("PUT", PATH, stored)
    server.on("DELETE", PATH, Reply(204))
    server.on("POST", f"{PATH}/test", Reply(200, check_view()))
    return server


@pytest.fixture
def password(folder: Path) -> Path:
    """A file with a secret, and the newline that an editor leaves."""
    file = folder / "password.txt"
    file.write_text(f"{PLANTED}\n")
    return file


def sent(server: FakeServer, method: str = "POST", path: str = "/api/v1/issuers") -> dict[str, Any]:
    """The one body that came."""
    (seen,) = server.requests(method, path)
    body: dict[str, Any] = seen.json()
    return body


# Looking


def test_the_list_says_how_each_stands(run: Run, server: FakeServer) -> None:
    condition = {"state": "open", "problem": "401: no such key", "since": NOW, "tried_next": None}
    rows = [
        issuer_view("iss-one", check=check_view("failed")),
        issuer_view("iss-two", condition=condition),
        issuer_view("iss-three", condition={**condition, "state": "quota"}, source="env"),
        issuer_view("iss-four", status="failed", problem="cannot read the file"),
    ]
    server.on("GET", "/api/v1/issuers", Reply(200, {"data": rows, "next": None}))
    one, two, three, four = run("issuers").stdout.splitlines()[1:]
    assert "failed " in one
    assert "circuit open" in two
    assert "401: no such key" in two
    assert "quota used up" in three
    assert "environment" in three
    assert "cannot read the file" in four
    assert "archived" not in server.seen[0].query
    run("issuers", "--archived")
    assert server.seen[1].query["archived"] == "true"


def test_one_issuer_with_all_about_it(run: Run, server: FakeServer) -> None:
    view = issuer_view(
        limits={"max_concurrency": 4, "max_calls_per_minute": 60},
        environment="differs",
        condition={
            "state": "open",
            "problem": "401: no such key",
            "since": NOW,
            "tried_next": "2126-01-01T12:00:00Z",
        },
        check=check_view("failed", code="4003", detail="the CA's own words"),
    )
    server.on("GET", PATH, Reply(200, view))
    shown = run("issuers", "show", "iss-acme").stdout
    for words in (
        "Limits         4 calls at a time, 60 calls a minute",
        "Environment    has other settings, which are not in effect",
        "circuit open: the CA is left alone",
        "  because      401: no such key",
        "  since        2026-01-01 12:00:00 UTC",
        "  tried next   2126-01-01 12:00:00 UTC",
        "Last test      failed, ca.example.org, 2026-01-01 12:00:00 UTC",
        "  answer       the CA's own words (4003)",
        "  password     ********",
        "certctl issuers update iss-acme --from-environment",
    ):
        assert words in shown
    server.on("GET", PATH, Reply(200, issuer_view()))
    shown = run("issuers", "show", "iss-acme").stdout
    assert "Limits         none" in shown
    assert "Last test      none yet" in shown
    assert "Condition" not in shown
    assert "Environment" not in shown


def test_the_settings_of_a_type(run: Run, acme: FakeServer) -> None:
    rows = {line.split()[0]: line for line in run("issuers", "types", "TRUST").stdout.splitlines()}
    assert list(rows)[1:3] == ["api_url", "password"], "what is required comes first"
    for name, words in {
        "api_url": "CERTCTL_ACME_TRUST_API_URL text (required) Address of the CA's API",
        "password": "CERTCTL_ACME_TRUST_PASSWORD secret (required) Password of the account",
        "pin": "CERTCTL_ACME_TRUST_PIN secret PIN of the account",
        "speed": "CERTCTL_ACME_TRUST_SPEED fast or slow fast How the CA is to work",
        "key_bits": "CERTCTL_ACME_TRUST_KEY_BITS 2048 or 4096 2048",
        "mode": "CERTCTL_ACME_TRUST_MODE test or live test Which of the CA's systems",
        "verbose": "CERTCTL_ACME_TRUST_VERBOSE true or false false",
        "rate": "CERTCTL_ACME_TRUST_RATE number 1.5",
        "groups": "CERTCTL_ACME_TRUST_GROUPS list, with commas Groups, most important first",
        "limit": "CERTCTL_ACME_TRUST_LIMIT whole number Greatest number",
        "labels": "CERTCTL_ACME_TRUST_LABELS JSON object",
        "poll_max_wait_seconds": (
            "CERTCTL_ACME_TRUST_POLL_MAX_WAIT_SECONDS whole number, 1 to 86400 600"
        ),
    }.items():
        assert " ".join(rows[name].split()) == f"{name} {words}"
    assert json.loads(run("issuers", "types", "trust", "--json").stdout)["name"] == "AcmeTrust"
    listed = run("issuers", "types").stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["AcmeTrust", "Other"]


@pytest.mark.parametrize("arguments", [("issuers", "types", "none"), ("issuers", "create", "none")])
def test_a_type_that_there_is_not(run: Run, acme: FakeServer, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 6
    assert "AcmeTrust, Other" in result.stderr


# Adding


def test_an_issuer_is_added_with_values_of_every_kind(
    run: Run, acme: FakeServer, password: Path
) -> None:
    values = {
        "api_url": ("https://ca.example.org/?a=b", "https://ca.example.org/?a=b"),
        "speed": ("SLOW", "slow"),
        "key_bits": ("4096", 4096),
        "mode": ("live", "live"),
        "rate": ("2.5", 2.5),
        "verbose": ("yes", True),
        "groups": ("a, b,c", ["a", "b", "c"]),
        "ports": ("80,443", [80, 443]),
        "limit": ("7", 7),
        "labels": ('{"a": "b"}', {"a": "b"}),
        "CERTCTL_ACME_TRUST_POLL_MAX_WAIT_SECONDS": ("5", 5),
    }
    options = [part for name, (text, _) in values.items() for part in ("--set", f"{name}={text}")]
    result = run(
        *CREATE, *options, "--secret-file", f"password={password}", "--id", "iss-new",
        "--name", "New", "--max-concurrency", "4", "--max-calls-per-minute", "0",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    expected = {name: value for name, (_, value) in values.items()}
    expected["poll_max_wait_seconds"] = expected.pop("CERTCTL_ACME_TRUST_POLL_MAX_WAIT_SECONDS")
    assert sent(acme) == {
        "id": "iss-new",
        "name": "New",
        "type": "AcmeTrust",
        "config": {**expected, "password": PLANTED},
        "enabled": True,
        "limits": {"max_concurrency": 4},
    }
    assert result.stdout.split()[:2] == ["Issuer", "iss-new"]
    assert "Test it: certctl issuers test iss-new" in result.stderr
    assert PLANTED not in result.output


def test_what_is_not_named_is_left_to_the_server(
    run: Run, acme: FakeServer, password: Path
) -> None:
    result = run(*CREATE, *URL, "--secret-file", f"password={password}", "--disabled", "--json")
    assert json.loads(result.stdout)["status"] == "disabled"
    body = sent(acme)
    assert body["name"] == "AcmeTrust Certificate Services"
    assert body["enabled"] is False
    assert set(body["config"]) == {"api_url", "password"}
    assert "id" not in body


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("key_bits=many", "key_bits takes one of: 2048, 4096"),
        ("speed=planted", "speed takes one of: fast, slow"),
        ("limit=planted", "limit takes a whole number"),
        ("rate=planted", "rate takes a number"),
        ("verbose=planted", "verbose takes true or false"),
        ("ports=80,planted", "ports takes a whole number"),
        ("labels=planted", "labels takes JSON"),
        ("labels=[]", "labels takes a JSON object"),
        ("planted=1", "no setting of that name; it has: api_url, password"),
    ],
)
def test_a_value_that_does_not_fit_is_not_repeated(
    run: Run, acme: FakeServer, setting: str, words: str
) -> None:
    result = run(*CREATE, "--set", setting)
    assert result.exit_code == 3
    assert words in result.stderr
    assert "planted" not in result.stderr
    assert acme.requests("POST", "/api/v1/issuers") == []


@pytest.mark.parametrize("command", [CREATE, UPDATE], ids=["create", "update"])
@pytest.mark.parametrize("name", ["password", "PASSWORD", "CERTCTL_ACME_TRUST_PIN"])
def test_a_secret_on_the_command_line_is_refused(
    run: Run, acme: FakeServer, command: tuple[str, ...], name: str
) -> None:
    for arguments in (("--set", f"{name}={PLANTED}"), ("--secret", f"{name}={PLANTED}")):
        for more in ((), ("--json",)):
            result = run(*command, *arguments, *more)
            assert result.exit_code == 2
            assert "--secret-file" in result.stderr
            assert PLANTED not in result.output
    assert {seen.method for seen in acme.seen} == {"GET"}


def test_missing_settings_are_named_with_the_way_to_give_them(run: Run, acme: FakeServer) -> None:
    result = run(*CREATE, "--set", "limit=3")
    assert result.exit_code == 2
    assert "AcmeTrust cannot do without: api_url, password" in result.stderr
    assert "--set api_url=VALUE --secret-file password=FILE" in result.stderr
    result = run(*CREATE, *URL, "--json")
    assert json.loads(result.stderr)["type"] == "urn:certctl:problem:settings-missing"
    assert acme.requests("POST", "/api/v1/issuers") == []


def test_settings_come_from_a_file_and_options_win(
    run: Run, acme: FakeServer, folder: Path
) -> None:
    config = {"api_url": "https://file.example.org", "password": PLANTED, "limit": 1}
    (folder / "settings.json").write_text(json.dumps(config))
    result = run(*CREATE, "--config", "settings.json", "--set", "limit=2")
    assert result.exit_code == 0
    assert sent(acme)["config"] == {**config, "limit": 2}
    assert PLANTED not in result.output


@pytest.mark.parametrize("content", [b"[]", b"{planted", b"\xff\xfe", b'"' + b"a" * 1_000_001])
def test_a_file_of_settings_that_is_none(
    run: Run, acme: FakeServer, folder: Path, content: bytes
) -> None:
    (folder / "settings.json").write_bytes(content)
    result = run(*CREATE, "--config", "settings.json")
    assert result.exit_code == 3
    assert "--config" in result.stderr
    assert "planted" not in result.stderr


def test_secrets_from_standard_input(acme: FakeServer) -> None:
    from typer.testing import CliRunner

    from certctl.cli.app import app

    arguments = [*CREATE, *URL, "--secret-file", "password=-"]
    result = CliRunner().invoke(app, arguments, input=f"{PLANTED}\r\n", prog_name="certctl")
    assert result.exit_code == 0
    assert sent(acme)["config"]["password"] == PLANTED
    assert PLANTED not in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--secret", "password"), 2, "nobody to ask for password"),
        (("--secret-file", "password=empty.txt"), 3, "password is empty in the file"),
        (("--secret-file", "password=missing.txt"), 1, "missing.txt: No such file"),
        (("--secret-file", "api_url=empty.txt"), 2, "api_url is no secret"),
        (("--secret-file", "password"), 2, "NAME=FILE"),
        (("--set", "api_url"), 2, "NAME=VALUE"),
        (("--secret-file", "password=-", "--config", "-"), 2, "only one of them"),
    ],
)
def test_options_that_do_not_work(
    run: Run,
    acme: FakeServer,
    folder: Path,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    (folder / "empty.txt").write_text("\n")
    result = run(*CREATE, *arguments)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())
    assert acme.requests("POST", "/api/v1/issuers") == []


def test_a_lost_answer_does_not_make_two(run: Run, acme: FakeServer, password: Path) -> None:
    acme.on("POST", "/api/v1/issuers", Reply(lost=True))
    result = run(*CREATE, *URL, "--secret-file", f"password={password}")
    assert result.exit_code == 4
    assert "may have been created all the same" in result.stderr
    assert "certctl issuers" in result.stderr
    assert len(acme.requests("POST", "/api/v1/issuers")) == 1
    assert PLANTED not in result.output


def test_settings_that_the_server_refuses(run: Run, acme: FakeServer, password: Path) -> None:
    refusal = problem(422, "issuer-settings-invalid", field="config.api_url")
    acme.on("POST", "/api/v1/issuers", refusal)
    arguments = (*CREATE, *URL, "--secret-file", f"password={password}")
    result = run(*arguments)
    assert result.exit_code == 3
    assert "(config.api_url)" in result.stderr
    assert "certctl issuers types AcmeTrust" in result.stderr
    assert json.loads(run(*arguments, "--json").stderr) == refusal.body


# On a terminal


def test_a_person_is_led_through_the_settings(acme: FakeServer) -> None:
    code, lines = on_terminal(
        *CREATE,
        answers=[
            ("Name of the issuer [AcmeTrust Certificate Services]", ""),
            ("api_url (text)", ""),  # cannot do without: asked again
            ("api_url (text)", "https://ca.example.org"),
            ("password (not shown)", PLANTED),
            ("have a default. Look at them? [y/N]", "y"),
            ("poll_max_wait_seconds (whole number, 1 to 86400) [600]", ""),
            ("pin (not shown)", ""),
            ("speed (fast or slow) [fast]", "medium"),
            ("speed (fast or slow) [fast]", ""),  # what was wrong is said, and it is asked again
            ("key_bits (2048 or 4096) [2048]", "4096"),
            ("mode (test or live) [test]", ""),
            ("rate (number) [1.5]", ""),
            ("verbose (true or false) [false]", "yes"),
            ("groups (list, with commas)", "a,b"),
            ("ports (list, with commas)", ""),
            ("limit (whole number)", ""),
            ("labels (JSON object)", ""),
            ("Test it now? [Y/n]", ""),
        ],
    )
    text = "\n".join(lines)
    assert code == 0, text
    body = sent(acme)
    assert body["name"] == "AcmeTrust Certificate Services"
    assert body["config"] == {
        "api_url": "https://ca.example.org",
        "password": PLANTED,
        "key_bits": 4096,
        "verbose": True,
        "groups": ["a", "b"],
    }
    assert "Address of the CA's API" in lines, "each is explained"
    assert "speed takes one of: fast, slow" in text
    assert "Test    ok" in text
    assert PLANTED not in text


def test_a_person_who_gives_settings_is_asked_for_what_is_missing_only(acme: FakeServer) -> None:
    code, lines = on_terminal(*CREATE, *URL, answers=[("password (not shown)", PLANTED)])
    text = "\n".join(lines)
    assert code == 0, text
    assert sent(acme)["config"]["password"] == PLANTED
    assert "[y/N]" not in text
    assert "Name of the issuer" not in text
    assert PLANTED not in text


def test_a_new_secret_is_asked_for_until_there_is_one(acme: FakeServer) -> None:
    code, lines = on_terminal(
        *UPDATE, "--secret", "pin", answers=[("pin (not shown)", ""), ("pin (not shown)", PLANTED)]
    )
    assert code == 0, lines
    assert sent(acme, "PUT", PATH)["config"]["pin"] == PLANTED
    assert PLANTED not in "\n".join(lines)


def test_a_terminal_is_no_place_for_a_secret_from_standard_input(acme: FakeServer) -> None:
    code, lines = on_terminal(*UPDATE, "--secret-file", "pin=-")
    assert code == 2
    assert "--secret pin" in "\n".join(lines)
    assert acme.requests("PUT", PATH) == []


# Changing


def test_what_is_not_named_stays(run: Run, acme: FakeServer) -> None:
    limits = {"max_concurrency": 4, "max_calls_per_minute": 60}
    acme.on("GET", PATH, Reply(200, issuer_view(limits=limits, enabled=False)))
    assert run(*UPDATE, "--set", "limit=7", "--max-calls-per-minute", "0").exit_code == 0
    assert sent(acme, "PUT", PATH) == {
        "name": "ACME Trust",
        "type": "AcmeTrust",
        "config": {"api_url": "https://ca.example.org", "password": "********", "limit": 7},
        "enabled": False,
        "limits": {"max_concurrency": 4},
        "source": "api",
        "revision": 3,
    }


def test_settings_go_back_and_secrets_are_forgotten(
    run: Run, acme: FakeServer, password: Path
) -> None:
    view = issuer_view()
    view["config"] |= {"limit": 7, "pin": "********"}
    acme.on("GET", PATH, Reply(200, view))
    changes = ("--unset", "limit", "--unset", "pin", "--secret-file", f"password={password}")
    result = run(*UPDATE, *changes, "--name", "Another", "--enable")
    assert result.exit_code == 0, result.stderr
    body = sent(acme, "PUT", PATH)
    assert body["config"] == {
        "api_url": "https://ca.example.org",
        "password": PLANTED,
        "pin": None,
    }
    assert (body["name"], body["enabled"]) == ("Another", True)
    assert PLANTED not in result.output


def test_a_file_replaces_all_settings(run: Run, acme: FakeServer, folder: Path) -> None:
    (folder / "settings.json").write_text('{"api_url": "https://new.example.org"}')
    assert run(*UPDATE, "--config", "settings.json").exit_code == 0
    assert sent(acme, "PUT", PATH)["config"] == {"api_url": "https://new.example.org"}


def test_a_change_that_is_none_of_the_settings_leaves_them_alone(
    run: Run, acme: FakeServer
) -> None:
    assert run(*UPDATE, "--disable").exit_code == 0
    body = sent(acme, "PUT", PATH)
    assert "config" not in body
    assert body["enabled"] is False
    assert acme.requests("GET", "/api/v1/issuers/types") == []


@pytest.mark.parametrize(
    ("arguments", "present", "source"),
    [
        (("--max-concurrency", "4"), {"environment": "applied"}, "env"),
        (("--max-concurrency", "4"), {"environment": None, "config": {}}, "env"),
        (("--max-concurrency", "4"), {"environment": None}, "api"),
        (("--max-concurrency", "4"), {"environment": "differs"}, "api"),
        (("--set", "limit=7"), {"environment": "applied"}, "api"),
    ],
)
def test_where_settings_come_from_after_a_change(
    run: Run, acme: FakeServer, arguments: tuple[str, ...], present: dict[str, Any], source: str
) -> None:
    acme.on("GET", PATH, Reply(200, issuer_view(source="env", **present)))
    result = run(*UPDATE, *arguments)
    assert sent(acme, "PUT", PATH)["source"] == source
    assert ("--from-environment" in result.stderr) == (source == "api")


def test_back_to_the_environment(run: Run, acme: FakeServer) -> None:
    assert run(*UPDATE, "--from-environment").exit_code == 0
    body = sent(acme, "PUT", PATH)
    assert body["source"] == "env"
    assert "config" not in body
    assert body["revision"] == 3
    assert run(*UPDATE, "--from-environment", "--set", "limit=7").exit_code == 2
    assert len(acme.requests("PUT", PATH)) == 1


def test_a_change_of_nothing_is_a_usage_error(run: Run, acme: FakeServer) -> None:
    result = run(*UPDATE)
    assert result.exit_code == 2
    assert "--set" in result.stderr
    assert acme.seen == []


def test_somebody_else_was_faster(run: Run, acme: FakeServer) -> None:
    acme.on("PUT", PATH, problem(409, "issuer-changed"))
    result = run(*UPDATE, "--set", "limit=7")
    assert result.exit_code == 3
    assert "somebody else changed it meanwhile" in result.stderr
    assert "run the command again" in result.stderr
    acme.on("PUT", PATH, problem(409, "issuer-name-taken"))
    assert "Hint: the hint" in run(*UPDATE, "--name", "Taken").stderr


def test_a_change_whose_answer_is_lost(run: Run, acme: FakeServer) -> None:
    acme.on("PUT", PATH, Reply(lost=True))
    result = run(*UPDATE, "--disable")
    assert result.exit_code == 4
    assert "may have been stored" in result.stderr
    assert len(acme.requests("PUT", PATH)) == 1


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_enabling_and_disabling(run: Run, server: FakeServer, verb: str) -> None:
    server.on("POST", f"{PATH}/{verb}", Reply(200, issuer_view(status="disabled")))
    result = run("issuers", verb, "iss-acme")
    assert result.exit_code == 0
    assert "Status         disabled" in result.stdout


# Testing


def test_a_test_that_works(run: Run, acme: FakeServer) -> None:
    result = run("issuers", "test", "iss-acme")
    assert result.exit_code == 0
    for words in ("Test    ok", "Host    ca.example.org", "Answer  logged in", "Took    85 ms"):
        assert words in result.stdout


def test_a_test_that_fails_has_an_exit_code(run: Run, acme: FakeServer) -> None:
    failed = check_view("failed", detail="no such key", code="4003")
    acme.on("POST", f"{PATH}/test", Reply(200, failed))
    result = run("issuers", "test", "iss-acme")
    assert result.exit_code == 10
    assert "no such key" in result.stdout
    assert "4003" in result.stdout
    as_json = run("issuers", "test", "iss-acme", "--json")
    assert as_json.exit_code == 10
    assert json.loads(as_json.stdout) == failed


# Putting away


def test_deleting_needs_somebody_or_a_yes(run: Run, acme: FakeServer) -> None:
    result = run("issuers", "delete", "iss-acme")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert acme.seen == []
    result = run("issuers", "delete", "iss-acme", "--yes")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Issuer iss-acme is deleted." in result.stderr
    (seen,) = acme.requests("DELETE", PATH)
    assert "archive" not in seen.query


@pytest.mark.parametrize(("answer", "code", "requests"), [("n", 3, 0), ("y", 0, 1)])
def test_a_person_is_asked(acme: FakeServer, answer: str, code: int, requests: int) -> None:
    ended, lines = on_terminal("issuers", "delete", "iss-acme", answer=answer)
    text = "\n".join(lines)
    assert ended == code
    assert "ACME Trust" in text
    assert "cannot be taken back" in text
    assert ("Nothing was deleted." in text) == (answer == "n")
    assert len(acme.requests("DELETE", PATH)) == requests


@pytest.mark.parametrize("reply", [Reply(204), Reply(200, issuer_view(status="archived"))])
def test_archiving(run: Run, acme: FakeServer, reply: Reply) -> None:
    acme.on("DELETE", PATH, reply)
    result = run("issuers", "delete", "iss-acme", "--archive", "--yes")
    assert result.exit_code == 0
    assert "Issuer iss-acme is archived." in result.output
    assert acme.requests("DELETE", PATH)[0].query["archive"] == "true"


def test_an_issuer_in_use_can_be_archived(run: Run, acme: FakeServer) -> None:
    acme.on("DELETE", PATH, problem(409, "issuer-in-use"))
    result = run("issuers", "delete", "iss-acme", "--yes")
    assert result.exit_code == 3
    assert "certctl issuers delete iss-acme --archive" in result.stderr
    acme.on("DELETE", PATH, problem(409, "issuer-needed"))
    assert "--archive" not in run("issuers", "delete", "iss-acme", "--yes").stderr


# On terminals of every width


@pytest.mark.parametrize("columns", [50, 80])
@pytest.mark.parametrize(
    "command", ["issuers", "issuers show iss-acme", "issuers types", "issuers types trust"]
)
def test_long_words_fit(acme: FakeServer, command: str, columns: int) -> None:
    words = "the CA's own words, which are many, and go on for longer than a line has room"
    condition = {"state": "quota", "problem": words, "since": NOW, "tried_next": NOW}
    view = issuer_view(problem=words, condition=condition, check=check_view("failed", detail=words))
    acme.on("GET", "/api/v1/issuers", Reply(200, {"data": [view], "next": None}))
    acme.on("GET", PATH, Reply(200, view))
    code, lines = on_terminal(*command.split(), columns=columns)
    assert code == 0
    assert all(len(line) <= columns for line in lines if "--from" not in line), lines
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    if "types" not in command:
        for word in words.split():
            assert word in text
