"""A CA from the operator's files, and everything that can be wrong with them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certctl.ca.files import load_sub_ca
from certctl.domain.errors import Misconfigured
from certctl.domain.keys import KeyType
from certctl.pki.certificates import chain_pem, to_pem
from tests.support.pki import NOW, NOW_MS, make_ca, make_key, make_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PASSWORD = "correct horse"


def key_pem(
    key: Any, form: PrivateFormat = PrivateFormat.PKCS8, password: str | None = None
) -> str:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    text: bytes = key.private_bytes(Encoding.PEM, form, encryption)
    return text.decode()


def write(folder: Path, cert: str, key: str, mode: int = 0o600) -> tuple[str, str]:
    cert_path, key_path = folder / "ca.pem", folder / "ca.key"
    cert_path.write_text(cert)
    key_path.write_text(key)
    key_path.chmod(mode)
    return str(cert_path), str(key_path)


def sub(key_type: KeyType = KeyType.P256, **wrong: Any) -> str:
    return to_pem(make_ca(make_key(key_type, which=1), make_root(), **wrong))


def good_key() -> str:
    return key_pem(make_key(which=1))


@pytest.mark.parametrize(
    ("key_type", "form"),
    [(key_type, PrivateFormat.PKCS8) for key_type in KeyType]
    + [(KeyType.RSA, PrivateFormat.TraditionalOpenSSL)]
    + [(KeyType.P384, PrivateFormat.TraditionalOpenSSL)],
)
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_keys_load(
    tmp_path: Path, key_type: KeyType, form: PrivateFormat, password: str | None
) -> None:
    key = make_key(key_type, which=1)
    paths = write(tmp_path, sub(key_type), key_pem(key, form, password))
    authority = load_sub_ca(*paths, password, NOW_MS)
    assert [certificate.subject.rfc4514_string() for certificate in authority.chain] == [
        "CN=Sub CA"
    ]


def test_chain_is_kept_and_other_text_ignored(tmp_path: Path) -> None:
    ca = make_ca(make_key(which=1), make_root())
    text = "the CA, then its root\n" + chain_pem([ca, make_root()[1]])
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    authority = load_sub_ca(*write(tmp_path, text, parameters + good_key()), None, NOW_MS)
    assert authority.chain == (ca, make_root()[1])


def test_links_are_followed(tmp_path: Path) -> None:
    cert_path, key_path = write(tmp_path, sub(), good_key())
    link = tmp_path / "link.key"
    link.symlink_to(key_path)
    assert load_sub_ca(cert_path, str(link), None, NOW_MS).chain


def test_certificate_without_key_identifier_is_accepted(tmp_path: Path) -> None:
    paths = write(tmp_path, sub(key_identifier=False), good_key())
    assert load_sub_ca(*paths, None, NOW_MS).chain


def _weak_key() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what must be refused
    return to_pem(make_ca(key, make_root())), key_pem(key)


def _broken_chain() -> str:
    return chain_pem([make_ca(make_key(which=1), make_root()), make_root(KeyType.ED25519)[1]])


@pytest.mark.parametrize(
    ("code", "field", "make"),
    [
        ("ca-certificate-no-pem", "cert_path", lambda: ("", good_key())),
        ("ca-certificate-no-pem", "cert_path", lambda: (good_key(), good_key())),
        ("ca-certificate-unreadable", "cert_path", lambda: (sub()[:-30], good_key())),
        ("ca-not-a-ca", "cert_path", lambda: (sub(ca=False), good_key())),
        ("ca-no-cert-sign", "cert_path", lambda: (sub(cert_sign=False), good_key())),
        ("ca-expired", "cert_path", lambda: (sub(not_after=NOW - timedelta(1)), good_key())),
        ("ca-not-yet-valid", "cert_path", lambda: (sub(not_before=NOW + timedelta(1)), good_key())),
        ("ca-key-too-short", "cert_path", _weak_key),
        ("ca-chain-broken", "cert_path", lambda: (_broken_chain(), good_key())),
        ("ca-file-too-large", "cert_path", lambda: ("x" * 1_000_001, good_key())),
        ("ca-key-mismatch", "key_path", lambda: (sub(), key_pem(make_key()))),
        ("ca-key-no-pem", "key_path", lambda: (sub(), "")),
        ("ca-key-no-pem", "key_path", lambda: (sub(), sub())),
        (
            "ca-key-unreadable",
            "key_path",
            lambda: (sub(), good_key().replace("MIG", "MIX", 1)),
        ),
        (
            "ca-key-algorithm",
            "key_path",
            lambda: (sub(), key_pem(dsa.generate_private_key(1024))),  # noqa: S505 - likewise
        ),
        (
            "ca-key-password-missing",
            "key_password",
            lambda: (sub(), key_pem(make_key(which=1), password=PASSWORD)),
        ),
    ],
)
def test_refusals(
    tmp_path: Path, code: str, field: str, make: Callable[[], tuple[str, str]]
) -> None:
    paths = write(tmp_path, *make())
    with pytest.raises(Misconfigured) as caught:
        load_sub_ca(*paths, None, NOW_MS)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert str(tmp_path) in caught.value.detail
    assert "PRIVATE" not in caught.value.detail


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_wrong_password(tmp_path: Path, form: PrivateFormat) -> None:
    paths = write(tmp_path, sub(), key_pem(make_key(which=1), form, PASSWORD))
    with pytest.raises(Misconfigured) as caught:
        load_sub_ca(*paths, "wrong one", NOW_MS)
    assert caught.value.code == "ca-key-password-wrong"
    assert "wrong one" not in caught.value.detail


def test_password_for_a_plain_key(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_sub_ca(*write(tmp_path, sub(), good_key()), PASSWORD, NOW_MS)
    assert caught.value.code == "ca-key-not-encrypted"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o602])
def test_key_open_to_others(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_sub_ca(*write(tmp_path, sub(), good_key(), mode), None, NOW_MS)
    assert caught.value.code == "ca-key-permissions"
    assert f"{mode:04o}" in caught.value.detail


@pytest.mark.parametrize("missing", ["ca.pem", "ca.key"])
def test_missing_file(tmp_path: Path, missing: str) -> None:
    paths = write(tmp_path, sub(), good_key())
    (tmp_path / missing).unlink()
    with pytest.raises(Misconfigured) as caught:
        load_sub_ca(*paths, None, NOW_MS)
    assert caught.value.code == "ca-file-unreadable"
    assert missing in caught.value.detail


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_sub_ca(str(tmp_path), str(tmp_path), None, NOW_MS)
    assert caught.value.code == "ca-file-unreadable"
