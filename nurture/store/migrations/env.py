"""Alembic's door: migrations run on the connection that Database.migrate() hands over, in its transaction."""

from alembic import context

from nurture.store.core.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction holds everything
)
context.run_migrations()
