"""The address, the signature and the schedule of a webhook."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from certctl.domain.errors import Misconfigured
from certctl.domain.webhooks import MAX_AGE, is_too_old, next_attempt, parse_target

URL = "https://hooks.example.com/certctl"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@given(
    st.binary(min_size=24, max_size=64),
    st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    st.text(),
)
def test_the_reference_implementation_accepts_what_is_signed(
    key: bytes, event_id: str, words: str
) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    body = words.encode("utf-8", "replace")
    headers = parse_target(URL, secret).headers(event_id, int(time.time()), body)
    assert headers["webhook-id"] == event_id
    Webhook(secret).verify(body, headers, json_parse=False)


def test_the_signature_covers_body_id_and_time() -> None:
    target = parse_target(URL, SECRET)
    now = int(time.time())
    headers = target.headers("evt-1", now, b"{}")
    receiver = Webhook(SECRET)
    receiver.verify(b"{}", headers)
    for altered, body in (
        (headers, b"[]"),
        (headers | {"webhook-id": "evt-2"}, b"{}"),
        (headers | {"webhook-timestamp": str(now - 1)}, b"{}"),
    ):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(body, altered)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://user:pass@hooks.example.com:8443/a?token=t0ken&x=%20",
        "https://[2001:db8::1]/",
        "http://localhost:9000/relay",
        "http://127.0.0.2/",
        "http://[::1]:80/",
    ],
)
def test_addresses_that_can_be_used(url: str) -> None:
    assert parse_target(url, SECRET).url == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hooks.example.com/", "must be https"),
        ("http://127.0.0.1.example.com/", "must be https"),
        ("http://10.0.0.1/", "must be https"),
        ("ftp://hooks.example.com/", "not the address of a web server"),
        ("hooks.example.com/t0ken", "not the address of a web server"),
        ("https:///t0ken", "not the address of a web server"),
        ("https://hooks.example.com:0/", "not the address of a web server"),
        ("https://hooks.example.com:t0ken/", "is not a URL"),
        ("https://[t0ken/", "is not a URL"),
        ("https://hooks.example.com/a b", "characters"),
        ("https://hooks.example.com/ä", "characters"),
        ("https://hooks.example.com/a\r\nHost: x", "characters"),
        ("https://hooks.example.com/#t0ken", "fragment"),
        ("", "not the address of a web server"),
    ],
)
def test_addresses_that_cannot(url: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        parse_target(url, SECRET)
    assert "CERTCTL_WEBHOOK_URL" in caught.value.detail


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (SECRET.removeprefix("whsec_"), "does not begin"),
        ("whsec_", "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes"),
        ("whsec_not base64!", "not base64"),
        (SECRET + "\n", "not base64"),
    ],
)
def test_secrets_that_cannot_be_used(secret: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        parse_target(URL, secret)
    assert "CERTCTL_WEBHOOK_SECRET" in caught.value.detail


@pytest.mark.parametrize("size", [24, 25, 26, 64])
def test_a_secret_may_lack_its_padding(size: int) -> None:
    secret = "whsec_" + base64.b64encode(bytes(size)).decode().rstrip("=")
    assert parse_target(URL, secret).key == bytes(size)


_PARTS = st.sampled_from(["https://", "http://", "whsec_", "@", ":", "#", "[", "/", " ", "é", ""])


@given(st.lists(st.one_of(_PARTS, st.text(max_size=5))), st.lists(st.one_of(_PARTS, st.text())))
def test_neither_is_ever_repeated(url: list[str], secret: list[str]) -> None:
    planted = "t0ken5ecret"
    try:
        shown = repr(parse_target("".join([*url, planted]), "".join([*secret, planted])))
    except Misconfigured as error:
        shown = f"{error.detail} {error.hint} {error!r} {error.__cause__!r}"
    assert planted not in shown


def test_attempts_are_closer_first_then_hourly() -> None:
    waits = [next_attempt(attempts, 0.0, 0.5) for attempts in range(1, 8)]
    assert waits == [5.0, 30.0, 120.0, 600.0, 3600.0, 3600.0, 3600.0]
    assert next_attempt(1, 0.0, 0.5, scale=0.1) == 0.5


@given(
    st.integers(1, 200),
    st.floats(0, 2 * MAX_AGE),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 1e9),
)
def test_no_attempt_is_made_past_the_greatest_age(
    attempts: int, age: float, jitter: float, retry_after: float | None
) -> None:
    wait = next_attempt(attempts, age, jitter, retry_after)
    if wait is None:
        assert age + max(3600 * 1.2, min(retry_after or 0, 86_400)) >= MAX_AGE
        return
    assert wait >= 4.0
    assert wait >= min(retry_after or 0, 86_400)
    assert wait <= max(3600 * 1.2, retry_after or 0)
    assert not is_too_old(age + wait)


def test_all_attempts_together_are_bounded() -> None:
    age, attempts = 0.0, 1
    while (wait := next_attempt(attempts, age, 0.0)) is not None:
        age += wait
        attempts += 1
    assert attempts < 100
