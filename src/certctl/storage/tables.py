"""The tables. Times are milliseconds since the Unix epoch, JSON is text, ids sort by time.

Changes to a table after its release come as a migration that expands first and contracts a release
later, so that two versions of certctl can run beside each other on one PostgreSQL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _queue_columns() -> list[Column[Any]]:
    """What makes rows their own queue (see `leases`), and their times."""
    return [
        Column("due_at", BigInteger),  # null: nothing to do
        Column("lease_owner", String(80)),
        Column("lease_until", BigInteger),
        Column("epoch", Integer, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
    ]


def _index_where_set(*columns: Column[Any]) -> None:
    """An index of the rows where the last column is not null, which are few."""
    where = columns[-1].is_not(None)
    words = "_".join(["ix", columns[0].table.name, *[column.name for column in columns]])
    Index(words, *columns, sqlite_where=where, postgresql_where=where)


# One row, one number: grows whenever something that processes keep in memory has changed.
changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("counter", BigInteger, nullable=False),
)

# Keys, secrets and connector state, sealed; `scope` is an issuer's id or "server".
sealed_values = Table(
    "sealed_values",
    metadata,
    Column("scope", String(80), nullable=False),
    Column("name", String(120), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("scope", "name"),
)

issuers = Table(
    "issuers",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("name", String(120), nullable=False, unique=True),
    Column("type", String(40), nullable=False),
    Column("config", Text, nullable=False),  # JSON of what is not secret
    Column("sealed_config", LargeBinary),  # sealed JSON of what is
    Column("source", String(8), nullable=False),  # "env" or "api"
    Column("enabled", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    # Limits on calls to the CA that hold for all processes together; null: none.
    Column("max_concurrency", Integer),
    Column("max_calls_per_minute", Integer),
    Column("archived_at", BigInteger),  # null: in use
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# The last time that a person had an issuer's CA called.
issuer_checks = Table(
    "issuer_checks",
    metadata,
    Column("issuer_id", String(80), ForeignKey("issuers.id"), primary_key=True),
    Column("status", String(8), nullable=False),  # ok, failed
    Column("detail", Text, nullable=False),  # the CA's words
    Column("code", String(120)),  # the CA's own error code
    Column("host", String(255)),  # that answered, or should have; null for our own CA
    Column("checked_at", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
)

# Why an issuer's CA is left alone for now; no row: it is not. Due when it is to be tried again.
issuer_conditions = Table(
    "issuer_conditions",
    metadata,
    Column("issuer_id", String(80), ForeignKey("issuers.id"), primary_key=True),
    Column("state", String(8), nullable=False),  # open, quota; closed, refilled: remembered
    Column("problem", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),  # of the issuer's settings at that time
    Column("openings", Integer),  # of the circuit, since then; null for one
    *_queue_columns(),
)
_index_where_set(issuer_conditions.c.due_at)

# Each process's part of an issuer's limits, while it may use it.
issuer_slices = Table(
    "issuer_slices",
    metadata,
    Column("issuer_id", String(80), ForeignKey("issuers.id"), nullable=False),
    Column("owner", String(80), nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("calls_per_minute", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
    PrimaryKeyConstraint("issuer_id", "owner"),
)

# What the webhook is still to be told, in the words of `domain.events`.
events = Table(
    "events",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("body", Text, nullable=False),  # JSON, as it is sent
    Column("attempts", Integer, nullable=False),
    Column("problem", Text),  # why it was not delivered yet
    *_queue_columns(),
)
_index_where_set(events.c.due_at)

profiles = Table(
    "profiles",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("name", String(120), nullable=False, unique=True),
    Column("rules", Text, nullable=False),  # JSON, see repositories
    Column("enabled", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("archived_at", BigInteger),  # null: in use
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(80), primary_key=True),  # the prefix of the key itself
    Column("name", String(120), nullable=False),
    Column("role", String(16), nullable=False),
    Column("scope", Text),  # JSON; null for everything
    Column("secret_hash", String(64), nullable=False),  # SHA-256, hex
    Column("created_by", String(80)),  # the key that made it; null for certctl itself
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
)

certificates = Table(
    "certificates",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("issuer_id", String(80), ForeignKey("issuers.id"), nullable=False),
    Column("profile_id", String(80), ForeignKey("profiles.id"), nullable=False),
    Column("owner", String(120)),
    Column("common_name", String(255)),
    Column("names", Text, nullable=False),  # JSON list of "kind:value"
    Column("status", String(16), nullable=False),
    Column("version_id", String(80)),  # the newest version
    Column("not_after", BigInteger),  # of that version
    Column("renew_at", BigInteger),  # null: not to be renewed
    Column("labels", Text),  # JSON object of text; null: none
    Column("archived_at", BigInteger),  # null: in the inventory
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
_index_where_set(certificates.c.renew_at)
# For the inventory (see `inventory`): what is in order below one issuer, profile or owner, with all
# that a walk has to know besides. Whole, not partial: a delete's foreign key looks there as well.
for _column in (certificates.c.issuer_id, certificates.c.profile_id):
    Index(
        f"ix_certificates_{_column.name}",
        _column,
        certificates.c.id,
        certificates.c.not_after,
        certificates.c.archived_at,
    )
Index(
    "ix_certificates_owner",
    certificates.c.owner,
    certificates.c.id,
    certificates.c.not_after,
    certificates.c.archived_at,
    sqlite_where=certificates.c.owner.is_not(None),
    postgresql_where=certificates.c.owner.is_not(None),
)
LISTED = text("archived_at IS NULL")
ARCHIVED = text("archived_at IS NOT NULL")
#: Certificates in the few states that are not the rule, without those that are archived.
UNUSUAL = text("status <> 'issued' AND archived_at IS NULL")
for _words, _where, _columns in (
    ("not_after", LISTED, ("not_after", "id")),
    ("status", UNUSUAL, ("status", "id")),
    ("status_not_after", UNUSUAL, ("status", "not_after", "id")),
    ("archived", ARCHIVED, ("id",)),
    ("archived_not_after", ARCHIVED, ("not_after", "id")),
):
    Index(
        f"ix_certificates_{_words}",
        *[certificates.c[name] for name in _columns],
        sqlite_where=_where,
        postgresql_where=_where,
    )

# For finding certificates by name; the certificate's own row has the list in its order. The order
# of bytes, so that what begins alike lies together.
_NAME = String(2048).with_variant(String(2048, collation="C"), "postgresql")
certificate_names = Table(
    "certificate_names",
    metadata,
    Column("value", _NAME, nullable=False),
    Column("certificate_id", String(80), ForeignKey("certificates.id"), nullable=False),
    Column("kind", String(8), nullable=False),
    # The value from its end: what ends alike lies together. Where a certctl that does not know the
    # column writes beside this one, which only PostgreSQL allows, a trigger adds it.
    Column("reversed", _NAME),
    PrimaryKeyConstraint("value", "certificate_id", "kind"),
    sqlite_with_rowid=False,
)
Index(
    "ix_certificate_names_reversed",
    certificate_names.c.reversed,
    certificate_names.c.certificate_id,
)

# Issuers' certificates, each sequence stored once: `id` is the SHA-256 of the PEM text.
chains = Table(
    "chains",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("pem", Text, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("certificate_id", String(80), ForeignKey("certificates.id"), nullable=False),
    Column("issuer_id", String(80), ForeignKey("issuers.id"), nullable=False),
    Column("order_id", String(80), nullable=False),
    Column("serial", String(64), nullable=False),  # lower-case hex
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("chain_id", String(64), ForeignKey("chains.id"), nullable=False),
    Column("reference", Text),  # JSON: what the CA calls it
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("issuer_id", "serial"),
)
Index("ix_versions_certificate_id", versions.c.certificate_id)

orders = Table(
    "orders",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("certificate_id", String(80), ForeignKey("certificates.id"), nullable=False),
    Column("issuer_id", String(80), ForeignKey("issuers.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("csr", LargeBinary),  # DER; null while awaiting one
    Column("request", Text, nullable=False),  # JSON: what was asked for, held against the profile
    Column("reference", Text),  # JSON: what the CA calls it
    Column("version_id", String(80)),
    Column("problem", Text),  # why it is where it is, in words
    Column("attempts", Integer, nullable=False),
    Column("accepted_at", BigInteger),  # when the CA took it
    # Attempts in a row that told nothing; null for none.
    Column("failures", Integer),
    # Since when it is open whether the CA has it: sent without an answer, or not known there.
    Column("unknown_since", BigInteger),
    *_queue_columns(),
)
# By issuer first: a CA that is to be left alone, and its thousands of orders, cost nothing.
_index_where_set(orders.c.issuer_id, orders.c.due_at)
# Not `IN (…)`: SQLite would build its list anew for every order.
OPEN_ORDERS = text(
    "state = 'awaiting_csr' OR state = 'ready' OR state = 'submitting'"
    " OR state = 'pending' OR state = 'uncertain'"
)
Index(
    "uq_orders_open",
    orders.c.certificate_id,
    unique=True,
    sqlite_where=OPEN_ORDERS,
    postgresql_where=OPEN_ORDERS,
)
Index("ix_orders_certificate_id", orders.c.certificate_id)

order_attempts = Table(
    "order_attempts",
    metadata,
    Column("order_id", String(80), ForeignKey("orders.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("action", String(16), nullable=False),  # submit, poll, lookup, resolve
    Column("outcome", String(24), nullable=False),
    Column("code", String(120)),  # the CA's own error code
    Column("detail", Text),  # the CA's words
    Column("started_at", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("order_id", "number"),
)

# A version declared invalid: recorded here, then told to the CA by the scheduler.
revocations = Table(
    "revocations",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("version_id", String(80), ForeignKey("versions.id"), nullable=False, unique=True),
    Column("certificate_id", String(80), ForeignKey("certificates.id"), nullable=False),
    Column("issuer_id", String(80), ForeignKey("issuers.id"), nullable=False),
    Column("serial", String(64), nullable=False),
    Column("not_after", BigInteger, nullable=False),  # of the version
    Column("reason", String(32), nullable=False),
    Column("action", String(16), nullable=False),  # what the CA is told: revoke, release
    Column("state", String(16), nullable=False),
    Column("problem", Text),  # why it is where it is, in words
    Column("reference", Text),  # JSON: what the CA calls it
    Column("attempts", Integer, nullable=False),
    Column("bulk_id", String(80)),  # the bulk revocation that it is part of
    Column("revoked_at", BigInteger, nullable=False),
    Column("requested_at", BigInteger, nullable=False),  # of what the CA is told now
    *_queue_columns(),
)
Index("ix_revocations_certificate_id", revocations.c.certificate_id)
# For CRLs, which leave out what has expired.
Index("ix_revocations_issuer_id_not_after", revocations.c.issuer_id, revocations.c.not_after)
_index_where_set(revocations.c.issuer_id, revocations.c.due_at)
_index_where_set(revocations.c.bulk_id)

# Many certificates revoked by one request, some at a time; `position` is the last id looked at.
bulk_revocations = Table(
    "bulk_revocations",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("filter", Text, nullable=False),  # JSON
    Column("reason", String(32), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("state", String(16), nullable=False),  # running, done, cancelled
    Column("total", Integer, nullable=False),  # certificates that it matched when it was made
    Column("done", Integer, nullable=False),  # of them, certificates that were revoked
    Column("position", String(80), nullable=False),
    *_queue_columns(),
)
_index_where_set(bulk_revocations.c.due_at)

# The newest CRL of each issuer that signs its own; null until the first was made.
crls = Table(
    "crls",
    metadata,
    Column("issuer_id", String(80), ForeignKey("issuers.id"), primary_key=True),
    Column("number", BigInteger, nullable=False),  # of the newest CRL, 0 for none
    Column("this_update", BigInteger),
    Column("next_update", BigInteger),
    Column("der", LargeBinary),
    Column("problem", Text),  # why the last try made none
    *_queue_columns(),
)
_index_where_set(crls.c.due_at)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("api_key_id", String(80), nullable=False),
    Column("key", String(255), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("order_id", String(80), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("api_key_id", "key"),
    sqlite_with_rowid=False,
)
Index("ix_idempotency_keys_created_at", idempotency_keys.c.created_at)

# One chain of events a process; `seq` starts at 1, `mac` covers the event and the mac before it.
audit_events = Table(
    "audit_events",
    metadata,
    Column("chain_id", String(80), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("action", String(60), nullable=False),
    Column("object_type", String(40), nullable=False),
    Column("object_id", String(80), nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    Column("request_id", String(64)),  # null: no request led to it
    Column("mac", LargeBinary, nullable=False),
    PrimaryKeyConstraint("chain_id", "seq"),
    sqlite_with_rowid=False,
)
_TIME_OF_EVENT = (audit_events.c.at, audit_events.c.chain_id, audit_events.c.seq)
Index("ix_audit_events_at", *_TIME_OF_EVENT)
Index("ix_audit_events_object_id", audit_events.c.object_id, *_TIME_OF_EVENT)
Index("ix_audit_events_action", audit_events.c.action, *_TIME_OF_EVENT)
Index("ix_audit_events_actor", audit_events.c.actor, audit_events.c.action, *_TIME_OF_EVENT)

# First and last link that must be there, itself under a mac, so that a cut tail shows.
audit_chains = Table(
    "audit_chains",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("base_seq", BigInteger, nullable=False),
    Column("base_mac", LargeBinary, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("last_mac", LargeBinary, nullable=False),
    Column("head_mac", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: Insertion order that satisfies the foreign keys, for the writer that groups rows by table.
INSERT_ORDER: tuple[Table, ...] = tuple(metadata.sorted_tables)
