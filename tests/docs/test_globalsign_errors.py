"""The operator's page for GlobalSign Atlas: each error that it lists is one that is really said.

Each row has a way to bring it about, against the stand-in and a real server.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificate

from tests.conformance.mischief import Mischief, Operation
from tests.docs.globalsign_stage import strangers_server
from tests.docs.pages import DOCS, read_rows
from tests.support.tls_peer import Hierarchy, pem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.docs.globalsign_stage import Stage

PAGE = (DOCS / "connectors" / "globalsign.md").read_text("utf-8")
_DAY = 86_400

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("socket_enabled")]


def wrong_secret(stage: Stage) -> str:
    return stage.test(stage.atlas, api_secret="0" * 40)


def wrong_secret_at_a_gateway(stage: Stage) -> str:
    return stage.test(stage.headers, api_secret="0" * 40)


def foreign_certificate(stage: Stage) -> str:
    other = stage.headers.new_account()
    stage.headers.end(other)
    certificate, key = other.write(stage.folder, "foreign")
    paths = {"client_cert_path": str(certificate), "client_key_path": str(key)}
    return stage.test(stage.headers, **paths)


def certificate_of_nobody(stage: Stage) -> str:
    with strangers_server(stage, refusing=True) as peer:
        return stage.test(stage.atlas, **peer)


def mismatch(stage: Stage) -> str:
    _, key = stage.atlas.new_account().write(stage.folder, "other")
    return stage.refusal(stage.atlas, client_key_path=str(key))


def no_such_file(stage: Stage) -> str:
    return stage.refusal(stage.atlas, client_cert_path=str(stage.folder / "none.crt"))


def encrypted_key(stage: Stage) -> str:
    account = stage.atlas.new_account()
    certificate, _ = account.write(stage.folder, "encrypted")
    key = load_pem_private_key(account.private_key.encode(), None)
    sealed = stage.folder / "encrypted.pem"
    sealed.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    paths = {"client_cert_path": str(certificate), "client_key_path": str(sealed)}
    return stage.refusal(stage.atlas, **paths)


def not_pem(stage: Stage) -> str:
    account = stage.atlas.new_account()
    file = stage.folder / "client.der"
    certificate = load_pem_x509_certificate(account.certificate.encode())
    file.write_bytes(certificate.public_bytes(Encoding.DER))
    return stage.refusal(stage.atlas, client_cert_path=str(file))


def private_ca(stage: Stage) -> str:
    return stage.test(stage.atlas, server_ca_path=None)


def wrong_bundle(stage: Stage) -> str:
    bundle = stage.folder / "wrong-bundle.pem"
    bundle.write_bytes(pem(Hierarchy("Somebody").root))
    return stage.test(stage.atlas, server_ca_path=str(bundle))


def nobody_listens(stage: Stage) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return stage.test(stage.atlas, api_url=f"https://127.0.0.1:{port}/v2")


def no_such_name(stage: Stage) -> str:
    return stage.test(stage.atlas, api_url="https://atlas.invalid:8443/v2")


def no_login(stage: Stage) -> str:
    return stage.test(stage.headers, dialect="atlas")


def something_else(stage: Stage) -> str:
    with strangers_server(stage) as peer:
        return stage.test(stage.atlas, dialect="auto", **peer)


def only_rsa(stage: Stage) -> str:
    return stage.policy_says(lambda policy: policy["public_key"].update(key_type="RSA"))


def only_long_keys(stage: Stage) -> str:
    return stage.policy_says(lambda policy: policy["public_key"].update(allowed_lengths=[384]))


def foreign_name(stage: Stage) -> str:
    return stage.policy_says(
        lambda policy: policy["san"]["dns_names"].update(list=["\\.example\\.com$"])
    )


def too_many_names(stage: Stage) -> str:
    return stage.policy_says(
        lambda policy: policy["san"]["dns_names"].update(maxcount=1),
        names=("a.example.org", "b.example.org"),
    )


def other_usages(stage: Stage) -> str:
    only_servers = ["^1\\.3\\.6\\.1\\.5\\.5\\.7\\.3\\.1$"]
    return stage.policy_says(
        lambda policy: policy["extended_key_usages"]["ekus"].update(list=only_servers),
        profile_id="prof-tls-client",
    )


def no_organization(stage: Stage) -> str:
    rule = {"presence": "REQUIRED", "format": "."}
    return stage.policy_says(lambda policy: policy["subject_dn"].update(organization=rule))


def other_common_name(stage: Stage) -> str:
    rule = {"presence": "REQUIRED", "format": "^api\\."}
    return stage.policy_says(lambda policy: policy["subject_dn"].update(common_name=rule))


def too_short(stage: Stage) -> str:
    return stage.policy_says(
        lambda policy: policy["validity"].update(secondsmin=20 * _DAY), validity_days=5
    )


def too_long(stage: Stage) -> str:
    stage.atlas.policy["validity"]["secondsmax"] = 30 * _DAY
    issuer = stage.issuer(stage.atlas)
    stage.client.post(f"/api/v1/issuers/{issuer}/test")
    return str(stage.order(issuer, validity_days=60)["detail"])


def wants_signature(stage: Stage) -> str:
    def change(policy: dict[str, Any]) -> None:
        policy["public_key"]["key_format"] = "PKCS8"
        policy["public_key_signature"] = "REQUIRED"

    return stage.policy_says(change)


def no_quota(stage: Stage) -> str:
    stage.atlas.quota = 0
    return stage.problem(stage.order(stage.issuer(stage.atlas)), "ready")


def too_often(stage: Stage) -> str:
    stage.atlas.misbehave(Mischief.RATE_LIMITED, times=None)
    return stage.problem(stage.order(stage.issuer(stage.atlas)), "ready")


def refused_later(stage: Stage) -> str:
    stage.atlas.misbehave(Mischief.REFUSED, on=Operation.POLL)
    return stage.problem(stage.order(stage.issuer(stage.atlas)), "rejected")


def revoked_before(stage: Stage) -> str:
    stage.atlas.misbehave(Mischief.PENDING, on=Operation.POLL)
    answer = stage.order(stage.issuer(stage.atlas))
    order = stage.until(answer["order_id"], "pending")
    stage.atlas.revoke(order["reference"]["serial"])
    return stage.problem(answer, "rejected")


def lost_at_a_gateway(stage: Stage) -> str:
    stage.headers.misbehave(Mischief.RESET_AFTER)
    return stage.problem(stage.order(stage.issuer(stage.headers, dialect="auto")), "uncertain")


#: What each row of the table is brought about by, in the table's order.
PROVOKED: list[Callable[[Stage], str]] = [
    wrong_secret,
    wrong_secret_at_a_gateway,
    foreign_certificate,
    certificate_of_nobody,
    mismatch,
    no_such_file,
    encrypted_key,
    not_pem,
    private_ca,
    wrong_bundle,
    nobody_listens,
    no_such_name,
    no_login,
    something_else,
    only_rsa,
    only_long_keys,
    foreign_name,
    too_many_names,
    other_usages,
    no_organization,
    other_common_name,
    too_short,
    too_long,
    wants_signature,
    no_quota,
    too_often,
    refused_later,
    revoked_before,
    lost_at_a_gateway,
]
ROWS = [row[0].strip("`") for row in read_rows(PAGE, "Troubleshooting")]


def test_the_words_about_credentials_are_in_the_table_too() -> None:
    halves = {row[0].strip("`") for row in read_rows(PAGE, "Authentication")}
    assert halves <= set(ROWS)


@pytest.mark.parametrize(
    ("row", "provoke"),
    list(zip(ROWS, PROVOKED, strict=True)),
    ids=[provoke.__name__ for provoke in PROVOKED],
)
def test_what_the_table_says_is_what_is_said(
    stage: Stage, row: str, provoke: Callable[[Stage], str]
) -> None:
    said = provoke(stage)
    pattern = ".+".join(re.escape(part) for part in row.split("…"))
    assert re.fullmatch(pattern, said), said
