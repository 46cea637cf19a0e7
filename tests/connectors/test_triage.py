"""One table for what CAs answer, and the words that operators are shown."""

from __future__ import annotations

import json
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    NoAnswer,
    QuotaExhausted,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownOrder,
)
from certctl.connectors.redaction import MAX_SHOWN, Redaction
from certctl.connectors.transport import Endpoint, Reply, Transports
from certctl.connectors.triage import (
    MAX_RETRY_AFTER,
    Step,
    Words,
    parse_retry_after,
    raise_for_status,
    retry_after,
)
from certctl.domain.clock import from_ms

NOW_MS = 1_780_000_000_000
S, P, V, R = Step.SUBMIT, Step.POLL, Step.REVOKE, Step.READ


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, content
    )


def raised(given_reply: Reply, step: Step = S, **options: Any) -> IssuerError:
    with pytest.raises(IssuerError) as caught:
        raise_for_status(given_reply, step, **options)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("step", Step)
def test_a_success_passes(status: int, step: Step) -> None:
    raise_for_status(reply(status), step, quota=("x",), final=(status,))


TABLE: list[tuple[int, dict[Step, type[IssuerError]]]] = [
    (101, dict.fromkeys(Step, BadAnswer)),
    (301, dict.fromkeys(Step, BadAnswer)),
    (304, dict.fromkeys(Step, BadAnswer)),
    (400, {S: Refused, P: BadAnswer, V: Refused, R: Refused}),
    (401, dict.fromkeys(Step, Unauthorized)),
    (402, dict.fromkeys(Step, QuotaExhausted)),
    (403, dict.fromkeys(Step, Unauthorized)),
    (404, {S: Refused, P: UnknownOrder, V: Refused, R: Refused}),
    (408, dict.fromkeys(Step, RateLimited)),
    (409, {S: Refused, P: BadAnswer, V: Refused, R: Refused}),
    (410, {S: Refused, P: UnknownOrder, V: Refused, R: Refused}),
    (422, {S: Refused, P: BadAnswer, V: Refused, R: Refused}),
    (429, dict.fromkeys(Step, RateLimited)),
    (499, {S: Refused, P: BadAnswer, V: Refused, R: Refused}),
    (500, {S: NoAnswer, P: NoAnswer, V: NoAnswer, R: Unavailable}),
    (503, {S: NoAnswer, P: NoAnswer, V: NoAnswer, R: Unavailable}),
    (599, {S: NoAnswer, P: NoAnswer, V: NoAnswer, R: Unavailable}),
    (600, dict.fromkeys(Step, BadAnswer)),
    (999, dict.fromkeys(Step, BadAnswer)),
]


@pytest.mark.parametrize(
    ("status", "step", "kind"),
    [(status, step, kind) for status, row in TABLE for step, kind in row.items()],
)
def test_the_table(status: int, step: Step, kind: type[IssuerError]) -> None:
    error = raised(reply(status, retry_after="7"), step)
    assert type(error) is kind
    assert f"HTTP {status}" in error.detail
    assert error.retry_after == 7


def test_what_the_vendor_documents_as_final_ends_a_pending_order_only() -> None:
    for status in (403, 404, 410, 422, 429):
        assert type(raised(reply(status), P, final=(status,))) is Refused
    assert type(raised(reply(403), S, final=(403,))) is Unauthorized
    assert type(raised(reply(500), P, final=(422,))) is NoAnswer


@pytest.mark.parametrize("status", [400, 403, 429, 500])
@pytest.mark.parametrize("step", Step)
def test_the_vendors_code_for_an_empty_account_wins(status: int, step: Step) -> None:
    error = raised(reply(status, {"code": "NO_FUNDS", "message": "pay"}), step, quota={"NO_FUNDS"})
    assert type(error) is QuotaExhausted
    assert (error.code, error.detail) == ("NO_FUNDS", f"pay (HTTP {status})")


@pytest.mark.parametrize(
    ("body", "detail", "code"),
    [
        (
            {"type": "urn:x:quota", "title": "No", "detail": "key too weak", "status": 400},
            "No: key too weak",
            "urn:x:quota",
        ),
        ({"type": "about:blank", "title": "Bad Request"}, "Bad Request", None),
        ({"title": "Same", "detail": "Same"}, "Same", None),
        ({"error": "CSR is invalid"}, "CSR is invalid", None),
        ({"error": "invalid_client", "error_description": "no"}, "no", "invalid_client"),
        ({"error": {"message": "weak", "code": 17}}, "weak", "17"),
        ({"error": {"message": "weak", "code": "E17"}}, "weak", "E17"),
        ({"errors": [{"code": "a", "message": "one"}, {"message": "two"}]}, "one; two", "a"),
        ({"errors": ["permission denied"]}, "permission denied", None),
        (
            {"errors": {"san": "not allowed", "n": ["too", "old"]}},
            "san: not allowed; n: too; old",
            None,
        ),
        ({"description": "bad", "errors": {"csr": "weak"}}, "bad; csr: weak", None),
        ({"message": "no"}, "no", None),
        ({"description": "no", "code": -5}, "no", "-5"),
        ({"error_code": 400, "error_message": "no such profile"}, "no such profile", "400"),
        ([{"message": "listed", "code": "c"}], "listed", "c"),
        ("just text", "just text", None),
        ({"message": "same", "error": "same"}, "same", "same"),
        ({"code": "only"}, "", "only"),
        ({"message": ["a", "b"], "detail": 5, "title": None}, "", None),
        ({"code": True, "message": ""}, "", None),
        ({}, "", None),
        ([], "", None),
        (None, "", None),
        (17, "", None),
    ],
)
def test_the_cas_words_are_read_from_the_usual_shapes(
    body: Any, detail: str, code: str | None
) -> None:
    error = raised(reply(400, body))
    assert error.code == code
    if detail:
        assert error.detail == f"{detail} (HTTP 400)"
    else:
        assert error.detail == "HTTP 400 Bad Request" + (f": {code}" if code else "")


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        ("text/plain; charset=utf-8", b" out of\n order ", "out of order (HTTP 500)"),
        ("text/plain", b"", "HTTP 500 Internal Server Error"),
        ("text/html", b"<h1>Oops</h1>", "HTTP 500 Internal Server Error"),
        ("", b"\xff\xfe", "HTTP 500 Internal Server Error"),
        ("text/plain", b"\xff", "\ufffd (HTTP 500)"),
    ],
)
def test_plain_text_is_shown_and_pages_are_not(kind: str, body: bytes, detail: str) -> None:
    assert raised(reply(500, body, content_type=kind)).detail == detail


def test_a_status_without_a_name_is_shown_by_its_number() -> None:
    assert raised(reply(599)).detail == "HTTP 599"


def test_a_connector_may_read_its_vendors_words_itself() -> None:
    def read(answer: Reply) -> Words | None:
        return Words(answer.json()["odd"], "OUT")

    error = raised(reply(400, {"odd": "nothing left"}), words=read, quota=["OUT"])
    assert type(error) is QuotaExhausted
    assert error.detail == "nothing left (HTTP 400)"
    assert (
        raised(reply(400, {"message": "x"}), words=lambda _: None).detail == "HTTP 400 Bad Request"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "detail",
                    "title",
                    "type",
                    "error",
                    "errors",
                    "message",
                    "code",
                    "description",
                    "x",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(json_values, st.integers(100, 999), st.sampled_from(Step))
def test_whatever_json_comes_is_an_issuer_error_that_can_be_shown(
    body: Any, status: int, step: Step
) -> None:
    answer = Reply(status, {}, json.dumps(body).encode(), Redaction(["s3cret"]))
    if 200 <= status < 300:
        raise_for_status(answer, step)
        return
    error = raised(answer, step)
    assert f"HTTP {status}" in error.detail
    assert len(error.detail) <= MAX_SHOWN + 100
    assert len(error.code or "") <= MAX_SHOWN
    assert "s3cret" not in error.detail.lower()


@settings(deadline=None)
@given(st.binary(), st.text())
def test_whatever_bytes_come_are_an_issuer_error(body: bytes, kind: str) -> None:
    raised(Reply(500, {"content-type": kind, "retry-after": kind}, body))


def test_json_nested_too_deep_is_no_crash() -> None:
    assert raised(reply(400, b"[" * 100_000)).detail == "HTTP 400 Bad Request"
    assert raised(reply(400, b'{"error":' * 900 + b'"deep"' + b"}" * 900)).detail


# Retry-After.


@settings(deadline=None)
@given(st.integers(0, 10**14))
def test_seconds_are_seconds_up_to_a_day(seconds: int) -> None:
    assert parse_retry_after(str(seconds), NOW_MS) == min(seconds, MAX_RETRY_AFTER)


@settings(deadline=None)
@given(st.integers(-(10**7), 10**7))
def test_a_date_is_waited_for_up_to_a_day(seconds: int) -> None:
    date = format_datetime(from_ms(NOW_MS + seconds * 1000), usegmt=True)
    assert parse_retry_after(date, NOW_MS) == min(max(seconds, 0), MAX_RETRY_AFTER)


@settings(deadline=None)
@given(st.text())
@example("-5")
@example("1e9")
@example("nan")
@example("٣")
@example("Thu, 99 Foo 99999 99:99:99 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -0000")
def test_anything_else_is_nothing_or_within_its_bounds(text: str) -> None:
    found = parse_retry_after(text, NOW_MS)
    assert found is None or 0 <= found <= MAX_RETRY_AFTER


@pytest.mark.parametrize("text", ["", "-5", "+5", "1e9", "nan", "٣", "soon", "5 s", "0x5"])
def test_garbage_is_nothing(text: str) -> None:
    assert parse_retry_after(text, NOW_MS) is None


def test_a_date_is_held_against_the_cas_own_clock() -> None:
    slow_clock = reply(
        503, retry_after="Fri, 01 Jan 2010 00:02:00 GMT", date="Fri, 01 Jan 2010 00:00:00 GMT"
    )
    assert retry_after(slow_clock) == 120
    assert retry_after(reply(503, retry_after="Fri, 01 Jan 2010 00:02:00 GMT")) == 0
    assert retry_after(reply(503)) is None


# Addresses that answers name.


@pytest.mark.parametrize(
    ("base", "url", "path"),
    [
        ("https://ca.example/v2", "https://ca.example/v2/certificates/abc", "/certificates/abc"),
        ("https://ca.example/v2/", "https://CA.EXAMPLE:443/v2/orders?x=1#part", "/orders?x=1"),
        ("https://ca.example/v2", "/v2/certificates/abc", "/certificates/abc"),
        ("https://ca.example/v2", "//ca.example/v2/a", "/a"),
        ("https://ca.example/v2", "certificates/abc", "/certificates/abc"),
        ("https://ca.example", "/a//b", "/a//b"),
        ("https://ca.example", "https://ca.example", ""),
        ("https://ca.example:8443", "https://ca.example:8443/a%2Fb", "/a%2Fb"),
        ("https://[::1]", "https://[0:0::1]/a", "/a"),
    ],
)
def test_an_address_below_the_base_url_is_a_path(base: str, url: str, path: str) -> None:
    assert Transports().open(Endpoint(base)).path_of(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://ca.example/v2/a",
        "https://evil.example/v2/a",
        "https://ca.example.evil.example/v2/a",
        "https://ca.example:8443/v2/a",
        "https://user@ca.example/v2/a",
        "https://ca.example@evil.example/v2/a",
        "https://evil.example\\@ca.example/v2/a",
        "https:\\\\evil.example/v2",
        "https:/v2/a",
        "https:v2/a",
        "//evil.example/v2/a",
        "///evil.example/v2/a",
        "\\\\evil.example/v2/a",
        "/\\evil.example/v2",
        "/v1/a",
        "/v2x/a",
        "/",
        "/v2/../v1",
        "/v2/./a",
        "/v2/%2e%2e/v1",
        "/v2/%2E./v1",
        "/v2/a%2f..%2fb",
        "/v2/..%5cb",
        "/v2/..;/v1",
        "..",
        "../v1",
        "a/../../v1",
        "/v2/a b",
        "/v2/a\nb",
        "\thttps://ca.example/v2/a",
        "https://ca.example/v2/\u0430",
        "https://ca.exampl\u0435/v2/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://[::1/v2",
        "https://ca.example:x/v2",
        "https://ca.example:/../v2/a",
        "/v2/" + "a" * 5000,
    ],
)
def test_an_address_elsewhere_is_not_followed(url: str) -> None:
    with pytest.raises(BadAnswer):
        Transports().open(Endpoint("https://ca.example/v2")).path_of(url)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["https:", "http:", "/", "//", "\\", "ca.example", "evil.example", "@", ":", "443", ".",
             "..", "%2e", "%2f", "%5c", "v2", "a", "?", "#", ";", " ", "\t", "[", "]", "é"]
        )
    ).map("".join)
)  # fmt: skip
def test_no_address_leads_out_of_the_base_url(url: str) -> None:
    import httpx2

    try:
        path = Transports().open(Endpoint("https://ca.example/v2")).path_of(url)
    except BadAnswer:
        return
    called = "https://ca.example/v2" + path
    # As the standard library reads it, and as the HTTP library does that calls it.
    assert urlsplit(called).netloc == "ca.example"
    parsed = httpx2.URL(called)
    assert (parsed.scheme, parsed.host, parsed.port, parsed.userinfo) == (
        "https", "ca.example", None, b"",
    )  # fmt: skip
    assert parsed.raw_path == b"/v2" or parsed.raw_path.startswith((b"/v2/", b"/v2?"))
    assert "/../" not in f"{parsed.path}/"


# Redaction.


@settings(deadline=None)
@given(
    st.lists(st.text(min_size=4, max_size=12), min_size=1, max_size=4),
    st.lists(st.text(max_size=20), max_size=4),
    st.integers(0, 5_000),
)
def test_no_secret_is_shown_wherever_it_stands(
    secrets: list[str], around: list[str], padding: int
) -> None:
    redact = Redaction(secrets)
    text = "x" * padding + "".join(
        f"{rest}{secret}" for rest in ["", *around] for secret in secrets
    )
    shown = redact(text)
    assert len(shown) <= MAX_SHOWN
    for secret in secrets:
        if secret.strip("* x…") and secret.isprintable():
            assert secret not in shown.replace("***", "\n")


@pytest.mark.parametrize("offset", range(3_985, 4_005))
def test_a_secret_across_the_end_of_what_is_looked_at_is_not_shown_in_part(offset: int) -> None:
    text = " " * offset + "abcdefghijkl" + " tail" * 100
    shown = Redaction(["abcdefghijkl"])(text)
    assert not shown or "***".startswith(shown)


def test_a_longer_secret_goes_before_its_own_beginning() -> None:
    assert Redaction(["secret", "secret-longer"])("a secret-longer b") == "a *** b"
