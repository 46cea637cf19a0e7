"""Every action that an audit event can name. An event with another one is not stored."""

from __future__ import annotations

from typing import NamedTuple


class Action(NamedTuple):
    """What kind of object it is about (None: what can be refused), and when it is written."""

    object_type: str | None
    when: str


#: With it a process begins a chain of events, and names the chains that were there before.
CHAIN_OPENED = "audit.chain_opened"

_CERTIFICATE = "certificate"
_ISSUER = "issuer"
_BULK = "bulk_revocation"
_PROFILE = "profile"
_API_KEY = "api_key"

ACTIONS: dict[str, Action] = {
    "certificate.ordered": Action(_CERTIFICATE, "a request to a slow CA was accepted"),
    "certificate.issued": Action(
        _CERTIFICATE, "a certificate was issued; the detail has its serial"
    ),
    "certificate.renewal_ordered": Action(
        _CERTIFICATE, "a renewal was accepted, or waits for a CSR"
    ),
    "certificate.renewed": Action(
        _CERTIFICATE,
        "the Local CA issued the next version; a slow CA's is `certificate.issued`",
    ),
    "certificate.revoked": Action(
        _CERTIFICATE,
        "a version was revoked, put on hold, or told to its CA again; the detail has serial and "
        "reason, and the bulk revocation that it was part of",
    ),
    "certificate.edited": Action(
        _CERTIFICATE, "somebody changed its owner or labels; the detail has `changes`"
    ),
    "certificate.archived": Action(
        _CERTIFICATE, "somebody took it out of the inventory, and ended its renewal"
    ),
    "certificate.unarchived": Action(_CERTIFICATE, "somebody put it back into the inventory"),
    "certificate.imported": Action(
        _CERTIFICATE,
        "somebody brought a certificate that certctl did not issue; the detail has its issuer and "
        "serial, and whether it was added to one that was there (`added_version`)",
    ),
    "certificate.hold_released": Action(_CERTIFICATE, "a hold is to end"),
    "order.pending": Action(_CERTIFICATE, "the CA works on an order"),
    "order.ready": Action(
        _CERTIFICATE, "an order is to be sent again: the CA does not have it, or said not now"
    ),
    "order.uncertain": Action(
        _CERTIFICATE, "an order was sent, and nobody knows whether the CA has it"
    ),
    "order.rejected": Action(_CERTIFICATE, "a CA refused an order"),
    "order.expired": Action(_CERTIFICATE, "a CA did not issue in time; nobody asks any more"),
    "order.cancelled": Action(
        _CERTIFICATE,
        "an operator took an order back, or the revocation of its certificate did",
    ),
    "order.resolved": Action(
        _CERTIFICATE,
        "an operator said what became of an order in `uncertain`; the detail has the state, and "
        "the reason if one was given",
    ),
    "order.doubled": Action(
        _CERTIFICATE,
        "a CA made a second certificate or a second order; the detail has its serial, or what the "
        "CA calls it, or says that it is not certain: an answer was lost",
    ),
    "revocation.told": Action(_CERTIFICATE, "a CA has a revocation and works on it"),
    "revocation.confirmed": Action(
        _CERTIFICATE, "a CA has revoked. At the Local CA, `certificate.revoked` says it all"
    ),
    "revocation.refused": Action(_CERTIFICATE, "a CA refused to revoke"),
    "release.told": Action(_CERTIFICATE, "a CA works on the end of a hold"),
    "release.confirmed": Action(_CERTIFICATE, "a hold has ended, at the Local CA too"),
    "release.refused": Action(_CERTIFICATE, "a CA refused to end a hold"),
    "bulk_revocation.started": Action(
        _BULK,
        "a bulk revocation began; the detail has its filter, the reason and how many certificates. "
        "Each version it revokes has its own `certificate.revoked`",
    ),
    "bulk_revocation.done": Action(_BULK, "it is through; the detail has how many certificates"),
    "bulk_revocation.cancelled": Action(_BULK, "somebody stopped it; the same detail"),
    "ocsp_responder.certified": Action(
        _ISSUER,
        "a process has a new key for OCSP answers; the detail has its certificate's serial",
    ),
    "issuer.circuit_opened": Action(
        _ISSUER, "an issuer's CA is left alone; the detail has the problem"
    ),
    "issuer.circuit_closed": Action(_ISSUER, "it is asked again; the detail has why"),
    "issuer.quota_exhausted": Action(
        _ISSUER, "the account at the CA has nothing left to issue; the detail has the problem"
    ),
    "issuer.quota_ended": Action(_ISSUER, "it has something again; the detail has why"),
    "issuer.created": Action(
        _ISSUER, "an issuer came; the detail has its type, its source and its settings as `changes`"
    ),
    "issuer.updated": Action(
        _ISSUER,
        "an issuer's name, settings, limits or source were changed; the detail has its new "
        "revision, and `changes`",
    ),
    "issuer.enabled": Action(_ISSUER, "an issuer takes orders again; the detail has `changes`"),
    "issuer.disabled": Action(_ISSUER, "an issuer takes no more orders; the detail has `changes`"),
    "issuer.archived": Action(
        _ISSUER, "an issuer was put away for good, its name freed; the detail has `changes`"
    ),
    "issuer.deleted": Action(_ISSUER, "an issuer was deleted; the detail has its type and name"),
    "issuer.tested": Action(
        _ISSUER, "somebody had an issuer's CA called; the detail has whether it answered"
    ),
    "profile.created": Action(
        _PROFILE,
        "a profile was made; the detail has its rules as `changes` (lifetimes in seconds), or says "
        "that it came with certctl (`preset`)",
    ),
    "profile.updated": Action(
        _PROFILE, "a profile's rules were changed; the detail has its new revision, and `changes`"
    ),
    "profile.enabled": Action(_PROFILE, "a profile may be named again; the detail has `changes`"),
    "profile.disabled": Action(
        _PROFILE, "a profile may not be named any more; the detail has `changes`"
    ),
    "profile.archived": Action(
        _PROFILE, "a profile was put away for good, its name freed; the detail has `changes`"
    ),
    "profile.deleted": Action(_PROFILE, "a profile was deleted; the detail has its name and rules"),
    "api_key.created": Action(
        _API_KEY, "an API key was made; the detail has its name, role, scope and end"
    ),
    "api_key.revoked": Action(_API_KEY, "an API key was revoked"),
    "access.refused": Action(
        None,
        "a known key was refused something; the detail has the address and the code of the "
        "problem. Some a minute are written for each key",
    ),
    "database.restored": Action(
        "database",
        "a backup was restored; the detail has when it was taken, by which version, and how many "
        "problems its audit log had",
    ),
    "secrets.rotated": Action(
        "sealing_key",
        "the sealing key was rotated; the object is the new key's id, the detail has how many "
        "values were sealed anew, how many could not be opened, and the ids of the other keys",
    ),
    CHAIN_OPENED: Action(
        "audit_chain", "a process began a chain of events; the detail names the chains before it"
    ),
}

#: What somebody can be refused: an object that a request named, or a route.
_REFUSABLE = frozenset(
    {_CERTIFICATE, _ISSUER, _BULK, _PROFILE, _API_KEY, "version", "order", "route"}
)

#: The kinds of objects that events are about.
OBJECT_TYPES = _REFUSABLE | {
    action.object_type for action in ACTIONS.values() if action.object_type is not None
}


def check_action(action: str, object_type: str) -> None:
    """Raise ValueError for an action that is not in the table, or about another kind of object."""
    known = ACTIONS.get(action)
    if known is None:
        raise ValueError(f"the audit action {action!r} is not in domain/audit_actions.py")
    if not _is_about(known, object_type):
        raise ValueError(f"the audit action {action!r} is not about a {known.object_type}")


def actions_about(object_type: str) -> frozenset[str]:
    """The actions that an event about such an object can name."""
    return frozenset(name for name, action in ACTIONS.items() if _is_about(action, object_type))


def _is_about(action: Action, object_type: str) -> bool:
    kinds = _REFUSABLE if action.object_type is None else {action.object_type}
    return object_type in kinds
