"""The inventory over REST: filters, orders, cursors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from certctl.storage import inventory
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from certctl.storage.database import Database
    from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.anyio
INVENTORY = "/api/v1/certificates"


async def order(plane: ControlPlane, name: str, **more: Any) -> str:
    body = {"issuer_id": "iss-local", "csr": make_csr(make_key(), [name]), **more}
    answer = await plane.client.post(INVENTORY, json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def ask(plane: ControlPlane, **parameters: Any) -> tuple[list[str], str | None]:
    answer = await plane.client.get(INVENTORY, params=parameters)
    assert answer.status_code == 200, answer.text
    return [line["id"] for line in answer.json()["data"]], answer.json()["next"]


async def refused(plane: ControlPlane, **parameters: Any) -> tuple[str, str]:
    answer = await plane.client.get(INVENTORY, params=parameters)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    return problem["type"].removeprefix("urn:certctl:problem:"), problem["field"]


async def test_filters_and_orders(plane: ControlPlane) -> None:
    short = await order(plane, "shop.example.org", validity_days=5, owner="web")
    wide = await order(plane, "*.example.org", validity_days=90)
    other = await order(plane, "www.example.net", validity_days=30, profile_id="prof-mtls")
    everything = [other, wide, short]
    assert await ask(plane) == (everything, None)
    assert await ask(plane, sort="created_at") == (everything[::-1], None)
    assert await ask(plane, sort="not_after") == ([short, other, wide], None)
    assert await ask(plane, sort="-not_after") == ([wide, other, short], None)
    assert await ask(plane, owner="web") == ([short], None)
    assert await ask(plane, profile_id="prof-mtls") == ([other], None)
    assert await ask(plane, issuer_id="iss-local", status="issued") == (everything, None)
    assert await ask(plane, issuer_id="iss-nothing") == ([], None)
    assert await ask(plane, name="*.example.org") == ([wide, short], None)
    assert await ask(plane, name="shop*") == ([short], None)
    assert await ask(plane, name="www.example.net") == ([other], None)
    for status in ("expired", "pending", "failed", "revoked", "archived"):
        assert await ask(plane, status=status) == ([], None)
    end = (await plane.client.get(f"{INVENTORY}/{other}")).json()["version"]["not_after"]
    assert await ask(plane, expires_before=end) == ([short], None)
    assert await ask(plane, expires_after=end) == ([other, wide], None)


async def test_archived_certificates_are_listed_only_where_asked_for(
    plane: ControlPlane, database: Database
) -> None:
    kept, gone = await order(plane, "a.example.org"), await order(plane, "b.example.org")
    archive = text("UPDATE certificates SET archived_at = 1 WHERE id = :which")
    await database.write(lambda transaction: transaction.execute(archive, {"which": gone}))
    assert await ask(plane) == ([kept], None)
    assert await ask(plane, status="archived") == ([gone], None)
    answer = await plane.client.get(INVENTORY, params={"status": "archived"})
    assert answer.json()["data"][0]["status"] == "archived"


async def test_a_page_may_be_empty_with_more_to_come(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await order(plane, "old.example.org", owner="web")
    for number in range(4):
        await order(plane, f"new-{number}.example.org", owner="db")
    whole, _ = await ask(plane)
    monkeypatch.setattr(inventory, "best_source", lambda *_: None)
    monkeypatch.setattr(inventory, "BOUND", 2)
    pages = []
    page, cursor = await ask(plane, owner="web")
    pages.append(page)
    while cursor is not None:
        page, cursor = await ask(plane, owner="web", cursor=cursor)
        pages.append(page)
    assert pages == [[], [], [wanted]]
    assert whole[-1] == wanted


async def test_a_cursor_belongs_to_its_filter_and_order(plane: ControlPlane) -> None:
    for number in range(3):
        await order(plane, f"{number}.example.org", owner="web")
    first, cursor = await ask(plane, limit=2, owner="web", sort="not_after")
    assert len(first) == 2
    rest, end = await ask(plane, limit=1, owner="web", sort="not_after", cursor=cursor)
    assert (len(rest), end) == (1, None)
    assert not set(rest) & set(first)
    invalid = ("cursor-invalid", "cursor")
    assert await refused(plane, owner="db", sort="not_after", cursor=cursor) == invalid
    assert await refused(plane, owner="web", sort="-not_after", cursor=cursor) == invalid
    assert await refused(plane, cursor=cursor) == invalid
    assert await refused(plane, cursor="WyJjZXJ0LTAxIl0") == invalid


async def test_what_no_filter_is_is_refused(plane: ControlPlane) -> None:
    assert await refused(plane, name="*") == ("name-filter-invalid", "name")
    assert (await refused(plane, name="a..b"))[1] == "name"
    assert (await refused(plane, sort="owner"))[1] == "sort"
    assert (await refused(plane, status="gone"))[1] == "status"
    assert (await refused(plane, owner="a\x00"))[1] == "owner"
    assert (await refused(plane, expires_after="yesterday"))[1] == "expires_after"
    assert (await refused(plane, expires_after="2026-01-01T00:00:00"))[1] == "expires_after"
