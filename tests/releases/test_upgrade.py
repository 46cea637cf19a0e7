"""A database that an earlier release wrote is upgraded, and nothing in it is lost.

On SQLite it is the file as that release left it; on PostgreSQL its rows, in the tables as that
release's migrations made them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from sqlalchemy import delete, insert, select

from certctl.api.status import StatusApp
from certctl.domain.revocations import RevocationReason
from certctl.lifecycle.assembly import free_leases
from certctl.lifecycle.server_certificate import OwnCertificate, ServerTls
from certctl.pki.certificates import split_pem_certificates
from certctl.storage.issuers import list_issuers
from certctl.storage.migrate import HEAD, current_revision
from certctl.storage.tables import certificate_names
from tests.releases.history import LOCAL, csr
from tests.releases.kept import PRESENT, VALUES, KeptRelease, kept_releases, stored_values
from tests.releases.upgrading import (
    API,
    Upgraded,
    contents,
    fetch,
    fetch_all,
    without_what_came_later,
)
from tests.support.status import Issued, StatusService

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.anyio

CHANGES = Path(__file__).parents[2] / "CHANGELOG.md"


@pytest.fixture
def status(upgraded: Upgraded, plane: ControlPlane) -> StatusService:
    """The status service on it."""
    its, catalog = plane.services.use_cases, plane.services.catalog
    app = StatusApp(catalog, its.crls, its.ocsp, upgraded.clock)
    return StatusService(upgraded.database, catalog, its, app)


def test_every_release_is_kept() -> None:
    kept = {release.name for release in kept_releases()}
    assert kept
    assert kept >= set(re.findall(r"^## (\d\S*) \(", CHANGES.read_text(), re.MULTILINE))


def test_a_kept_database_is_small_and_holds_every_state_that_its_release_knew(
    release: KeptRelease,
) -> None:
    assert release.database.stat().st_size < 300_000
    known = release.manifest.values
    assert stored_values(release.database, known) == known
    if release.name == PRESENT:  # so that what is new in a release is in what is kept of it
        assert known == VALUES
    for column, values in known.items():  # rows stay, so what was known once stays known
        assert set(values) <= set(VALUES[column])


async def test_every_row_is_there_as_it_was(upgraded: Upgraded) -> None:
    engine = upgraded.database._writing
    assert current_revision(engine) == HEAD
    before, now = upgraded.before, contents(engine)
    if "audit-key" not in {row["name"] for row in before["sealed_values"]}:  # 0.1.0 derived it
        now["sealed_values"] = [row for row in now["sealed_values"] if row["name"] != "audit-key"]
    assert {table: len(now[table]) for table in before} == {
        table: len(rows) for table, rows in before.items()
    }
    same = without_what_came_later(now, before)
    for table, rows in before.items():
        assert rows, f"{table} is empty, which proves nothing"
        assert sorted(map(str, same[table])) == sorted(map(str, rows)), table


async def test_names_are_found_from_their_end(upgraded: Upgraded) -> None:
    """Those that were there, and those that the older version writes while it is replaced."""
    engine = upgraded.database._writing
    with engine.begin() as connection:
        names = connection.execute(select(certificate_names)).all()
        assert names
        assert all(name.reversed == name.value[::-1] for name in names)
        if engine.dialect.name == "postgresql":
            older = {"value": "older.test", "certificate_id": names[0].certificate_id}
            connection.execute(insert(certificate_names).values(kind="dns", **older))
            late = certificate_names.c.value == older["value"]
            found = connection.execute(select(certificate_names).where(late)).one()
            assert found.reversed == "tset.redlo"
            connection.execute(delete(certificate_names).where(late))


async def test_every_certificate_is_shown(upgraded: Upgraded, plane: ControlPlane) -> None:
    now = upgraded.clock.now_ms()
    rows = upgraded.before["certificates"]
    listed = await fetch_all(plane.client, "certificates")
    assert set(listed) == {row["id"] for row in rows}
    for row in rows:
        shown = await fetch(plane.client, f"certificates/{row['id']}")
        over = row["status"] == "issued" and row["not_after"] < now
        assert shown["status"] == ("expired" if over else row["status"])
        assert shown["status"] == listed[row["id"]]["status"]
        for name in ("owner", "issuer_id", "profile_id", "common_name"):
            assert shown[name] == row[name]
        assert (shown["version"] or {}).get("id") == row["version_id"]
        assert (shown["renew_at"] is None) == (row["renew_at"] is None)
    assert "expired" in {one["status"] for one in listed.values()}


async def test_every_version_is_shown(upgraded: Upgraded, plane: ControlPlane) -> None:
    revocations = {row["version_id"]: row["id"] for row in upgraded.before["revocations"]}
    rows = {row["id"]: row for row in upgraded.before["versions"]}
    seen = set()
    for certificate in {row["certificate_id"] for row in rows.values()}:
        shown = await fetch_all(plane.client, f"certificates/{certificate}/versions")
        for version_id, version in shown.items():
            leaf = x509.load_pem_x509_certificate(version["certificate"].encode())
            assert leaf == x509.load_der_x509_certificate(rows[version_id]["der"])
            assert version["serial"] == f"{leaf.serial_number:x}"
            leaf.verify_directly_issued_by(split_pem_certificates(version["chain"])[0])
            assert (version["revocation"] or {}).get("id") == revocations.get(version_id)
        seen |= set(shown)
    assert seen == set(rows)


async def test_every_order_is_shown(upgraded: Upgraded, plane: ControlPlane) -> None:
    rows = upgraded.before["orders"]
    listed = await fetch_all(plane.client, "orders")
    assert set(listed) == {row["id"] for row in rows}
    for row in rows:
        shown = await fetch(plane.client, f"orders/{row['id']}")
        history = [one for one in upgraded.before["order_attempts"] if one["order_id"] == row["id"]]
        history.sort(key=lambda one: int(one["number"]))
        assert [(one["action"], one["outcome"]) for one in shown["history"]] == [
            (one["action"], one["outcome"]) for one in history
        ]
        for name in ("state", "problem", "version_id", "certificate_id", "attempts"):
            assert shown[name] == listed[row["id"]][name] == row[name]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("revocations", ["action", "state", "reason", "problem", "serial", "bulk_id"]),
        ("bulk-revocations", ["state", "total", "done", "reason", "actor"]),
    ],
)
async def test_every_revocation_is_shown(
    upgraded: Upgraded, plane: ControlPlane, path: str, fields: list[str]
) -> None:
    shown = await fetch_all(plane.client, path)
    assert {key: [one[name] for name in fields] for key, one in shown.items()} == {
        row["id"]: [row[name] for name in fields] for row in upgraded.before[path.replace("-", "_")]
    }


@pytest.mark.parametrize("noun", ["issuers", "profiles"])
async def test_issuers_and_profiles_are_as_they_were(
    upgraded: Upgraded, plane: ControlPlane, noun: str
) -> None:
    shown = {one["id"]: one for one in (await fetch(plane.client, noun))["data"]}
    rows = upgraded.before[noun]
    assert {row["enabled"] for row in rows} == {True, False}
    for row in rows:
        one = shown[row["id"]]
        assert (one["name"], one["enabled"]) == (row["name"], row["enabled"])
        if noun == "issuers":
            assert one["status"] == ("ready" if row["enabled"] else "disabled"), one["problem"]


async def test_what_is_sealed_opens(upgraded: Upgraded, plane: ControlPlane) -> None:
    manifest, catalog = upgraded.release.manifest, plane.services.catalog
    records = await upgraded.database.read(
        lambda connection: list_issuers(connection, upgraded.database.keyring)
    )
    assert {record.id: record.secrets for record in records if record.secrets} == (
        manifest.issuer_secrets
    )
    for issuer, fingerprint in manifest.ca_fingerprints.items():
        answer = await plane.client.get(f"{API}/issuers/{issuer}/ca")
        ca = split_pem_certificates(answer.text)[0]
        assert ca.fingerprint(hashes.SHA256()).hex() == fingerprint
        if not catalog.issuer(issuer).record.enabled:
            continue
        body = {"issuer_id": issuer, "csr": csr("new.example.org")}
        made = await plane.client.post(f"{API}/certificates", json=body)
        assert made.status_code == 201, made.text
        leaf = x509.load_pem_x509_certificate(made.json()["version"]["certificate"].encode())
        leaf.verify_directly_issued_by(ca)


async def test_the_server_keeps_its_own_certificate(
    upgraded: Upgraded, plane: ControlPlane
) -> None:
    manifest, its = upgraded.release.manifest, plane.services
    own = OwnCertificate(
        upgraded.database,
        its.catalog,
        its.use_cases.enrolment,
        upgraded.clock,
        manifest.server_names,
    )
    leaf = split_pem_certificates((await own.current()).certificates)[0]
    assert f"{leaf.serial_number:x}" == manifest.server_serial
    await ServerTls(own, upgraded.data_dir).load()  # with its key, or it could not


async def test_api_keys_are_what_they_were(upgraded: Upgraded, plane: ControlPlane) -> None:
    answers = {}
    for name, key in upgraded.release.manifest.api_keys.items():
        headers = {"Authorization": f"Bearer {key}"}
        answers[name] = (await plane.client.get(f"{API}/orders", headers=headers)).status_code
    assert answers == {"admin": 200, "active": 200, "expired": 401, "revoked": 401}


async def test_a_request_that_is_repeated_is_not_carried_out_again(
    upgraded: Upgraded, plane: ControlPlane
) -> None:
    repeatable = upgraded.release.manifest.repeatable
    assert len(repeatable) == len(upgraded.before["idempotency_keys"])
    for key, made in repeatable.items():
        headers = {"Idempotency-Key": key}
        again = await plane.client.post(f"{API}/certificates", json=made["body"], headers=headers)
        assert again.is_success, again.text
        assert again.json()["id"] == made["certificate_id"]
    assert len(await fetch_all(plane.client, "certificates")) == len(
        upgraded.before["certificates"]
    )


async def test_the_audit_log_verifies_and_goes_on(upgraded: Upgraded, plane: ControlPlane) -> None:
    async def verify() -> dict[str, Any]:
        report: dict[str, Any] = (await plane.client.post(f"{API}/audit/verify")).json()
        assert report["problems"] == []
        return report

    before = await verify()
    assert before["chains"] >= len(upgraded.before["audit_chains"]) > 1
    assert before["events"] >= len(upgraded.before["audit_events"])
    body = {"issuer_id": LOCAL, "csr": csr("new.example.org")}
    assert (await plane.client.post(f"{API}/certificates", json=body)).status_code == 201
    assert (await verify())["events"] > before["events"]


async def test_crls_go_on_from_their_numbers(upgraded: Upgraded, status: StatusService) -> None:
    def number(crl: x509.CertificateRevocationList) -> int:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    kept = {row["issuer_id"]: row for row in upgraded.before["crls"]}
    for issuer, row in kept.items():
        served = await status.get(f"crl/{issuer}")
        assert served.body == row["der"]
        assert number(x509.load_der_x509_crl(served.body)) == row["number"] > 1
    await free_leases(upgraded.database)
    assert await status.make_crls() == 1  # what a bulk revocation revoked is in none yet
    made = await status.crl()
    assert number(made) == kept[LOCAL]["number"] + 1
    rows = [row for row in upgraded.before["revocations"] if row["issuer_id"] == LOCAL]
    assert {entry.serial_number for entry in made} == {int(row["serial"], 16) for row in rows}


async def test_ocsp_says_what_it_said(upgraded: Upgraded, status: StatusService) -> None:
    reasons = {row["version_id"]: row["reason"] for row in upgraded.before["revocations"]}
    said = set()
    for row in upgraded.before["versions"]:
        if row["issuer_id"] != LOCAL:
            continue
        leaf = x509.load_der_x509_certificate(row["der"])
        answer = await status.ask(Issued(row["certificate_id"], row["id"], leaf, status.ca))
        if row["id"] not in reasons:
            assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
            continue
        assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
        reason = answer.revocation_reason  # RFC 5280 §5.3.1: unspecified is left out
        assert ("unspecified" if reason is None else reason.value) == reasons[row["id"]]
        said.add(reasons[row["id"]])
    assert said == set(RevocationReason)
