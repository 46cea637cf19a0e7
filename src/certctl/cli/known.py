"""What the shell offers for values: what the server knows, and what the audit log names.

Every command loads this; what asks the server is loaded when somebody presses Tab.
"""

import re

import typer

_CERTIFICATE_ID = re.compile(r"cert-[a-z0-9]{1,40}")


def certificates(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Certificates by id, newest first, with their names."""
    return _offered("certificates", context, incomplete)


def versions(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The versions of the certificate that the command names."""
    # Before a value that is still missing, the parser has not come to the arguments yet.
    words = [context.params.get("certificate_id"), *context.args]
    for word in words:
        if isinstance(word, str) and _CERTIFICATE_ID.fullmatch(word):
            return _offered(f"certificates/{word}/versions", context, incomplete)
    return []


def owners(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Who looks after the newest certificates."""
    return _offered("owners", context, incomplete)


def issuers(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Issuers by id, with their names."""
    return _offered("issuers", context, incomplete)


def issuer_types(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Types of CA, with their titles."""
    return _offered("issuers/types", context, incomplete)


def profiles(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Profiles by id, with their names."""
    return _offered("profiles", context, incomplete)


def orders(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Orders by id, newest first, with their state."""
    return _offered("orders", context, incomplete)


def bulk_revocations(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Bulk revocations by id, newest first, with their state."""
    return _offered("bulk-revocations", context, incomplete)


def keys(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """API keys by id, newest first, with their names."""
    return _offered("keys", context, incomplete)


def actions(incomplete: str) -> list[tuple[str, str]]:
    """What the audit log can name. No server is asked."""
    from certctl.domain.audit_actions import ACTIONS

    return [(name, action.when) for name, action in ACTIONS.items() if name.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """What audit events are about. No server is asked."""
    from certctl.domain.audit_actions import ACTIONS

    found = {action.object_type for action in ACTIONS.values() if action.object_type}
    return sorted(kind for kind in found if kind.startswith(incomplete))


def _offered(noun: str, context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from certctl.cli.offers import Offer, offers

    given = context.find_root().params
    found: list[Offer] = offers(
        noun,
        url=given.get("server_url"),
        data_dir=given.get("data_dir"),
        ca_bundle=given.get("ca_bundle"),
    )
    return [(value, words) for value, words in found if value.startswith(incomplete)]
