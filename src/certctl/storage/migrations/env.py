"""Run by Alembic for every command; the connection comes from `certctl.storage.migrate`."""

from __future__ import annotations

from alembic import context

from certctl.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # All steps or none, on SQLite too: the connection begins its transactions itself.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
