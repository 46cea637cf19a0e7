"""Patterns of names: what a profile allows of each kind.

| kind  | pattern                 | allows                                                 |
|-------|-------------------------|--------------------------------------------------------|
| dns   | `www.example.org`       | that name                                              |
|       | `*.example.org`         | any number of labels below it, one at least            |
| ip    | `10.0.0.0/8`, `10.0.0.1`| addresses in that network, that address                |
| email | `@example.org`          | mailboxes of that domain, which may have stars as well |
| uri   | `spiffe://example.org`  | URIs of that scheme and host, which may have stars     |
|       | `uri:example.org`       | URIs of that host, whatever their scheme               |
| each  | `kind:*`                | every name of that kind                                |

No pattern with a star allows the name below which it looks: `*.example.org` is not `example.org`.
A wildcard name is its labels: the name `*.example.org` stands below `example.org`. Scopes of API
keys and filters read a star in the same way.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain.errors import InvalidInput
from certctl.domain.names import Name, NameKind, parse_typed

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The most patterns that a profile has.
MAX_PATTERNS = 100

_KINDS = {kind.value: kind for kind in NameKind}
_ANY = "*"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
#: A URI that names passed: its scheme, and its host without a port. There is no user before it.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._-]+)(?::[0-9]*)?(?=[/?#]|\Z)")


_BELOW = "*."


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain in canonical form: it, or with `below` every name below it."""

    name: str
    below: bool

    def __str__(self) -> str:
        return f"{_BELOW if self.below else ''}{self.name}"

    def covers(self, host: str) -> bool:
        """Whether a canonical DNS name is allowed."""
        return host.endswith(f".{self.name}") if self.below else host == self.name


@dataclass(frozen=True, slots=True)
class NamePattern:
    """One pattern; its text is `kind:value`. Without domain and network it allows the whole kind.

    `network` is that of IP patterns, `domain` of all others, `scheme` (lower case) of URIs where
    the scheme matters.
    """

    kind: NameKind
    domain: Domain | None = None
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    scheme: str | None = None

    def __str__(self) -> str:
        if self.network is not None:
            address, _, length = str(self.network).partition("/")
            whole = int(length) == self.network.max_prefixlen
            return f"{self.kind.value}:{address if whole else self.network}"
        if self.domain is None:
            return f"{self.kind.value}:{_ANY}"
        match self.kind:
            case NameKind.EMAIL:
                return f"{self.kind.value}:@{self.domain}"
            case NameKind.URI if self.scheme is not None:
                return f"{self.kind.value}:{self.scheme}://{self.domain}"
            case _:
                return f"{self.kind.value}:{self.domain}"

    def covers(self, name: Name) -> bool:
        """Whether the pattern allows a name."""
        if name.kind is not self.kind:
            return False
        if self.network is not None:
            return ipaddress.ip_address(name.value) in self.network
        if self.domain is None:
            return True
        match self.kind:
            case NameKind.EMAIL:
                return self.domain.covers(name.value.rpartition("@")[2])
            case NameKind.URI:
                return self._covers_uri(self.domain, name.value)
            case _:
                return self.domain.covers(name.value)

    def _covers_uri(self, domain: Domain, uri: str) -> bool:
        parts = _URI.match(uri)
        if parts is None or (self.scheme is not None and parts[1].lower() != self.scheme):
            return False
        try:
            host = parse_typed(NameKind.DNS, parts[2], "names").value
        except InvalidInput:  # an IP address, or what is no host name: no domain has it
            return False
        return domain.covers(host)


def parse_pattern(text: str, field: str) -> NamePattern:
    """Read one pattern as a person writes it.

    A prefix `dns:`, `ip:`, `email:` or `uri:` (in any case) states the kind. Without one, text with
    `://` is for URIs, a network or an address for IP addresses, text with `@` for e-mail addresses,
    the rest for DNS names.

    Raises InvalidInput at `field`: `pattern-…` for what is wrong with a pattern, `name-…` for what
    is wrong with the domain in it.
    """
    prefix, colon, rest = text.partition(":")
    kind = _KINDS.get(prefix.lower()) if colon else None
    if kind is None:
        kind, rest = _kind_of(text), text
    if rest == _ANY:
        return NamePattern(kind)
    match kind:
        case NameKind.IP:
            return NamePattern(kind, network=_network(rest, field))
        case NameKind.EMAIL:
            local_part, at, domain = rest.rpartition("@")
            if local_part or not at:
                raise InvalidInput(
                    "pattern-email-malformed",
                    "a pattern for e-mail addresses is their domain, after an @",
                    field=field,
                    hint="write `@example.org`, or `@*.example.org` for all below it",
                )
            return NamePattern(kind, _domain(domain, field))
        case NameKind.URI:
            scheme = _SCHEME.match(rest)
            host = rest if scheme is None else rest[scheme.end() :]
            if any(character in host for character in "/?#:@"):
                raise InvalidInput(
                    "pattern-uri-malformed",
                    "a pattern for URIs is a scheme and a host, and has no port and no path",
                    field=field,
                    hint="write `spiffe://example.org`, or `uri:example.org` for any scheme",
                )
            return NamePattern(
                kind,
                _domain(host, field),
                scheme=None if scheme is None else scheme[1].lower(),
            )
        case NameKind.DNS:
            return NamePattern(kind, _domain(rest, field))


def parse_patterns(texts: Iterable[str], field: str = "name_patterns") -> tuple[NamePattern, ...]:
    """Read a list of patterns, in its order.

    Raises InvalidInput at `field.<index>` for a pattern, at `field` for more than MAX_PATTERNS.
    """
    found = tuple(parse_pattern(text, f"{field}.{index}") for index, text in enumerate(texts))
    if len(found) > MAX_PATTERNS:
        raise InvalidInput(
            "too-many-patterns",
            f"a profile may have at most {MAX_PATTERNS} patterns of names",
            field=field,
            hint="use patterns that allow more, such as `*.example.org`, or several profiles",
        )
    return found


def _kind_of(text: str) -> NameKind:
    if "://" in text:
        return NameKind.URI
    if "@" in text:
        return NameKind.EMAIL
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return NameKind.DNS
    return NameKind.IP


def _network(text: str, field: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    address, slash, length = text.partition("/")
    # A netmask (`/255.0.0.0`) would do as well, and a zone: one way to write a network is enough.
    if not slash or (length.isascii() and length.isdigit() and "%" not in address):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            network = None
        if network is not None and "%" not in text:
            if slash and network.network_address != ipaddress.ip_address(address):
                raise InvalidInput(
                    "pattern-network-has-host",
                    "an address in front of a prefix length is not the beginning of its network",
                    field=field,
                    hint="write the first address of the network, as in `10.0.0.0/8`",
                )
            return network
    raise InvalidInput(
        "pattern-not-a-network",
        "a pattern for IP addresses is an address, or a network in CIDR notation",
        field=field,
        hint="write it as `10.0.0.0/8`, `2001:db8::/32` or `10.0.0.1`",
    )


def _domain(text: str, field: str) -> Domain:
    rest = text.removeprefix(_BELOW)
    if "*" in rest:
        raise InvalidInput(
            "pattern-star-misplaced",
            "a star stands where none may in a pattern",
            field=field,
            hint="`*.example.org` allows every name below example.org; no other star is read",
        )
    return Domain(parse_typed(NameKind.DNS, rest, field).value, below=rest != text)
