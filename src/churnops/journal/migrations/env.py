"""Run by Alembic for each migration, within the transaction that `journal.database` has begun."""

from alembic import context

from churnops.journal.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
