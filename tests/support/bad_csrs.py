"""How to make each bad certificate request of `tests/bad_input.toml`.

A recipe is a function here whose name a case states; it returns the text of the CSR. Structures
that no tool writes are put together by hand.
"""

from __future__ import annotations

import base64
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from certctl.ca.authority import subject
from certctl.ca.extensions import key_usage
from certctl.domain.keys import KeyType
from tests.support.pki import make_csr, make_key, make_root

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificateIssuerPrivateKeyTypes,
    )

TABLE = Path(__file__).parent.parent / "bad_input.toml"


@cache
def cases() -> list[dict[str, Any]]:
    """Every case of the table, in its order."""
    found: list[dict[str, Any]] = tomllib.loads(TABLE.read_text("utf-8"))["case"]
    return found


def build(case: dict[str, Any]) -> dict[str, Any]:
    """The REST body of a case: a good request with the case's overrides."""
    if recipe := case.get("recipe"):
        csr = globals()[f"recipe_{recipe}"]()
    else:
        csr = make_csr(
            make_key(),
            case.get("csr_names", ["www.example.org"]),
            case.get("csr_common_name"),
        )
    body: dict[str, Any] = {
        "issuer_id": "iss-local",
        "profile_id": "prof-tls-server",
        "csr": csr,
    }
    if count := case.get("count_names"):
        body["names"] = [f"host-{number}.example.org" for number in range(count)]
    body.update(case.get("body", {}))
    return body


# --- DER by hand


def tlv(tag: int, *parts: bytes) -> bytes:
    """One DER element."""
    value = b"".join(parts)
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + value


def integer(number: int) -> bytes:
    """DER of a positive INTEGER."""
    return tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1))


def common_names(*values: bytes) -> bytes:
    """DER of a subject with one RDN for each value, which is an encoded string."""
    oid = tlv(0x06, bytes.fromhex("550403"))
    return tlv(0x30, *[tlv(0x31, tlv(0x30, oid, value)) for value in values])


def utf8(text: str) -> bytes:
    """DER of a UTF8String."""
    return tlv(0x0C, text.encode())


def pem(der: bytes, label: str = "CERTIFICATE REQUEST") -> str:
    """PEM of DER under a label."""
    text = base64.encodebytes(der).decode("ascii")
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"


def signed(subject_der: bytes = b"\x30\x00", attributes: bytes = b"") -> str:
    """A request of the usual P-256 key with these parts, and a good signature."""
    key = make_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = tlv(0x30, integer(0), subject_der, spki, tlv(0xA0, attributes))
    signature = key.sign(info, ec.ECDSA(hashes.SHA256()))
    algorithm = tlv(0x30, tlv(0x06, bytes.fromhex("2a8648ce3d040302")))
    return pem(tlv(0x30, info, algorithm, tlv(0x03, b"\x00", signature)))


def with_extensions(*extensions: bytes) -> str:
    """A request whose extensionRequest attribute holds these encoded extensions."""
    oid = tlv(0x06, bytes.fromhex("2a864886f70d01090e"))
    return signed(attributes=tlv(0x30, oid, tlv(0x31, tlv(0x30, *extensions))))


def with_spki(spki: bytes) -> str:
    """A request for a key that nobody has; its signature is zeros."""
    info = tlv(0x30, integer(0), b"\x30\x00", spki, b"\xa0\x00")
    algorithm = bytes.fromhex("300d06092a864886f70d01010b0500")
    return pem(tlv(0x30, info, algorithm, tlv(0x03, bytes(257))))


def rsa_spki(modulus: int, exponent: int) -> bytes:
    """DER of the SubjectPublicKeyInfo of an RSA key, however absurd."""
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    key = tlv(0x30, integer(modulus), integer(exponent))
    return tlv(0x30, algorithm, tlv(0x03, b"\x00", key))


def signed_by(key: CertificateIssuerPrivateKeyTypes) -> str:
    """A request by a key of the library, for a common name."""
    builder = x509.CertificateSigningRequestBuilder(subject("www.example.org"))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii")


def _der(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def _good() -> str:
    return make_csr(make_key(), ["www.example.org"])


def _key_pem() -> str:
    key = make_key()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _modulus() -> int:
    key = make_key(KeyType.RSA)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.public_key().public_numbers().n


def _san(*names: x509.GeneralName) -> str:
    return make_csr(make_key(), extensions=[x509.SubjectAlternativeName(list(names))])


# --- what is not one readable request


def recipe_not_pem() -> str:
    return "please"


def recipe_base64_of_nonsense() -> str:
    return base64.b64encode(b"\x30\x05hello").decode("ascii")


def recipe_pem_cut_off() -> str:
    return _good()[:-30]


def recipe_pem_not_base64() -> str:
    return _good().replace("M", "!", 1)


def recipe_two() -> str:
    return _good() + _good()


def recipe_trailing_text() -> str:
    return _good() + "and more"


def recipe_trailing_der() -> str:
    return base64.b64encode(_der(_good()) + b"\x00").decode("ascii")


def recipe_private_key() -> str:
    return _key_pem()


def recipe_private_key_der() -> str:
    return "".join(_key_pem().splitlines()[1:-1])


def recipe_private_key_beside() -> str:
    return _key_pem() + _good()


def recipe_certificate() -> str:
    return make_root()[1].public_bytes(Encoding.PEM).decode("ascii")


def recipe_certificate_der() -> str:
    return base64.b64encode(make_root()[1].public_bytes(Encoding.DER)).decode("ascii")


def recipe_public_key() -> str:
    key = make_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pem(key, "PUBLIC KEY")


# --- signatures


def recipe_wrong_signature() -> str:
    der = _der(_good())
    return pem(der.replace(b"www.example.org", b"www.example.net"))


def recipe_wrong_signature_rsa() -> str:
    der = _der(make_csr(make_key(KeyType.RSA), ["www.example.org"]))
    return pem(der.replace(b"www.example.org", b"www.example.net"))


def recipe_ed25519() -> str:
    return make_csr(make_key(KeyType.ED25519), ["www.example.org"])


def recipe_wrong_signature_ed25519() -> str:
    der = _der(make_csr(make_key(KeyType.ED25519), ["www.example.org"]))
    return pem(der.replace(b"www.example.org", b"www.example.net"))


def _signature_algorithm(last: int) -> str:
    # sha256WithRSAEncryption and its elders differ in the last octet of their identifiers.
    der = _der(make_csr(make_key(KeyType.RSA), ["www.example.org"]))
    oid = bytes.fromhex("06092a864886f70d0101")
    return pem(der.replace(oid + b"\x0b", oid + bytes([last])))


def recipe_md5() -> str:
    return _signature_algorithm(0x04)


def recipe_sha1() -> str:
    return _signature_algorithm(0x05)


def recipe_signature_unknown() -> str:
    return _signature_algorithm(0x63)


# --- keys


def recipe_rsa_1024() -> str:
    return signed_by(rsa.generate_private_key(65537, 1024))  # noqa: S505 - what must be refused


def recipe_rsa_16384() -> str:
    return with_spki(rsa_spki((1 << 16383) | 1, 65537))


def recipe_rsa_exponent_1() -> str:
    return with_spki(rsa_spki(_modulus(), 1))


def recipe_rsa_exponent_even() -> str:
    return with_spki(rsa_spki(_modulus(), 65536))


def recipe_rsa_exponent_long() -> str:
    return with_spki(rsa_spki(_modulus(), (1 << 2000) | 1))


def recipe_p192() -> str:
    return signed_by(ec.generate_private_key(ec.SECP192R1()))


def recipe_p224() -> str:
    return signed_by(ec.generate_private_key(ec.SECP224R1()))


def recipe_secp256k1() -> str:
    return signed_by(ec.generate_private_key(ec.SECP256K1()))


def recipe_brainpool() -> str:
    return signed_by(ec.generate_private_key(ec.BrainpoolP256R1()))


def recipe_dsa() -> str:
    return signed_by(dsa.generate_private_key(1024))  # noqa: S505 - likewise


def recipe_x25519() -> str:
    key = x25519.X25519PrivateKey.generate().public_key()
    return with_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def recipe_key_unknown() -> str:
    return with_spki(tlv(0x30, tlv(0x30, bytes.fromhex("06032b6509")), tlv(0x03, b"\x00abc")))


# --- subjects


def recipe_common_name_long() -> str:
    return signed(common_names(utf8("a" * 65)))


def recipe_common_name_long_a_label() -> str:
    return signed(common_names(utf8("ü" * 30 + "." + "ü" * 30)))


def recipe_common_names_two() -> str:
    return signed(common_names(utf8("a.example.org"), utf8("b.example.org")))


def recipe_common_name_control() -> str:
    return signed(common_names(utf8("www.example.org\x00.example.net")))


def recipe_common_name_bidi() -> str:
    return signed(common_names(utf8("gro.\u202eexample")))


def recipe_common_name_not_utf8() -> str:
    return signed(common_names(tlv(0x0C, b"\xc3\x28")))


def recipe_common_name_wildcard() -> str:
    return signed(common_names(utf8("w*.example.org")))


# --- extensions


def recipe_extensions_unreadable() -> str:
    san = tlv(0x06, bytes.fromhex("551d11"))
    return with_extensions(tlv(0x30, san, tlv(0x04, b"\x30\x03\x82\x05a")))


def recipe_extensions_twice() -> str:
    san = tlv(0x30, tlv(0x06, bytes.fromhex("551d11")), tlv(0x04, tlv(0x30, tlv(0x82, b"a.org"))))
    return with_extensions(san, san)


def recipe_other_name() -> str:
    return _san(x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), utf8("a@example.org")))


def recipe_directory_name() -> str:
    return _san(x509.DirectoryName(subject("www.example.org")))


def recipe_registered_id() -> str:
    return _san(x509.RegisteredID(ObjectIdentifier("1.2.3.4")))


def recipe_ca() -> str:
    return make_csr(
        make_key(),
        ["www.example.org"],
        extensions=[x509.BasicConstraints(ca=True, path_length=None)],
    )


def recipe_cert_sign() -> str:
    wanted = [key_usage(digital_signature=True, key_cert_sign=True)]
    return make_csr(make_key(), ["www.example.org"], extensions=wanted)


def recipe_crl_sign() -> str:
    wanted = [key_usage(digital_signature=True, crl_sign=True)]
    return make_csr(make_key(), ["www.example.org"], extensions=wanted)


def recipe_usage_any() -> str:
    wanted = [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])]
    return make_csr(make_key(), ["www.example.org"], extensions=wanted)


def recipe_usage_code_signing() -> str:
    wanted = [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])]
    return make_csr(make_key(), ["www.example.org"], extensions=wanted)


def recipe_san_ip_as_dns() -> str:
    return _san(x509.DNSName("10.0.0.1"))


def recipe_san_nul() -> str:
    return _san(x509.DNSName("www.example.org\x00.example.net"))


def recipe_san_network() -> str:
    # RFC 5280 §4.2.1.10 writes networks like this, but only into name constraints.
    value = tlv(0x30, tlv(0x87, bytes([10, 0, 0, 0, 255, 0, 0, 0])))
    return with_extensions(tlv(0x30, tlv(0x06, bytes.fromhex("551d11")), tlv(0x04, value)))


def recipe_san_101() -> str:
    return _san(*[x509.DNSName(f"host-{number}.example.org") for number in range(101)])
