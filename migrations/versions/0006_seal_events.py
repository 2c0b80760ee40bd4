"""The log's identity, heads and keys, and triggers that refuse every change of an event but its sealing.

Events that were numbered before get their hashes from the worker, which begins with them: here it would hold up
everybody who writes an event. Until the workers are of the new release, an old one may number events without a hash.
"""

import os
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8
KEPT = ("position", "event_id", "type", "track_id", "client_id", "batch_id", "actor", "data", "created_at")
PARTIAL = {
    "ix_events_unchained": ("events", ["seq"], "seq IS NOT NULL AND hash IS NULL"),
    "ix_log_heads_unarchived": ("log_heads", ["seq"], "archived_at IS NULL"),
}
# A number and a hash are given once, the hash with the one before it and to an event that has a number.
SEALING = (
    "OLD.hash IS NULL AND OLD.previous_hash IS NULL AND NEW.seq IS NOT NULL"
    " AND (OLD.seq IS NULL OR OLD.seq = NEW.seq) AND (NEW.hash IS NULL) = (NEW.previous_hash IS NULL)"
)
NEW_IS_SEALED = "NEW.seq IS NOT NULL OR NEW.hash IS NOT NULL OR NEW.previous_hash IS NOT NULL"
REFUSED = "the log is append-only"


def upgrade() -> None:
    _create_tables()
    for name, (table, columns, condition) in PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)
    for statement in _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite():
        op.execute(statement)


def _create_tables() -> None:
    log = op.create_table(
        "log",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("log_id", sa.String(40), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("number = 1", name="ck_log_one"),
        sa.PrimaryKeyConstraint("number", name="pk_log"),
    )
    log_id = f"log_{os.urandom(26).translate(BASE32).decode()}"
    op.bulk_insert(log, [{"number": 1, "log_id": log_id, "created_at": datetime.now(UTC)}])
    op.create_table(
        "signing_keys",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_signing_keys"),
    )
    op.create_table(
        "log_heads",
        sa.Column("seq", BIGINT, autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("signed_at", INSTANT, nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("archived_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["signing_keys.key_id"], name="fk_log_heads_key_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_log_heads"),
    )


def _postgresql() -> list[str]:
    """The conditions stand before the triggers, not in their function: an event that is sealed pays for no call."""
    same = " AND ".join(f"OLD.{column} IS NOT DISTINCT FROM NEW.{column}" for column in KEPT)
    refuse = "EXECUTE FUNCTION refuse_change_of_log()"
    return [
        "CREATE FUNCTION refuse_change_of_log() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{REFUSED}' USING ERRCODE = 'restrict_violation'; END $$",
        "CREATE TRIGGER events_only_sealed BEFORE UPDATE ON events FOR EACH ROW"
        f" WHEN (NOT COALESCE({SEALING} AND {same}, false)) {refuse}",
        f"CREATE TRIGGER events_born_unsealed BEFORE INSERT ON events FOR EACH ROW WHEN ({NEW_IS_SEALED}) {refuse}",
        f"CREATE TRIGGER events_never_deleted BEFORE DELETE ON events FOR EACH ROW {refuse}",
        f"CREATE TRIGGER events_never_truncated BEFORE TRUNCATE ON events FOR EACH STATEMENT {refuse}",
    ]


def _sqlite() -> list[str]:
    """`OR REPLACE` would delete rows without firing a trigger: what it would replace is refused as well."""
    same = " AND ".join(f"OLD.{column} IS NEW.{column}" for column in KEPT)
    refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
    taken = "OLD.seq IS NULL AND EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq)"
    there = "EXISTS (SELECT 1 FROM events WHERE event_id = NEW.event_id OR position = NEW.position)"
    return [
        "CREATE TRIGGER events_only_sealed BEFORE UPDATE ON events FOR EACH ROW"
        f" WHEN NOT COALESCE({SEALING} AND {same}, 0) OR {taken} {refuse}",
        f"CREATE TRIGGER events_born_unsealed BEFORE INSERT ON events FOR EACH ROW WHEN {NEW_IS_SEALED} OR {there}"
        f" {refuse}",
        f"CREATE TRIGGER events_never_deleted BEFORE DELETE ON events FOR EACH ROW {refuse}",
    ]


def downgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for name in ("only_sealed", "born_unsealed", "never_deleted", *(["never_truncated"] if postgresql else [])):
        op.execute(f"DROP TRIGGER events_{name}" + (" ON events" if postgresql else ""))
    if postgresql:
        op.execute("DROP FUNCTION refuse_change_of_log()")
    for name, (table, _, _) in reversed(PARTIAL.items()):
        op.drop_index(name, table)
    for table in ("log_heads", "signing_keys", "log"):
        op.drop_table(table)
