"""Profiles on the command line: read, made, edited, put away."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from certctl.schemas.profiles import ProfileRules
from tests.cli.conftest import on_terminal
from tests.cli.fake_server import Reply, problem, profile_view

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer, Seen

PATH = "/api/v1/profiles/prof-shop"
RULES = ("--set", "usages=serverauth", "--set", "name_kinds=dns,ip",
         "--set", "default_validity=30d", "--set", "max-validity=2160h")  # fmt: skip


def stored(seen: Seen) -> Reply:
    """The profile that was sent, as a server answers."""
    body = seen.json()
    view = profile_view(
        body.pop("id", None) or "prof-shop",
        **{name: value for name, value in body.items() if name != "revision"},
    )
    return Reply(201 if seen.method == "POST" else 200, view)


@pytest.fixture
def shop(server: FakeServer) -> FakeServer:
    """A server with one profile."""
    server.on("GET", PATH, Reply(200, profile_view()))
    server.on("POST", "/api/v1/profiles", stored)
    server.on("PUT", PATH, stored)
    server.on("DELETE", PATH, Reply(204))
    return server


def sent(server: FakeServer, method: str = "PUT", path: str = PATH) -> dict[str, Any]:
    """The one body that came."""
    (seen,) = server.requests(method, path)
    body: dict[str, Any] = seen.json()
    return body


def said(**rules: Any) -> dict[str, Any]:
    """Rules as they are sent: what is null is left out, which means the same."""
    return {name: value for name, value in rules.items() if value is not None}


def made(server: FakeServer) -> dict[str, Any]:
    """The one profile that was to be made."""
    return sent(server, "POST", "/api/v1/profiles")


def rules_of(view: dict[str, Any]) -> dict[str, Any]:
    """What can be changed of a profile."""
    return {name: view[name] for name in ProfileRules.model_fields}


@pytest.fixture
def editor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that replaces the file by the first of these that is there: `edit.1`, `edit.2`."""
    script = folder / "editor.py"
    script.write_text(
        "import pathlib, shutil, sys\n"
        "here, file = pathlib.Path(__file__).parent, sys.argv[-1]\n"
        "shutil.copy(file, here / 'seen.json')\n"
        "(here / 'seen.path').write_text(file)\n"
        "for edit in sorted(here.glob('edit.*'))[:1]:\n"
        "    shutil.copy(edit, file)\n"
        "    edit.unlink()\n"
        "sys.exit(3 if (here / 'fail').exists() else 0)\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} '{script}' --wait")
    monkeypatch.delenv("VISUAL", raising=False)
    return folder


def seen_path(editor: Path) -> Path:
    """The file that was to be edited."""
    return Path((editor / "seen.path").read_text())


# Looking


def test_the_list_says_how_each_stands(run: Run, server: FakeServer) -> None:
    rows = [
        profile_view("prof-one"),
        profile_view("prof-two", enabled=False),
        profile_view("prof-three", enabled=False, archived_at="2026-01-01T12:00:00Z"),
        profile_view("prof-four", default_validity_seconds=1800, max_validity_seconds=129_600),
    ]
    server.on("GET", "/api/v1/profiles", Reply(200, {"data": rows, "next": None}))
    one, two, three, four = run("profiles").stdout.splitlines()[1:]
    assert " enabled " in one
    assert " disabled " in two
    assert " archived " in three
    assert "30 min  36 h" in four
    assert "archived" not in server.seen[0].query
    run("profiles", "--archived")
    assert server.seen[1].query["archived"] == "true"


def test_one_profile_with_all_its_rules(run: Run, server: FakeServer) -> None:
    view = profile_view(
        name_patterns=["dns:*.shop.example.org", "ip:10.0.0.0/8"],
        allowed_issuers=["iss-local", "iss-gone"],
        warnings=[{"issuer_id": "iss-gone", "detail": "there is no issuer of that id any more"}],
    )
    server.on("GET", PATH, Reply(200, view))
    shown = run("profiles", "show", "prof-shop").stdout
    for words in (
        "Status              enabled",
        "Names allowed       dns:*.shop.example.org, ip:10.0.0.0/8",
        "Issuers allowed     iss-local, iss-gone",
        "Usual lifetime      90 d",
        "Revision            3",
        "Warning             iss-gone: there is no issuer of that id any more",
    ):
        assert words in shown
    server.on("GET", PATH, Reply(200, profile_view(name_kinds=[])))
    shown = run("profiles", "show", "prof-shop").stdout
    assert "Kinds of names      none: a common name only" in shown
    assert "Names allowed       any" in shown


def test_a_profile_of_an_older_server(run: Run, server: FakeServer) -> None:
    view = profile_view()
    for name in ("name_patterns", "allowed_issuers", "revision", "created_at", "updated_at",
                 "archived_at", "warnings"):  # fmt: skip
        del view[name]
    server.on("GET", PATH, Reply(200, view))
    result = run("profiles", "show", "prof-shop")
    assert result.exit_code == 0
    assert "Revision" not in result.stdout


def test_every_rule_is_explained(run: Run) -> None:
    rows = {line.split()[0]: line for line in run("profiles", "rules").stdout.splitlines()[1:]}
    assert rows.keys() == ProfileRules.model_fields.keys()
    longest = " ".join(rows["max_validity_seconds"].split())
    assert longest == "max_validity_seconds lifetime: 90d, 12h, 30min (required) Greatest lifetime"
    assert "whole number, 2048 to 8192" in rows["rsa_min_bits"]
    assert "*.example.org" in rows["name_patterns"]
    schema = json.loads(run("profiles", "rules", "--json").stdout)
    assert schema["properties"].keys() == rows.keys()
    code, lines = on_terminal("profiles", "rules", columns=80)
    assert code == 0
    assert all(len(line) <= 80 for line in lines)


# Making


def test_a_profile_is_made_from_options(run: Run, shop: FakeServer) -> None:
    result = run(
        "profiles", "create", "Shop", "--id", "prof-new", *RULES,
        "--set", "name_patterns=*.shop.example.org, 10.0.0.0/8",
        "--set", "allowed_issuers=iss-local", "--set", "must_staple=yes",
        "--set", "key-types=rsa", "--set", "RSA_min_bits=3072", "--disabled",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert made(shop) == {
        "id": "prof-new",
        "name": "Shop",
        "description": "",
        "key_types": ["rsa"],
        "rsa_min_bits": 3072,
        "usages": ["serverAuth"],
        "name_kinds": ["dns", "ip"],
        "name_patterns": ["*.shop.example.org", "10.0.0.0/8"],
        "allowed_issuers": ["iss-local"],
        "default_validity_seconds": 30 * 86_400,
        "max_validity_seconds": 90 * 86_400,
        "must_staple": True,
        "new_key_on_renewal": False,
        "enabled": False,
    }
    assert "certctl profiles enable prof-new" in result.stderr


def test_a_profile_is_made_like_another(run: Run, shop: FakeServer) -> None:
    like = profile_view(
        enabled=False, name_patterns=["dns:a.example.org"], description="for the shop"
    )
    shop.on("GET", PATH, Reply(200, like))
    result = run("profiles", "create", "Other", "--like", "prof-shop", "--set", "max_validity=91d")
    assert result.exit_code == 0, result.stderr
    expected = {"name": "Other", "description": "", "enabled": True}
    expected |= {"max_validity_seconds": 91 * 86_400}
    assert made(shop) == said(**{**rules_of(like), **expected})
    assert "certctl issue www.example.org --profile prof-shop" in result.stderr


def test_what_was_shown_as_json_makes_another(run: Run, shop: FakeServer, folder: Path) -> None:
    shown = run("profiles", "show", "prof-shop", "--json").stdout
    (folder / "profile.json").write_text(shown)
    result = run("profiles", "create", "Copy", "--file", "profile.json", "--json")
    assert result.exit_code == 0, result.stderr
    assert made(shop) == said(**{**rules_of(profile_view()), "name": "Copy"})
    assert json.loads(result.stdout)["name"] == "Copy"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("Shop",), 2, "usages, name_kinds, default_validity_seconds, max_validity_seconds"),
        (("Shop",), 2, "--like ID"),
        (RULES, 2, "name it"),
        (("Shop", *RULES, "--set", "must_staple=perhaps"), 3, "must_staple takes true or false"),
        (("Shop", *RULES, "--set", "max_validity=planted"), 3, "takes a lifetime, as in 90d"),
        (("Shop", *RULES, "--set", "max_validity=3 weeks"), 3, "takes a lifetime, as in 90d"),
        (("Shop", *RULES, "--set", "planted=1"), 3, "no rule of that name; it has: "),
        (("Shop", *RULES, "--set", "usages=planted"), 3, "usages takes one of: serverAuth"),
        (("Shop", *RULES, "--set", "name_patterns="), 3, "name_patterns"),
        (("Shop", "--set", "usages"), 2, "NAME=VALUE"),
        (("Shop", "--like", "prof-shop", "--file", "x"), 2, "not from both"),
        (("Shop", "--file", "none.json"), 1, "none.json"),
        (("Shop", "--file", "list.json"), 3, "is not a JSON object"),
    ],
)
def test_what_cannot_be_made_is_not_sent(
    run: Run, shop: FakeServer, folder: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (folder / "list.json").write_text("[]")
    result = run("profiles", "create", *arguments)
    assert words in " ".join(re.sub("[│╭╮╰╯─]", "", result.stderr).split())
    assert "planted" not in result.stderr.replace("none.json", "")
    assert result.exit_code == code
    assert not shop.requests("POST", "/api/v1/profiles")


def test_a_lost_answer_is_not_asked_for_again(run: Run, shop: FakeServer) -> None:
    shop.on("POST", "/api/v1/profiles", Reply(lost=True))
    result = run("profiles", "create", "Shop", *RULES)
    assert result.exit_code != 0
    assert "may have been made all the same" in result.stderr
    assert len(shop.requests("POST", "/api/v1/profiles")) == 1


# Editing


def test_options_change_what_they_name_and_nothing_else(run: Run, shop: FakeServer) -> None:
    present = profile_view(allowed_issuers=["iss-local"], description="for the shop")
    shop.on("GET", PATH, Reply(200, present))
    result = run(
        "profiles", "edit", "prof-shop", "--set", "max_validity=47d", "--unset", "allowed-issuers",
        "--set", "name=Shop 2",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    expected = {"name": "Shop 2", "max_validity_seconds": 47 * 86_400, "allowed_issuers": None}
    assert sent(shop) == said(**{**rules_of(present), **expected, "revision": 3})
    assert "what was issued or ordered stays as it is" in result.stderr


def test_a_file_replaces_all_rules(run: Run, shop: FakeServer, folder: Path) -> None:
    rules = rules_of(profile_view())
    for name in ("name", "description", "must_staple"):
        del rules[name]
    (folder / "profile.json").write_text(json.dumps(rules))
    shop.on("GET", PATH, Reply(200, profile_view(must_staple=True, description="gone")))
    assert run("profiles", "edit", "prof-shop", "--file", "profile.json").exit_code == 0
    assert sent(shop) == said(**rules_of(profile_view()), revision=3)
    # One that says which revision it was made from is held to that.
    (folder / "profile.json").write_text(json.dumps({**rules, "revision": 2, "id": "prof-x"}))
    run("profiles", "edit", "prof-shop", "--file", "profile.json")
    assert shop.requests("PUT", PATH)[1].json()["revision"] == 2


def test_rules_are_edited_in_an_editor(run: Run, shop: FakeServer, editor: Path) -> None:
    wanted = {**rules_of(profile_view()), "name_patterns": ["*.shop.example.org"]}
    (editor / "edit.1").write_text(json.dumps(wanted))
    result = run("profiles", "edit", "prof-shop")
    assert result.exit_code == 0, result.stderr
    assert json.loads((editor / "seen.json").read_text()) == rules_of(profile_view())
    assert sent(shop) == said(**wanted, revision=3)
    assert not seen_path(editor).exists()


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_an_editor_that_changes_nothing_changes_nothing(
    run: Run, shop: FakeServer, editor: Path, text: str | None
) -> None:
    if text is not None:
        (editor / "edit.1").write_text(text)
    result = run("profiles", "edit", "prof-shop")
    assert result.exit_code == 0
    assert result.stdout == "Nothing was changed.\n"
    assert not shop.requests("PUT", PATH)
    assert not seen_path(editor).exists()


@pytest.mark.parametrize(
    ("text", "reply", "words"),
    [
        ("{ no json", None, "what you wrote is not a JSON object"),
        ('{"name": "x"}', None, "usages: Field required"),
        (
            json.dumps({**rules_of(profile_view()), "name": "y"}),
            problem(422, "profile-kind-without-pattern"),
            "the detail of profile-kind-without-pattern",
        ),
        (
            json.dumps({**rules_of(profile_view()), "name": "y"}),
            problem(409, "profile-changed"),
            "somebody else changed it meanwhile",
        ),
    ],
)
def test_what_was_written_is_kept_when_it_is_refused(
    run: Run, shop: FakeServer, editor: Path, text: str, reply: Reply | None, words: str
) -> None:
    if reply is not None:
        shop.on("PUT", PATH, reply)
    (editor / "edit.1").write_text(text)
    result = run("profiles", "edit", "prof-shop")
    assert result.exit_code != 0
    assert words in result.stderr
    kept = seen_path(editor)
    assert f"certctl profiles edit prof-shop --file {kept}" in result.stderr
    assert kept.read_text() == text
    kept.unlink()


def test_on_a_terminal_it_can_be_mended_at_once(shop: FakeServer, editor: Path) -> None:
    wanted = {**rules_of(profile_view()), "name": "mended"}
    (editor / "edit.1").write_text("{ no json")
    (editor / "edit.2").write_text(json.dumps(wanted))
    code, lines = on_terminal("profiles", "edit", "prof-shop", answers=[("[Y/n]", "y")])
    assert code == 0, lines
    assert sent(shop)["name"] == "mended"
    assert not seen_path(editor).exists()


def test_what_was_written_is_kept_when_the_answer_is_lost(
    run: Run, shop: FakeServer, editor: Path
) -> None:
    shop.on("PUT", PATH, Reply(lost=True))
    (editor / "edit.1").write_text(json.dumps({**rules_of(profile_view()), "name": "y"}))
    result = run("profiles", "edit", "prof-shop")
    assert result.exit_code != 0
    assert "may have been stored all the same" in result.stderr
    assert f"What you wrote is kept: {seen_path(editor)}" in result.stderr
    seen_path(editor).unlink()


def test_an_editor_that_fails_changes_nothing(
    run: Run, shop: FakeServer, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (editor / "fail").touch()
    result = run("profiles", "edit", "prof-shop")
    assert result.exit_code == 1
    assert "--set NAME=VALUE" in result.stderr
    assert not seen_path(editor).exists()
    (editor / "edit.1").write_text("hours of work")
    assert run("profiles", "edit", "prof-shop").exit_code == 1
    assert seen_path(editor).read_text() == "hours of work"
    seen_path(editor).unlink()
    for bad in ("/nonexistent/editor", "'unbalanced"):
        monkeypatch.setenv("VISUAL", bad)
        assert run("profiles", "edit", "prof-shop").exit_code == 1
    assert not shop.requests("PUT", PATH)


def test_a_change_by_somebody_else_is_told(run: Run, shop: FakeServer) -> None:
    shop.on("PUT", PATH, problem(409, "profile-changed"))
    result = run("profiles", "edit", "prof-shop", "--set", "must_staple=true")
    assert result.exit_code == 3
    assert "certctl profiles show prof-shop" in result.stderr
    shop.on("PUT", PATH, Reply(lost=True))
    result = run("profiles", "edit", "prof-shop", "--set", "must_staple=true")
    assert "may have been stored all the same" in result.stderr


# Putting away


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_enabling_and_disabling(run: Run, shop: FakeServer, verb: str) -> None:
    shop.on("POST", f"{PATH}/{verb}", Reply(200, profile_view(enabled=verb == "enable")))
    result = run("profiles", verb, "prof-shop")
    assert f"Status              {verb}d" in result.stdout


def test_deleting_asks_first(run: Run, shop: FakeServer) -> None:
    assert run("profiles", "delete", "prof-shop").exit_code == 2
    code, lines = on_terminal("profiles", "delete", "prof-shop", answer="n")
    assert code == 3
    assert "Nothing was deleted." in lines
    assert not shop.requests("DELETE", PATH)
    code, lines = on_terminal("profiles", "delete", "prof-shop", answer="y")
    assert code == 0
    assert "Profile prof-shop is deleted." in lines
    result = run("profiles", "delete", "prof-shop", "--archive", "--yes")
    assert "is archived" in result.stderr
    assert [seen.query.get("archive") for seen in shop.requests("DELETE", PATH)] == [None, "true"]


@pytest.mark.parametrize("code", ["profile-in-use", "profile-built-in"])
def test_what_cannot_be_deleted_can_be_archived(run: Run, shop: FakeServer, code: str) -> None:
    shop.on("DELETE", PATH, problem(409, code))
    result = run("profiles", "delete", "prof-shop", "--yes")
    assert "certctl profiles delete prof-shop --archive" in result.stderr
    shop.on("DELETE", PATH, problem(409, "profile-needed"))
    result = run("profiles", "delete", "prof-shop", "--yes")
    assert "the hint" in result.stderr
