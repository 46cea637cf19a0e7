"""A validation policy: what an account may order, in the structure that Atlas publishes it in."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Mapping

Rule = dict[str, Any]

#: TLS feature (RFC 7633), whose value for must-staple is this DER.
MUST_STAPLE_OID = "1.3.6.1.5.5.7.1.24"
MUST_STAPLE_DER = "3003020105"

_DAY = 86_400
_TEXT: Rule = {"presence": "OPTIONAL", "format": "^.{1,64}$"}
_FORBIDDEN: Rule = {"presence": "FORBIDDEN", "format": ""}

_PERMISSIVE: Rule = {
    "validity": {
        "secondsmin": 60,
        "secondsmax": 397 * _DAY,
        "not_before_negative_skew": 200,
        "not_before_positive_skew": 200,
        "issuer_expiry": 0,
    },
    "subject_dn": {
        "common_name": _TEXT,
        "organization": _TEXT,
        "organizational_unit": {
            "static": False,
            "list": ["^.{1,64}$"],
            "mincount": 0,
            "maxcount": 3,
        },
        "country": {"presence": "OPTIONAL", "format": "^[A-Z]{2}$"},
        "state": _TEXT,
        "locality": _TEXT,
        "jurisdiction_of_incorporation_country_name": _FORBIDDEN,
    },
    "san": {
        "critical": False,
        "dns_names": {
            "static": False,
            "list": ["^(\\*\\.)?[A-Za-z0-9.-]+$"],
            "mincount": 0,
            "maxcount": 100,
        },
        "ip_addresses": {
            "static": False,
            "list": ["^[0-9A-Fa-f.:]+$"],
            "mincount": 0,
            "maxcount": 100,
        },
        "emails": {
            "static": False,
            "list": ["^[^@\\s]+@[^@\\s]+$"],
            "mincount": 0,
            "maxcount": 100,
        },
        "uris": {
            "static": False,
            "list": ["^[A-Za-z][A-Za-z0-9+.-]*:\\S+$"],
            "mincount": 0,
            "maxcount": 100,
        },
        "other_names": {},
    },
    "extended_key_usages": {
        "ekus": {
            "static": False,
            "list": ["^1\\.3\\.6\\.1\\.5\\.5\\.7\\.3\\.[12]$"],
            "mincount": 1,
            "maxcount": 2,
        },
        "critical": False,
    },
    "signature": {
        "algorithm": {"presence": "OPTIONAL", "list": ["RSA", "RSA-PSS"]},
        "hash_algorithm": {"presence": "OPTIONAL", "list": ["SHA-256", "SHA-384", "SHA-512"]},
    },
    "custom_extensions": {
        MUST_STAPLE_OID: {
            "presence": "OPTIONAL",
            "critical": False,
            "value_type": "DER",
            "value_format": f"^{MUST_STAPLE_DER}$",
        }
    },
    # Without a key type: both.
    "public_key": {
        "allowed_lengths": [256, 384, 521, 2048, 3072, 4096],
        "key_format": "PKCS10",
    },
    "public_key_signature": "FORBIDDEN",
}


def permissive_policy() -> Rule:
    """A policy that allows what most orders ask for; the caller's own copy."""
    return copy.deepcopy(_PERMISSIVE)


class Findings:
    """Holds an order against the rules of a policy, and collects the fields that are wrong."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    def add(self, field: str, words: str) -> None:
        """Note what is wrong with a field; the first thing counts."""
        self.errors.setdefault(field, words)

    def text(self, field: str, rule: Rule | None, value: Any) -> str | None:
        """The text that a field has by its rule, or None; no rule is one that forbids it."""
        presence = (rule or _FORBIDDEN)["presence"]
        if not self.present(field, presence, value) or rule is None:
            return None
        if value is None:
            return str(rule["format"]) if presence == "STATIC" else None
        if not isinstance(value, str) or not value:
            self.add(field, "must be text, and not empty")
        elif presence == "STATIC":
            if value != rule["format"]:
                self.add(field, "has a fixed value in the policy, and this is another")
        elif not re.search(rule["format"], value):
            self.add(field, "does not match the policy's format")
        else:
            return value
        return str(rule["format"]) if presence == "STATIC" else None

    def texts(self, field: str, rule: Rule | None, value: Any) -> list[str]:
        """The list of texts that a field has by its rule."""
        found = self.list_of_text(field, value)
        if rule is None:
            if found:
                self.add(field, "is forbidden by the policy")
            return []
        if rule["static"]:
            if found and found != rule["list"]:
                self.add(field, "has fixed values in the policy, and these are others")
            return list(rule["list"])
        self.count(field, rule, len(found))
        for text in found:
            if not any(re.search(form, text) for form in rule["list"]):
                self.add(field, "has a value that does not match the policy's formats")
        return found

    def choice(self, field: str, rule: Rule | None, value: Any, default: str) -> str:
        """One of the algorithms that a policy lists; `default` where none is asked for."""
        presence = "FORBIDDEN" if rule is None else rule["presence"]
        if not self.present(field, presence, value) or rule is None:
            return default
        first = str(rule["list"][0]) if rule["list"] else default
        if value is None:
            return first if presence == "STATIC" else default
        allowed = [first] if presence == "STATIC" else rule["list"]
        if value not in allowed:
            self.add(field, "is not in the policy's list")
            return default
        return str(value)

    def present(self, field: str, presence: str, value: Any) -> bool:
        """Whether a field may have a value; notes what is missing, and what is forbidden."""
        if presence == "FORBIDDEN":
            if value is not None:
                self.add(field, "is forbidden by the policy")
            return False
        if presence == "REQUIRED" and value is None:
            self.add(field, "is required by the policy")
            return False
        return True

    def count(self, field: str, rule: Rule, number: int) -> None:
        """Note a list that is too long or too short."""
        if not rule["mincount"] <= number <= rule["maxcount"]:
            self.add(field, f"needs {rule['mincount']} to {rule['maxcount']} values")

    def list_of_text(self, field: str, value: Any) -> list[str]:
        """A list of texts as it was sent."""
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            self.add(field, "must be a list of texts")
            return []
        return value

    def object(self, field: str, value: Any, known: frozenset[str]) -> Mapping[str, Any]:
        """An object without other fields than those that are known."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.add(field, "must be an object")
            return {}
        for name in value.keys() - known:
            self.add(f"{field}.{name}" if field else name, "is not known")
        return value

    def identifier(self, field: str, text: str) -> x509.ObjectIdentifier | None:
        """An object identifier."""
        try:
            return x509.ObjectIdentifier(text)
        except ValueError:
            self.add(field, "is no object identifier")
            return None

    def typed(
        self, field: str, rules: Mapping[str, Rule], value: Any
    ) -> list[tuple[x509.ObjectIdentifier, str, str]]:
        """The pairs `{"type", "value"}` of a field, each with the type that its rule names."""
        sent: dict[str, list[str]] = {}
        for pair in value if isinstance(value, list) else []:
            if not isinstance(pair, dict) or pair.keys() != {"type", "value"}:
                self.add(field, "must be a list of objects with a type and a value")
                continue
            sent.setdefault(str(pair["type"]), []).append(str(pair["value"]))
        if value is not None and not isinstance(value, list):
            self.add(field, "must be a list")
        for unknown in sent.keys() - rules.keys():
            self.add(f"{field}.{unknown}", "is forbidden by the policy")
        found: list[tuple[x509.ObjectIdentifier, str, str]] = []
        for text, rule in rules.items():
            oid = self.identifier(field, text)
            listed = {**rule, "list": [rule["value_format"]]}
            texts = self.texts(f"{field}.{text}", listed, sent.get(text))
            found += [(oid, rule["value_type"], one) for one in texts if oid is not None]
        return found
