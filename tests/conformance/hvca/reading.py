"""From the body of an order to what will stand in its certificate, by the account's policy.

Subject and names come from the JSON, never from a certificate request. What the policy fixes is
filled in. Subject directory attributes, qualified statements and Microsoft's template extension are
refused: no policy of this stand-in allows them.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from certctl.ca.extensions import Extension, extension
from tests.conformance.hvca.messages import Problem
from tests.conformance.hvca.policy import Findings
from tests.conformance.hvca.press import Wanted
from tests.conformance.hvca.proofs import read_key
from tests.conformance.hvca.values import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.conformance.hvca.policy import Rule

_FIELDS = frozenset(
    {
        "validity",
        "subject_dn",
        "san",
        "extended_key_usages",
        "signature",
        "custom_extensions",
        "public_key",
        "public_key_signature",
        "subject_da",
        "qualified_statements",
        "ms_extension_template",
    }
)
_NEVER = ("subject_da", "qualified_statements", "ms_extension_template")
_REQUIRED = ("validity", "subject_dn", "public_key")

#: In the order in which they stand in a subject.
_ATTRIBUTES = {
    "country": NameOID.COUNTRY_NAME,
    "state": NameOID.STATE_OR_PROVINCE_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "street_address": NameOID.STREET_ADDRESS,
    "postal_code": NameOID.POSTAL_CODE,
    "organization": NameOID.ORGANIZATION_NAME,
    "organization_identifier": NameOID.ORGANIZATION_IDENTIFIER,
    "business_category": NameOID.BUSINESS_CATEGORY,
    "jurisdiction_of_incorporation_locality_name": NameOID.JURISDICTION_LOCALITY_NAME,
    "jurisdiction_of_incorporation_state_or_province_name": (
        NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME
    ),
    "jurisdiction_of_incorporation_country_name": NameOID.JURISDICTION_COUNTRY_NAME,
    "serial_number": NameOID.SERIAL_NUMBER,
    "given_name": NameOID.GIVEN_NAME,
    "surname": NameOID.SURNAME,
    "pseudonym": NameOID.PSEUDONYM,
    "email": NameOID.EMAIL_ADDRESS,
    "common_name": NameOID.COMMON_NAME,
}
_COUNTRY_LENGTH = 2

_KINDS: dict[str, Callable[[str], x509.GeneralName]] = {
    "dns_names": x509.DNSName,
    "ip_addresses": lambda text: x509.IPAddress(ipaddress.ip_address(text)),
    "emails": x509.RFC822Name,
    "uris": x509.UniformResourceIdentifier,
}


def read_order(policy: Rule, body: Mapping[str, Any], now: float) -> Wanted:
    """What an order wants; `now` in seconds since 1970.

    Raises Problem (422) that names every field which the policy does not allow as it is.
    """
    findings = Findings()
    findings.object("", body, _FIELDS)
    for field in _REQUIRED:
        if body.get(field) is None:
            findings.add(field, "is required")
    for field in _NEVER:
        if body.get(field) is not None:
            findings.add(field, "is forbidden by the policy")
    key = read_key(findings, policy, body.get("public_key"), body.get("public_key_signature"))
    not_before, not_after = read_validity(findings, policy["validity"], body.get("validity"), now)
    subject = _subject(findings, policy.get("subject_dn", {}), body.get("subject_dn"))
    names = _names(findings, policy.get("san", {}), body.get("san"))
    if not len(subject) and not names:
        findings.add("subject_dn", "is empty, and there is no other name")
    algorithm, digest = read_signature(findings, policy, body.get("signature"))
    usages = policy.get("extended_key_usages", {})
    wanted_usages = _usages(findings, usages.get("ekus"), body.get("extended_key_usages"))
    extensions = _extensions(
        findings, policy.get("custom_extensions", {}), body.get("custom_extensions")
    )
    refuse(findings)
    assert key is not None
    return Wanted(
        public_key=key,
        not_before=not_before,
        not_after=not_after,
        subject=subject,
        names=names,
        names_critical=policy.get("san", {}).get("critical", False),
        usages=wanted_usages,
        usages_critical=usages.get("critical", False),
        extensions=extensions,
        algorithm=algorithm,
        digest=digest,
    )


def refuse(findings: Findings) -> None:
    """Raise Problem (422) where something was found."""
    if findings.errors:
        raise Problem(422, "The request does not comply with the policy", findings.errors)


def read_validity(findings: Findings, rule: Rule, value: Any, now: float) -> tuple[int, int]:
    """notBefore and notAfter in seconds since 1970; without the latter the policy's longest."""
    sent = findings.object("validity", value, frozenset({"not_before", "not_after"}))
    before, after = sent.get("not_before"), sent.get("not_after", 0)
    # A bool is an int to Python, and not to JSON.
    if type(before) is not int or type(after) is not int:
        findings.add("validity", "needs whole seconds since 1970")
        return 0, 0
    earliest = int(now) - rule["not_before_negative_skew"]
    latest = int(now) + rule["not_before_positive_skew"]
    if not earliest <= before <= latest:
        findings.add("validity.not_before", "is further from now than the policy allows")
    if after == 0:
        return before, before + int(rule["secondsmax"])
    if not rule["secondsmin"] <= after - before <= rule["secondsmax"]:
        findings.add("validity.not_after", "is sooner or later than the policy allows")
    return before, after


def read_signature(findings: Findings, policy: Rule, value: Any) -> tuple[str, str]:
    """How the certificate is to be signed: algorithm and hash."""
    sent = findings.object("signature", value, frozenset({"algorithm", "hash_algorithm"}))
    rules = policy.get("signature", {})
    algorithm = findings.choice(
        "signature.algorithm", rules.get("algorithm"), sent.get("algorithm"), "RSA"
    )
    digest = findings.choice(
        "signature.hash_algorithm",
        rules.get("hash_algorithm"),
        sent.get("hash_algorithm"),
        "SHA-256",
    )
    return algorithm, digest


def _subject(findings: Findings, rules: Rule, value: Any) -> x509.Name:
    known = frozenset({*_ATTRIBUTES, "organizational_unit", "extra_attributes"})
    sent = findings.object("subject_dn", value, known)
    attributes: list[x509.NameAttribute[str]] = []
    for name, oid in _ATTRIBUTES.items():
        text = findings.text(f"subject_dn.{name}", rules.get(name), sent.get(name))
        if text is None:
            continue
        is_country = oid in {NameOID.COUNTRY_NAME, NameOID.JURISDICTION_COUNTRY_NAME}
        if is_country and len(text) != _COUNTRY_LENGTH:
            findings.add(f"subject_dn.{name}", "is not two capital letters")
            continue
        attributes.append(x509.NameAttribute(oid, text))
    units = findings.texts(
        "subject_dn.organizational_unit",
        rules.get("organizational_unit"),
        sent.get("organizational_unit"),
    )
    attributes += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    extra = findings.typed(
        "subject_dn.extra_attributes",
        rules.get("extra_attributes", {}),
        sent.get("extra_attributes"),
    )
    attributes += [x509.NameAttribute(oid, text) for oid, _, text in extra]
    return x509.Name(attributes)


def _names(findings: Findings, rules: Rule, value: Any) -> tuple[x509.GeneralName, ...]:
    sent = findings.object("san", value, frozenset({*_KINDS, "other_names"}))
    found: list[x509.GeneralName] = []
    for kind, make in _KINDS.items():
        for text in findings.texts(f"san.{kind}", rules.get(kind), sent.get(kind)):
            try:
                found.append(make(text))
            except ValueError:
                findings.add(f"san.{kind}", "has a value that is none of that kind")
    others = findings.typed(
        "san.other_names", rules.get("other_names", {}), sent.get("other_names")
    )
    for oid, kind, text in others:
        der = encode(findings, "san.other_names", kind, text)
        if der is not None:
            found.append(x509.OtherName(oid, der))
    return tuple(found)


def _usages(findings: Findings, rule: Rule | None, value: Any) -> tuple[x509.ObjectIdentifier, ...]:
    field = "extended_key_usages"
    found = [findings.identifier(field, text) for text in findings.texts(field, rule, value)]
    return tuple(oid for oid in found if oid is not None)


def _extensions(findings: Findings, rules: Rule, value: Any) -> tuple[Extension, ...]:
    sent = findings.object("custom_extensions", value, frozenset(rules))
    found = []
    for text, rule in rules.items():
        field = f"custom_extensions.{text}"
        wanted = _extension_value(findings, field, rule, sent.get(text))
        oid = findings.identifier(field, text)
        if wanted is None or oid is None:
            continue
        der = encode(findings, field, rule["value_type"], wanted)
        if der is not None:
            unknown = x509.UnrecognizedExtension(oid, der)
            found.append(extension(unknown, critical=rule["critical"]))
    return tuple(found)


def _extension_value(findings: Findings, field: str, rule: Rule, value: Any) -> str | None:
    if rule["value_type"] != "NIL":
        as_text = {"presence": rule["presence"], "format": rule.get("value_format", "")}
        return findings.text(field, as_text, value)
    if value not in {None, ""}:
        findings.add(field, "has no value by the policy")
    wanted = findings.present(field, rule["presence"], value)
    return "" if wanted and (value is not None or rule["presence"] == "STATIC") else None
