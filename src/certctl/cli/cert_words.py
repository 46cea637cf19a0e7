"""A certificate with its history, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from certctl.schemas.audit import AuditEventView
    from certctl.schemas.certificates import CertificateView, VersionView
    from certctl.schemas.common import Page
    from certctl.schemas.orders import OrderView


def certificate_text(certificate: CertificateView, now: datetime) -> str:
    """The certificate itself, without its versions."""
    from certctl.cli.tables import fields
    from certctl.cli.times import full

    labels = [f"{key}={text}" for key, text in certificate.labels.items()]
    return fields(
        [
            ("Certificate", certificate.id),
            ("Status", certificate.status),
            ("Names", ", ".join(certificate.names)),
            ("Common name", certificate.common_name),
            ("Issuer", certificate.issuer_id),
            ("Profile", certificate.profile_id),
            ("Owner", certificate.owner),
            ("Labels", ", ".join(labels)),
            ("Order", certificate.order_id),
            ("Renew at", full(certificate.renew_at, now)),
            ("Archived", full(certificate.archived_at, now)),
            ("Created", full(certificate.created_at, now)),
        ]
    )


def versions_text(certificate_id: str, versions: Page[VersionView], now: datetime) -> str:
    """A paragraph for each version, and a word where there are more."""
    from certctl.cli.versions import described

    text = described(versions.data, now)
    if versions.next is not None:
        text += f"\n\nThere are older versions: certctl certs versions {certificate_id}"
    return text


def orders_text(certificate_id: str, orders: Page[OrderView], now: datetime) -> str:
    """A line for each order; nothing where there are none."""
    from certctl.cli.times import full

    rows = [(order.id, order.state, full(order.created_at, now)) for order in orders.data]
    more = f"certctl certs orders {certificate_id}" if orders.next is not None else None
    return _lines("Orders", rows, more)


def events_text(certificate_id: str, events: Page[AuditEventView], now: datetime) -> str:
    """A line for each event."""
    from certctl.cli.audit_words import changes_of
    from certctl.cli.times import full

    rows = [
        (event.action, event.actor, full(event.at, now), changes_of(event.detail))
        for event in events.data
    ]
    more = f"certctl audit --object {certificate_id}" if events.next is not None else None
    return _lines("Last events", rows, more)


def _lines(title: str, rows: Sequence[tuple[str, ...]], more: str | None) -> str:
    from certctl.cli.tables import clean, hanging

    if not rows:
        return ""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        lines.append(hanging(clean("  ".join([*cells, row[-1]]).rstrip()), "  "))
    if more is not None:
        lines.append(f"  There are older ones: {more}")
    return "\n".join(["", "", title, *lines])
