"""What every table has in common: names of constraints, types of columns, and partial indexes."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, LargeBinary, MetaData, Text, TextClause, Uuid, text
from sqlalchemy.orm import DeclarativeBase

from webhook_app.store.types import Instant, Json

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
TrackId = Uuid(as_uuid=False)


def one_of(column: str, values: Any) -> str:
    """SQL: the column holds one of these words."""
    return f"{column} IN ({', '.join(repr(str(v)) for v in values)})"


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Instant,
        dict[str, Any]: Json,
        list[Any]: Json,
        str: Text,
        bytes: LargeBinary,
    }


def partial(name: str, *columns: str | TextClause, where: str, unique: bool = False) -> Index:
    """A partial index with the same condition on both databases: one for each poller's question."""
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))
