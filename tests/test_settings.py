"""The server's settings: what is refused, and in which words."""

from __future__ import annotations

import os

import pytest

from certctl.domain.errors import Misconfigured
from certctl.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CERTCTL_"):
            monkeypatch.delenv(name)


def test_status_is_served_on_loopback_at_first() -> None:
    settings = load_settings()
    assert (settings.status_host, settings.status_port) == ("127.0.0.1", 8080)
    assert settings.public_status_url is None
    assert settings.is_local


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://pki.example.com", "http://pki.example.com"),
        ("http://pki.example.com/", "http://pki.example.com"),
        ("http://pki.example.com:8080/pki//", "http://pki.example.com:8080/pki"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("http://192.0.2.1", "http://192.0.2.1"),
    ],
)
def test_the_public_status_url_has_no_slash_at_its_end(
    monkeypatch: pytest.MonkeyPatch, given: str, used: str
) -> None:
    monkeypatch.setenv("CERTCTL_PUBLIC_STATUS_URL", given)
    assert load_settings().public_status_url == used


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://pki.example.com", "to check a certificate in order to check a certificate"),
        ("pki.example.com", "must look like"),
        ("ftp://pki.example.com", "must look like"),
        ("http://", "must look like"),
        ("http:///pki", "must look like"),
        ("http://pki.example.com:0", "must look like"),
        ("http://pki.example.com:99999", "not a URL"),
        ("http://[2001:db8::1", "not a URL"),
        ("http://pki.example.com/?a", "no query and no fragment"),
        ("http://pki.example.com/#", "no query and no fragment"),
        ("http://secret-word@pki.example.com", "no user"),
        ("http://pki.example.com/secret word", "characters that a URL cannot have"),
        ("http://pkî.example.com/", "characters that a URL cannot have"),
        ("http://pki.example.com/\n", "characters that a URL cannot have"),
        ('http://pki.example.com/"', "characters that a URL cannot have"),
        ("", "must look like"),
    ],
)
def test_a_public_status_url_that_would_not_work(
    monkeypatch: pytest.MonkeyPatch, given: str, words: str
) -> None:
    monkeypatch.setenv("CERTCTL_PUBLIC_STATUS_URL", given)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    assert "CERTCTL_PUBLIC_STATUS_URL" in caught.value.detail
    assert words in caught.value.detail
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("server_host", "status_host", "local"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("127.0.0.1", "192.0.2.1", False),
        ("192.0.2.1", "127.0.0.1", False),
        ("::", "::1", False),
        ("pki.example.com", "127.0.0.1", False),
    ],
)
def test_what_counts_as_local(server_host: str, status_host: str, *, local: bool) -> None:
    settings = Settings(server_host=server_host, status_host=status_host)
    assert settings.is_local is local
