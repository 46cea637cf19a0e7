"""Names that a certificate may carry: typed, checked once, and in one canonical form.

No message here repeats what was sent (see `domain.errors`); each refusal has its own stable code,
so that a client can tell what to mend.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from certctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The most names that one certificate carries: enough for any service, few enough that no request
#: buys seconds of IDNA checks.
MAX_NAMES = 100
#: Characters of a common name (RFC 5280 appendix A.1, ub-common-name).
MAX_COMMON_NAME = 64

_MAX_DNS = 253  # RFC 1035 §2.3.4: 255 octets on the wire, less the first length and the root
_MAX_LABEL = 63
_MAX_EMAIL = 254  # RFC 5321 §4.5.3.1.3, less the angle brackets
_MAX_LOCAL_PART = 64  # RFC 5321 §4.5.3.1.1
_MAX_URI = 2048


class NameKind(StrEnum):
    """Kinds of names, as profiles, REST and the stored form spell them (RFC 5280 §4.2.1.6)."""

    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """One name in canonical form; its text is `kind:value`.

    DNS names are lower-case A-labels without a trailing dot, IP addresses compressed (RFC 5952),
    e-mail addresses keep their local part and have a canonical domain, URIs are kept as they came.
    """

    kind: NameKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.value}"


_KINDS = {kind.value: kind for kind in NameKind}

# Plain LDH names, which is nearly all of them. What this does not match is not yet wrong: it may be
# an A-label, a U-label or a name with a trailing dot, and the slow path decides and finds words.
# The last label must not be a number: resolvers would read such a name as an IPv4 address.
_LDH_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN_DNS = re.compile(rf"(?:\*\.)?(?:{_LDH_LABEL}\.)*(?![0-9]+\Z|0x[0-9a-f]*\Z){_LDH_LABEL}\Z")
_NUMBER = re.compile(r"[0-9]+\Z|0x[0-9a-f]*\Z")
_LDH_CHARACTERS = re.compile(r"[a-z0-9-]+\Z")
# RFC 5321 §4.1.2 Dot-string
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
# RFC 3986 appendix A: a scheme, then nothing but unreserved, reserved and percent-encoded
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_URI_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*\Z")
_URI_AUTHORITY = re.compile(r"//([^/?#]*)")
_URI_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")
_HOST_REQUIRED = frozenset({"http", "https", "spiffe"})

#: Every way for a name to be refused: the code, what is wrong, what to do about it.
_REFUSALS = {
    "name-empty": ("a name is empty", "leave it out, or write the name"),
    "name-invisible-character": (
        "a name has a control, bidirectional or invisible character",
        "write the name again by hand instead of pasting it",
    ),
    "too-many-names": (
        f"a certificate may carry at most {MAX_NAMES} names",
        "split the names over several certificates",
    ),
    "name-ip-zone": (
        "an IPv6 address has a zone, which has a meaning on one machine only",
        "leave out the % and what follows it",
    ),
    "name-not-an-ip-address": (
        "a name is marked as an IP address and is none",
        "write four decimal numbers without leading zeros, or IPv6; no prefix length",
    ),
    "name-is-an-ip-address": (
        "an IP address is written as a DNS name",
        "write it as `ip:` followed by the address",
    ),
    "name-wildcard-misplaced": (
        "a wildcard stands where none may",
        "only the whole leftmost label of a DNS name may be `*`, as in `*.example.org`",
    ),
    "name-ends-in-a-number": (
        "the last label of a DNS name is a number, so it would be read as an IPv4 address",
        "write an IP address as `ip:` followed by the address, or correct the name",
    ),
    "name-bad-character": (
        "a DNS name has a character other than letters, digits and hyphens",
        "an underscore or a space cannot be in a host name; rename the host",
    ),
    "name-hyphen-misplaced": (
        "a label of a DNS name begins or ends with a hyphen",
        "remove the hyphen",
    ),
    "name-label-too-long": (
        f"a label of a DNS name has more than {_MAX_LABEL} octets",
        "use shorter labels between the dots",
    ),
    "name-idna-invalid": (
        "an internationalized label is not valid under IDNA 2008",
        "write it in lower case and normalization form C, or as the A-label your registry gave you",
    ),
    "name-email-quoted": (
        "a quoted local part cannot be certified",
        "use an address whose local part needs no quotation marks",
    ),
    "name-email-malformed": (
        "an e-mail address needs exactly one @",
        "write it as `user@example.org`, without a display name",
    ),
    "name-email-not-ascii": (
        "the local part of an e-mail address is not ASCII",
        "use an ASCII alias of the mailbox",
    ),
    "name-email-bad-local-part": (
        "the part of an e-mail address before the @ is empty, too long or has a bad character",
        "write it as `user@example.org`, without a display name",
    ),
    "name-label-empty": ("a DNS name has an empty label", "remove the surplus dot"),
    "name-too-long": (
        "a name is too long",
        f"limits in octets: DNS names {_MAX_DNS}, e-mail addresses {_MAX_EMAIL}, URIs {_MAX_URI}",
    ),
    "name-uri-without-scheme": (
        "a URI has no scheme",
        "write an absolute URI, as in `spiffe://example.org/service`",
    ),
    "name-uri-bad-character": (
        "a URI is empty after its scheme or has a character that RFC 3986 does not allow",
        "percent-encode spaces and non-ASCII characters; write the host as A-labels",
    ),
    "name-uri-without-host": (
        "a URI has no host",
        "write the host after the two slashes, as in `spiffe://example.org/service`",
    ),
    "name-uri-bad-host": (
        "the host of a URI is malformed, or a user stands before it",
        "write only a host, and a port if need be, between the slashes",
    ),
}


def parse_name(text: str, field: str) -> Name:
    """Read one name as a person writes it.

    A prefix `dns:`, `ip:`, `email:` or `uri:` (in any case) states the kind. Without one, text with
    `://` is a URI, an IP address is one, text with `@` is an e-mail address, the rest a DNS name.

    Raises InvalidInput at `field`; see `parse_typed`.
    """
    if _is_plain(text):
        return Name(NameKind.DNS, text)
    prefix, colon, rest = text.partition(":")
    if colon and (kind := _KINDS.get(prefix.lower())) is not None:
        return parse_typed(kind, rest, field)
    if "://" in text:
        return parse_typed(NameKind.URI, text, field)
    if _ip_address(text) is not None or _is_zoned(text):
        return parse_typed(NameKind.IP, text, field)
    if "@" in text:
        return parse_typed(NameKind.EMAIL, text, field)
    return parse_typed(NameKind.DNS, text, field)


def parse_typed(kind: NameKind, value: str, field: str) -> Name:
    """Check a value of a known kind, such as one from a subjectAltName, and make it canonical.

    DNS names follow RFC 1123 §2.1 and IDNA 2008 (RFC 5891 §4); a wildcard is one whole leftmost
    label (RFC 9525 §6.3). E-mail addresses are a Dot-string and a host (RFC 5280 §4.2.1.6), URIs
    follow RFC 3986.

    Raises InvalidInput at `field`, with a code `name-…` for each way to be wrong.
    """
    if kind is NameKind.DNS and _is_plain(value):
        return Name(kind, value)
    if not value:
        _refuse("name-empty", field)
    # Unprintable is every control, format (bidi, zero-width), surrogate, unassigned and separator
    # character except the space, which each kind refuses below.
    if not value.isprintable():
        _refuse("name-invisible-character", field)
    match kind:
        case NameKind.DNS:
            return Name(kind, _dns(value, field))
        case NameKind.IP:
            return Name(kind, _ip(value, field))
        case NameKind.EMAIL:
            return Name(kind, _email(value, field))
        case NameKind.URI:
            return Name(kind, _uri(value, field))


def parse_names(texts: Iterable[str], field: str = "names") -> tuple[Name, ...]:
    """Read a list of names, in its order, each once.

    Raises InvalidInput at `field.<index>` for a name, at `field` for more than MAX_NAMES.
    """
    found: dict[Name, None] = {}
    for index, text in enumerate(texts):
        found[parse_name(text, f"{field}.{index}")] = None
        if len(found) > MAX_NAMES:
            _refuse("too-many-names", field)
    return tuple(found)


def decode_stored(text: str) -> Name:
    """Turn `kind:value` from our own storage back into a Name, without checking the value again."""
    kind, _, value = text.partition(":")
    return Name(_KINDS[kind], value)


def name_from_common_name(common_name: str) -> Name | None:
    """The name that a subject's common name stands for, or None when it is only a label.

    Clients once read host names from there, so a common name that is a DNS name or an IP address is
    a name that was asked for. One without a dot is none, unless it is `localhost`: it is more often
    a login name (`alice`) or a word than a host, and would force itself into the names. Nor is an
    e-mail address, which belongs into subjectAltName (RFC 5280 §4.1.2.6).
    """
    if _is_plain(common_name) and ("." in common_name or common_name == "localhost"):
        return Name(NameKind.DNS, common_name)
    if _ip_address(common_name) is not None:
        return parse_typed(NameKind.IP, common_name, "csr")
    if "." not in common_name.rstrip(".") and common_name.lower() != "localhost":
        return None
    try:
        return parse_typed(NameKind.DNS, common_name, "csr")
    except InvalidInput:
        return None


def _refuse(code: str, field: str) -> NoReturn:
    detail, hint = _REFUSALS[code]
    raise InvalidInput(code, detail, field=field, hint=hint)


def _is_plain(text: str) -> bool:
    # Nearly every name is, and then it is canonical: the hot path asks nothing else.
    return len(text) <= _MAX_DNS and _PLAIN_DNS.match(text) is not None and "--" not in text


def _ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # Only text that ends in a hex digit or a colon can be one: spares an exception for most names.
    if not text or text[-1] not in "0123456789abcdefABCDEF:" or "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_zoned(text: str) -> bool:
    address, percent, _ = text.partition("%")
    return bool(percent) and ":" in address and _ip_address(address) is not None


def _ip(value: str, field: str) -> str:
    if _is_zoned(value):
        _refuse("name-ip-zone", field)
    address = _ip_address(value)
    if address is None:
        _refuse("name-not-an-ip-address", field)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    # Spelled out, because Python versions differ in how they write these.
    return address.compressed if mapped is None else f"::ffff:{mapped}"


def _dns(value: str, field: str, *, wildcards: bool = True) -> str:
    if len(value) > _MAX_DNS + 1:  # one more for a trailing dot; before any work on it
        _refuse("name-too-long", field)
    text = value.lower() if value.isascii() else _lower(value, field)
    text = text.removesuffix(".")
    if _is_plain(text) and (wildcards or text[0] != "*"):
        return text
    if _ip_address(text) is not None:
        _refuse("name-is-an-ip-address", field)
    labels = text.split(".")
    stars = 1 if wildcards and labels[0] == "*" and len(labels) > 1 else 0
    rest = labels[stars:]
    if any("*" in label for label in rest) or (stars and _ip_address(".".join(rest)) is not None):
        _refuse("name-wildcard-misplaced", field)
    text = ".".join([*labels[:stars], *(_label(label, field) for label in rest)])
    if len(text) > _MAX_DNS:
        _refuse("name-too-long", field)
    if _NUMBER.match(rest[-1]):
        _refuse("name-ends-in-a-number", field)
    return text


def _lower(value: str, field: str) -> str:
    # Lower-casing is the only mapping done: a letter that would turn into an ASCII one by it (the
    # Kelvin sign) is a different name than the one that was written.
    lowered = value.lower()
    if any(low.isascii() and not high.isascii() for high in value for low in high.lower()):
        _refuse("name-idna-invalid", field)
    return lowered


def _label(label: str, field: str) -> str:
    """Check one label that is not a wildcard, and return its A-label."""
    if not label:
        _refuse("name-label-empty", field)
    if not label.isascii():
        return _a_label(label, field)
    if len(label) > _MAX_LABEL:
        _refuse("name-label-too-long", field)
    if not _LDH_CHARACTERS.match(label):
        _refuse("name-bad-character", field)
    if label[0] == "-" or label[-1] == "-":
        _refuse("name-hyphen-misplaced", field)
    # Hyphens in both the third and fourth place announce an encoding; only `xn--` is one.
    return _a_label(label, field) if label[2:4] == "--" else label


def _a_label(label: str, field: str) -> str:
    if len(label) > _MAX_LABEL:  # an A-label is longer than its U-label
        _refuse("name-label-too-long", field)
    import idna

    try:
        encoded = idna.alabel(label).decode("ascii")
        # alabel() lets an ASCII label through as it is: ulabel() is what checks an `xn--` one.
        idna.ulabel(encoded)
    except idna.IDNAError as error:
        if "too long" in str(error):
            _refuse("name-label-too-long", field)
        _refuse("name-idna-invalid", field)
    return encoded


def _email(value: str, field: str) -> str:
    if value[0] == '"':
        _refuse("name-email-quoted", field)
    if value.count("@") != 1:
        _refuse("name-email-malformed", field)
    local_part, _, domain = value.partition("@")
    if not local_part.isascii():
        _refuse("name-email-not-ascii", field)
    if len(local_part) > _MAX_LOCAL_PART or not _LOCAL_PART.match(local_part):
        _refuse("name-email-bad-local-part", field)
    if not domain:
        _refuse("name-label-empty", field)
    address = f"{local_part}@{_dns(domain, field, wildcards=False)}"
    if len(address) > _MAX_EMAIL:
        _refuse("name-too-long", field)
    return address


def _uri(value: str, field: str) -> str:
    if len(value) > _MAX_URI:
        _refuse("name-too-long", field)
    scheme = _SCHEME.match(value)
    if scheme is None:
        _refuse("name-uri-without-scheme", field)
    rest = value[scheme.end() :]
    if not _URI_CHARACTERS.match(rest) or not rest:
        _refuse("name-uri-bad-character", field)
    authority = _URI_AUTHORITY.match(rest)
    host = authority[1] if authority is not None else None
    if host == "" or (host is None and scheme[0][:-1].lower() in _HOST_REQUIRED):
        _refuse("name-uri-without-host", field)
    if host is not None and not _URI_HOST.match(host):
        _refuse("name-uri-bad-host", field)
    return value
