"""A scope says of what is stored what it says of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from certctl.domain.access import Scope, parse_scope_name
from certctl.domain.names import Name, parse_name
from certctl.storage.certificates import certificate_rows
from certctl.storage.scopes import decode_scope, encode_scope, reaches_certificate, within
from certctl.storage.tables import certificates
from tests.domain.test_access import SCOPES
from tests.storage.samples import seed_parents

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

#: Names and common names that come close to each other, and to what SQL might take for a pattern.
CERTIFICATES: list[tuple[list[str], str | None]] = [
    (["a.example.org"], None),
    (["a.example.org"], "a.example.org"),
    (["a.example.org"], "A.EXAMPLE.org"),
    (["a.example.org"], "a label"),
    (["a.example.org", "b.shop.example.org"], "b.shop.example.org"),
    (["a.example.org", "b.example.com"], None),
    (["*.example.org"], None),
    (["example.org"], None),
    (["notexample.org"], "notexample.org"),
    (["ip:10.0.0.1"], "10.0.0.1"),
    (["ip:10.0.0.1", "a.example.org"], None),
    (["email:a@example.org"], "a@example.org"),
    (["email:Alice@example.org"], "alice@example.org"),
    (["uri:spiffe://example.org/x"], None),
    (["uri:http://x/dns:a.example.org"], None),
    (["uri:http://x/a.example.org"], "http://x/a.example.org"),
    (["kb.example.org"], "\u212ab.example.org"),
    ([], "a.example.org"),
    ([], "a label"),
    ([], None),
]
PATTERNS = [
    "a.example.org",
    "kb.example.org",
    "*.example.org",
    "*.shop.example.org",
    "*.org",
    "ip:10.0.0.1",
    "email:a@example.org",
    "email:Alice@example.org",
    "uri:spiffe://example.org/x",
]


def parsed(names: list[str]) -> list[Name]:
    return [parse_name(name, "names") for name in names]


async def seed(database: Database) -> None:
    await database.write(seed_parents)
    for number, (names, common_name) in enumerate(CERTIFICATES):
        rows = certificate_rows(
            certificate_id=f"cert-{number:02}",
            issuer_id="iss-a",
            profile_id="prof-a",
            owner=None,
            common_name=common_name,
            names=parsed(names),
            version=None,
            renew_at=None,
            now_ms=1,
        )
        await database.append(rows)


@given(SCOPES)
def test_a_scope_is_stored_whole(scope: Scope) -> None:
    assert decode_scope(encode_scope(scope)) == scope
    assert decode_scope(encode_scope(None)) is None


async def test_sql_and_python_agree(database: Database) -> None:
    await seed(database)

    def look(connection: Connection) -> None:
        @settings(max_examples=150, deadline=None)
        @given(
            names=st.none() | st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
            issuers=st.sampled_from([None, ["iss-a"], ["iss-b"]]),
            profiles=st.sampled_from([None, ["prof-a", "prof-b"], ["prof-b"]]),
        )
        def compare(
            names: list[str] | None, issuers: list[str] | None, profiles: list[str] | None
        ) -> None:
            scope = Scope(
                issuers=None if issuers is None else frozenset(issuers),
                profiles=None if profiles is None else frozenset(profiles),
                names=None
                if names is None
                else tuple(parse_scope_name(text, "names") for text in names),
            )
            statement = select(certificates.c.id).where(*within(scope, connection.dialect))
            found = set(connection.execute(statement).scalars())
            expected = {
                f"cert-{number:02}"
                for number, (texts, common_name) in enumerate(CERTIFICATES)
                if scope.admits_issuer("iss-a")
                and scope.admits_profile("prof-a")
                and scope.admits_names(parsed(texts), common_name)
            }
            assert found == expected
            assert reaches_certificate(connection, "cert-00", scope) is ("cert-00" in expected)
            assert not reaches_certificate(connection, "cert-99", scope)

        compare()

    await database.read(look)
