"""Finding the server: which source wins, what is said when nothing is found, where keys go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from certctl.client import NotConfigured, find_server

if TYPE_CHECKING:
    from pathlib import Path

KEY = "planted-admin-key"
ENVIRONMENT = {
    "CERTCTL_SERVER_URL": "https://ca.example.org:8443/",
    "CERTCTL_API_KEY": "environment-key",
    "CERTCTL_CA_BUNDLE": "/etc/ca.pem",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_dir(folder: Path, name: str = "data") -> Path:
    place = folder / name
    place.mkdir()
    (place / "admin.key").write_text(f"{KEY}\n")
    (place / "ca.pem").write_text("PEM")
    (place / "server.json").write_text(json.dumps({"url": "https://127.0.0.1:9443", "pid": 1}))
    return place


def test_the_environment() -> None:
    access = find_server(environ=ENVIRONMENT)
    assert access.url == "https://ca.example.org:8443"
    assert access.api_key == "environment-key"
    assert str(access.ca_bundle) == "/etc/ca.pem"
    assert not access.is_local


def test_a_data_directory_here(folder: Path) -> None:
    place = data_dir(folder)
    access = find_server(environ={})
    assert access.url == "https://127.0.0.1:9443"
    assert access.api_key == KEY
    assert access.ca_bundle is not None
    assert access.ca_bundle.resolve() == place / "ca.pem"
    assert access.is_local


def test_a_data_directory_that_the_environment_names(folder: Path) -> None:
    place = data_dir(folder, "elsewhere")
    assert find_server(environ={"CERTCTL_DATA_DIR": str(place)}).api_key == KEY


def test_without_server_json_the_usual_address(folder: Path) -> None:
    (data_dir(folder) / "server.json").unlink()
    assert find_server(environ={}).url == "https://127.0.0.1:8443"


def test_a_data_directory_that_is_passed_goes_before_the_environment(folder: Path) -> None:
    place = data_dir(folder, "elsewhere")
    access = find_server(data_dir=place, environ=ENVIRONMENT)
    assert (access.url, access.api_key) == ("https://127.0.0.1:9443", KEY)
    assert access.ca_bundle == place / "ca.pem"


def test_what_is_passed_goes_before_everything(folder: Path) -> None:
    place = data_dir(folder, "elsewhere")
    access = find_server(
        url="https://other.example.org",
        ca_bundle=folder / "mine.pem",
        data_dir=place,
        environ=ENVIRONMENT,
    )
    assert access.url == "https://other.example.org"
    assert access.ca_bundle == folder / "mine.pem"


def test_a_key_that_lies_here_is_not_sent_elsewhere(folder: Path) -> None:
    data_dir(folder)
    with pytest.raises(NotConfigured) as caught:
        find_server(environ={"CERTCTL_SERVER_URL": "https://ca.example.org"})
    assert "not sent to another server" in caught.value.detail
    with pytest.raises(NotConfigured):
        find_server(url="https://ca.example.org", environ={})


def test_any_folder_may_be_called_data(folder: Path) -> None:
    (folder / "data").mkdir()
    with pytest.raises(NotConfigured) as caught:
        find_server(environ={})
    assert "./data" in caught.value.detail
    assert caught.value.code == "not-configured"


def test_a_missing_key_is_named(folder: Path) -> None:
    place = data_dir(folder)
    (place / "admin.key").unlink()
    with pytest.raises(NotConfigured) as caught:
        find_server(environ={})
    assert "data/admin.key is not there" in caught.value.detail
    assert caught.value.code == "api-key-missing"
    assert find_server(environ={}, need_key=False).api_key is None


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example.org",
        "ca.example.org:8443",
        "https://",
        "https://ca.example.org:no",
        "https://user:secret@ca.example.org",
        "https://ca.example.org/?key=secret",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(NotConfigured) as caught:
        find_server(url=url, environ=ENVIRONMENT)
    assert "https://certctl.example.org:8443" in (caught.value.hint or "")
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": "http://x"}', "\x00"])
def test_a_broken_server_json(folder: Path, content: str) -> None:
    (data_dir(folder) / "server.json").write_text(content)
    with pytest.raises(NotConfigured):
        find_server(environ={})


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "clé"])
def test_a_key_that_is_none_is_not_shown(key: str) -> None:
    with pytest.raises(NotConfigured) as caught:
        find_server(environ={**ENVIRONMENT, "CERTCTL_API_KEY": key})
    assert key not in f"{caught.value.detail} {caught.value.hint}"


def test_the_key_is_not_in_the_repr() -> None:
    assert "environment-key" not in repr(find_server(environ=ENVIRONMENT))
