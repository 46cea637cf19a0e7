"""Names as subjectAltName has them (RFC 5280 §4.2.1.6), and as we have them."""

from __future__ import annotations

from ipaddress import ip_address

from cryptography import x509

from certctl.domain.names import Name, NameKind

#: Our kind for each of the library's; a kind that is missing here is not certified.
KIND_OF: dict[type[x509.GeneralName], NameKind] = {
    x509.DNSName: NameKind.DNS,
    x509.IPAddress: NameKind.IP,
    x509.RFC822Name: NameKind.EMAIL,
    x509.UniformResourceIdentifier: NameKind.URI,
}


def general_name(name: Name) -> x509.GeneralName:
    """The library's form of a canonical name."""
    match name.kind:
        case NameKind.DNS:
            return x509.DNSName(name.value)
        case NameKind.IP:
            return x509.IPAddress(ip_address(name.value))
        case NameKind.EMAIL:
            return x509.RFC822Name(name.value)
        case NameKind.URI:
            return x509.UniformResourceIdentifier(name.value)
