"""The key pair of exports."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certctl.pki.audit_keys import ExportKey, ExportSigner


def test_what_is_signed_is_known_by_the_public_half() -> None:
    signer = ExportSigner(b"k" * 32)
    public = ExportKey.from_pem(signer.public.pem.encode())
    assert public.key_id == signer.public.key_id
    signature = signer.sign(b"text")
    assert public.is_signed(b"text", signature)
    assert not public.is_signed(b"texts", signature)
    assert not public.is_signed(b"text", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not public.is_signed(b"text", b"")
    assert not ExportSigner(b"l" * 32).public.is_signed(b"text", signature)


def test_the_pair_stays_the_same() -> None:
    """A key that an auditor has kept must fit the exports of all later versions."""
    assert ExportSigner(b"k" * 32).public.key_id == "9448c85fd4d82ef5"


def test_the_audit_key_is_not_shown() -> None:
    key = bytes(range(32))
    assert key.hex() not in ExportSigner(key).public.pem
    assert key.hex() not in repr(vars(ExportSigner(key)))


def test_a_key_of_another_kind_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="Ed25519"):
        ExportKey.from_pem(pem)


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\n"])
def test_what_is_no_key(pem: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the library says
        ExportKey.from_pem(pem)
