"""What erasing has to find: bytes that an archiver puts just now, copies at the provider one by one, bodies that name
another job than the one they came for, and bytes that could not be removed."""

import re
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(sa.dialects.postgresql.JSONB(), "postgresql")
NAMED = "names_track_id IS NOT NULL"
AT_ONCE = 500
CALLBACKS = sa.table(
    "callbacks",
    sa.column("callback_id", sa.String),
    sa.column("track_id", sa.Uuid(as_uuid=False)),
    sa.column("names_track_id", sa.Uuid(as_uuid=False)),
    sa.column("verdict", sa.String),
    sa.column("body", sa.LargeBinary),
)
TRACK_ID = re.compile(rb'"track_id"\s*:\s*"([0-9A-Fa-f-]{36})"')


def upgrade() -> None:
    op.add_column("images", sa.Column("putting_sha256", sa.String(64), nullable=True))
    op.add_column("blobs", sa.Column("remove_tries", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("erasures", sa.Column("copies", JSON, nullable=False, server_default=sa.text("'{}'")))
    op.add_column("callbacks", sa.Column("names_track_id", sa.Uuid(as_uuid=False), nullable=True))
    _note_whom_bodies_name(op.get_bind())
    where = sa.text(NAMED)
    op.create_index(
        "ix_callbacks_names_track_id", "callbacks", ["names_track_id"], postgresql_where=where, sqlite_where=where
    )


def _note_whom_bodies_name(connection: sa.Connection) -> None:
    """Of those that were ignored before, so that erasing finds them too."""
    ignored = CALLBACKS.c.verdict.in_(("mismatched", "unreadable")) & CALLBACKS.c.body.is_not(None)
    last = ""
    while True:
        page = sa.select(CALLBACKS).where(ignored, CALLBACKS.c.callback_id > last).order_by(CALLBACKS.c.callback_id)
        rows = connection.execute(page.limit(AT_ONCE)).all()
        if not rows:
            return
        last = rows[-1].callback_id
        for row in rows:
            found = TRACK_ID.search(row.body)
            named = None if found is None else _uuid(found[1].decode())
            if named not in (None, row.track_id):
                mine = CALLBACKS.c.callback_id == row.callback_id
                connection.execute(sa.update(CALLBACKS).where(mine).values(names_track_id=named))


def _uuid(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def downgrade() -> None:
    op.drop_index("ix_callbacks_names_track_id", "callbacks")
    op.drop_column("callbacks", "names_track_id")
    op.drop_column("erasures", "copies")
    op.drop_column("blobs", "remove_tries")
    op.drop_column("images", "putting_sha256")
