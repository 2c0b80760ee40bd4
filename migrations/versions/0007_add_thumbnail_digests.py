"""What the thumbnails of a picture are, so that an altered one can be told from a sound one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("blobs", sa.Column("thumbnail_sha256", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("blobs", "thumbnail_sha256")
