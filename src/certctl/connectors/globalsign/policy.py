"""The account's validation policy, and orders as it wants them. No I/O.

What the policy refuses is refused here, in words. What it does not speak of is left to the CA.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from certctl.connectors.errors import BadAnswer, Refused
from certctl.connectors.globalsign.orders import SAN_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from certctl.domain.names import NameKind

_DAY = 86_400
#: The longest value that a pattern of the account is held against.
_MAX_VALUE = 2_048


class Presence(StrEnum):
    """What the policy says of one field."""

    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"
    FORBIDDEN = "FORBIDDEN"
    STATIC = "STATIC"


class Proof(StrEnum):
    """How the account wants the key, and its owner's possession of the private key, shown."""

    KEY = "key"  # the public key, without proof
    SIGNATURE = "signature"  # the public key, and a signature over it
    REQUEST = "request"  # a PKCS#10 request, of which nothing else is read


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the subject: whether it is wanted, and the pattern or the fixed value."""

    presence: Presence
    format: str = ""


@dataclass(frozen=True, slots=True)
class Values:
    """A list of values: those that are fixed, or the patterns of which each must fit one."""

    static: bool = False
    patterns: tuple[str, ...] = ()
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRule:
    """Which keys are certified; `lengths` in bits, empty where the policy names none."""

    algorithm: str | None = None
    lengths: frozenset[int] = frozenset()
    proof: Proof = Proof.KEY


@dataclass(frozen=True, slots=True)
class ValidationPolicy:
    """One account's policy. Lifetimes and skews in seconds; None where nothing is said."""

    shortest: int = 0
    longest: int | None = None
    early_skew: int = 0
    subject: Mapping[str, Field] = field(default_factory=dict)
    units: Values | None = None
    san: Mapping[NameKind, Values] = field(default_factory=dict)
    usages: Values | None = None
    key: KeyRule = field(default_factory=KeyRule)
    #: The signature's algorithm and hash, where an order has to name them.
    signature: Mapping[str, str] = field(default_factory=dict)


def parse_policy(body: Any) -> ValidationPolicy:
    """Read the answer to `/validationpolicy`; raises BadAnswer for what cannot be one."""
    if not isinstance(body, dict) or not isinstance(body.get("validity"), dict):
        raise BadAnswer("the CA's validation policy cannot be read")
    validity, subject = body["validity"], _object(body.get("subject_dn"))
    san = _object(body.get("san"))
    usages = _object(body.get("extended_key_usages"))
    return ValidationPolicy(
        shortest=_number(validity.get("secondsmin")) or 0,
        longest=_number(validity.get("secondsmax")) or None,
        early_skew=_number(validity.get("not_before_negative_skew")) or 0,
        subject={
            name: rule for name, value in subject.items() if (rule := _field(value)) is not None
        },
        units=_values(subject.get("organizational_unit")),
        san={
            kind: found
            for kind, name in SAN_FIELDS.items()
            if (found := _values(san.get(name))) is not None
        },
        usages=_values(usages.get("ekus")),
        key=_key_rule(body),
        signature=_signature(_object(body.get("signature"))),
    )


def shape_subject(policy: ValidationPolicy, subject: Mapping[str, Any]) -> dict[str, Any]:
    """The subject as the policy wants it, from what the order could say.

    `organizational_unit` is a list, every other field a text. Raises Refused.
    """
    shaped: dict[str, Any] = {}
    for name, rule in policy.subject.items():
        value = subject.get(name)
        match rule.presence:
            case Presence.FORBIDDEN | Presence.STATIC:
                continue
            case Presence.REQUIRED if value is None:
                raise _refused(f"the subject needs {name}, which the CSR does not have")
            case _ if value is None:
                continue
        if not _fits(rule.format, value):
            raise _refused(f"{name} of the subject is not of the form that it allows")
        shaped[name] = value
    units = list(subject.get("organizational_unit", ()))
    if policy.units is not None:
        kept = shape_values("organizational_unit of the subject", policy.units, units, given=False)
        if kept:
            shaped["organizational_unit"] = kept
    return shaped


def shape_names(
    policy: ValidationPolicy, names: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """The names by field as the policy wants them; raises Refused."""
    shaped: dict[str, list[str]] = {}
    for kind, name in SAN_FIELDS.items():
        values = list(names.get(name, ()))
        rule = policy.san.get(kind)
        if rule is not None:
            values = shape_values(f"the names of kind {kind}", rule, values, given=True)
        if values:
            shaped[name] = values
    return shaped


def shape_usages(policy: ValidationPolicy, oids: Sequence[str]) -> list[str]:
    """The extended key usages to be named in an order; raises Refused."""
    if policy.usages is None:
        return []
    return shape_values("the extended key usages", policy.usages, list(oids), given=True)


def shape_values(what: str, rule: Values, values: list[str], *, given: bool) -> list[str]:
    """The values that are sent. `given` ones are wanted in the certificate, whoever puts them in.

    Raises Refused.
    """
    if rule.static:
        if given and any(value not in rule.patterns for value in values):
            raise _refused(f"{what} are fixed there, and are others")
        return []
    if not given:  # what it has no room for was only offered
        values = [value for value in values if _fits_one(rule.patterns, value)][: rule.most]
    if rule.most is not None and len(values) > rule.most:
        raise _refused(f"{what} are {len(values)}, and it allows {rule.most}")
    if len(values) < rule.least:
        raise _refused(f"{what} are {len(values)}, and it wants {rule.least}")
    if not all(_fits_one(rule.patterns, value) for value in values):
        raise _refused(f"{what} are not all of a form that it allows")
    return values


def check_key(policy: ValidationPolicy, algorithm: str, bits: int) -> None:
    """Raise Refused for a key that the account does not have certified."""
    rule = policy.key
    if rule.algorithm is not None and algorithm != rule.algorithm:
        raise _refused(f"the key is for {algorithm}, and it allows {rule.algorithm}")
    if rule.lengths and bits not in rule.lengths:
        allowed = ", ".join(str(length) for length in sorted(rule.lengths))
        raise _refused(f"the key has {bits} bits, and it allows {allowed}")


def clamp_validity(policy: ValidationPolicy, seconds: int) -> int:
    """The lifetime to ask for: never a longer one than was wanted. Raises Refused."""
    if policy.longest is not None and seconds > policy.longest:
        seconds = policy.longest
    if seconds < policy.shortest:
        raise _refused(
            f"{seconds / _DAY:g} days are asked for, and it gives {policy.shortest / _DAY:g} at "
            "least"
        )
    return seconds


def _refused(words: str) -> Refused:
    return Refused(f"the account's validation policy: {words}", code="validation-policy")


def _fits_one(patterns: Iterable[str], value: str) -> bool:
    return any(_fits(pattern, value) for pattern in patterns)


def _fits(pattern: str, value: str) -> bool:
    """Whether a pattern is found in a value; one that cannot be read here is the CA's affair."""
    if not pattern:
        return True
    if len(value) > _MAX_VALUE:
        return False
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _presence(value: Any) -> Presence | None:
    try:
        return Presence(value)
    except ValueError:
        return None


def _field(value: Any) -> Field | None:
    found = _object(value)
    presence = _presence(found.get("presence"))
    if presence is None:
        return None
    pattern = found.get("format")
    return Field(presence, pattern if isinstance(pattern, str) else "")


def _values(value: Any) -> Values | None:
    found = _object(value)
    listed = found.get("list")
    if not isinstance(listed, list):
        return None
    return Values(
        static=found.get("static") is True,
        patterns=tuple(item for item in listed if isinstance(item, str)),
        least=_number(found.get("mincount")) or 0,
        most=_number(found.get("maxcount")),
    )


def _key_rule(body: dict[str, Any]) -> KeyRule:
    key = _object(body.get("public_key"))
    algorithm = key.get("key_type")
    lengths = key.get("allowed_lengths")
    proof = Proof.KEY
    if body.get("public_key_signature") == Presence.REQUIRED:
        proof = Proof.SIGNATURE
    if key.get("key_format") == "PKCS10":
        proof = Proof.REQUEST
    return KeyRule(
        algorithm=algorithm if isinstance(algorithm, str) else None,
        lengths=frozenset(item for item in lengths if isinstance(item, int))
        if isinstance(lengths, list)
        else frozenset(),
        proof=proof,
    )


def _signature(body: dict[str, Any]) -> dict[str, str]:
    """The first algorithm and hash of what has to be named; the policy lists them by preference."""
    found = {}
    for name in ("algorithm", "hash_algorithm"):
        rule = _object(body.get(name))
        listed = rule.get("list")
        if rule.get("presence") == Presence.REQUIRED and isinstance(listed, list) and listed:
            found[name] = str(listed[0])
    return found
