"""Statements on the driver's own cursor, compiled once: SQLAlchemy's part of a short one costs several times what the
database's does."""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
from sqlalchemy import JSON, BindParameter, Connection, Dialect, LargeBinary, Select, Text, cast, func
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

POSTGRESQL, SQLITE = "postgresql", "sqlite"
TEXT = 25  # PostgreSQL's own number for the type.
LONG_NUMBER = 0.1 + 0.2
Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What a statement over many rows has done, with the rows that it returns."""

    rowcount: int
    rows: list[Any] = field(default_factory=list)

    def all(self) -> list[Any]:
        return self.rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


class Driven:
    """A statement in the words of one dialect, with its parameters by place."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        self._dialect, self._is_postgresql = dialect, dialect.name == POSTGRESQL
        # `$1` is what PostgreSQL itself calls them: the driver has nothing to translate.
        words: Any = type(dialect)
        words = words(paramstyle="numeric_dollar") if self._is_postgresql else dialect
        self._selected = list(statement.exported_columns)
        self._is_packed = _may_be_packed(statement, dialect)
        if self._is_packed:
            statement = _packed(statement)
        elif self._is_postgresql and isinstance(statement, Select):
            statement = _json_as_text(statement)
        compiled = statement.compile(dialect=words)
        self._text = str(compiled)
        # For each parameter: its name and how its value is given; or a value that is always the same.
        self._places = [_place(name, compiled.binds[name], dialect) for name in compiled.positiontup or []]
        self._row = _row_of([column.key for column in self._selected])
        self._reads: list[tuple[int, Processor]] | None = None

    def values(self, connection: Any, given: Mapping[str, Any]) -> list[list[Any]]:
        """Run it on the driver's connection: what was found, in the order of the statement's columns, as SQLAlchemy
        would give it. Raises SQLAlchemy's errors."""
        cursor, found = self._answer(connection, given)
        if self._reads is None:
            # Known from the first answer on: how some types are read depends on what the database calls them.
            self._reads = list(
                self._readers(
                    [None for _ in self._selected] if self._is_packed else [each[1] for each in cursor.description]
                )
            )
        for row in found:
            for place, read in self._reads:
                if row[place] is not None:
                    row[place] = read(row[place])
        return found

    def run(self, connection: Any, given: Mapping[str, Any]) -> Done:
        """Run it on the driver's connection. Raises SQLAlchemy's errors."""
        if not self._selected:
            return Done(self._answer(connection, given)[0].rowcount)
        rows = [self._row(*row) for row in self.values(connection, given)]
        return Done(len(rows), rows)

    def _answer(self, connection: Any, given: Mapping[str, Any]) -> tuple[Any, list[list[Any]]]:
        """The cursor and what it found, as the driver gives it."""
        dbapi: Any = self._dialect.loaded_dbapi
        values = [
            fixed if name is None else process(given[name]) if process else given[name]
            for name, process, fixed in self._places
        ]
        try:
            cursor = dbapi.RawCursor(connection) if self._is_postgresql else connection.cursor()
            cursor.execute(self._text, values)
            if self._is_packed:
                return cursor, [orjson.loads(packed) for (packed,) in cursor.fetchall()]
            return cursor, [list(row) for row in cursor.fetchall()] if self._selected else []
        except dbapi.Error as error:
            lost = self._dialect.is_disconnect(error, connection, None)
            raise DBAPIError.instance(
                self._text,
                None,
                error,
                dbapi.Error,
                hide_parameters=True,
                connection_invalidated=lost,
                dialect=self._dialect,
            ) from error

    def _readers(self, given_types: Sequence[Any]) -> Iterator[tuple[int, Processor]]:
        for place, (column, given) in enumerate(zip(self._selected, given_types, strict=True)):
            if self._is_postgresql and isinstance(column.type, JSON) and given == TEXT:
                read: Processor | None = orjson.loads
            else:
                read = column.type.dialect_impl(self._dialect).result_processor(self._dialect, given)
            if read is not None:
                yield place, read


def processor_of(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """How a value of this type is given to the driver; None: as it is."""
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _place(name: str, bind: BindParameter[Any], dialect: Dialect) -> tuple[str | None, Processor | None, Any]:
    process = processor_of(bind.type, dialect)
    if bind.required:
        return name, process, None
    return None, None, process(bind.effective_value) if process else bind.effective_value


def _row_of(names: Sequence[str]) -> Callable[..., Any]:
    return namedtuple("Row", names, rename=True)


def driver_of(connection: Connection) -> Any:
    """The driver's connection, in the same transaction."""
    return connection.connection.driver_connection


def _may_be_packed(statement: Any, dialect: Dialect) -> bool:
    binary = any(isinstance(column.type, LargeBinary) for column in statement.exported_columns)
    packs = dialect.name == SQLITE and isinstance(statement, Select) and not binary
    driver: Any = dialect.loaded_dbapi
    return packs and _packs_exactly(driver)


@cache
def _packs_exactly(dbapi: Any) -> bool:
    """Whether this SQLite writes all digits of a number into JSON; older ones write 15."""
    with closing(dbapi.connect(":memory:")) as connection:
        ((packed,),) = connection.execute("SELECT json_array(?)", [LONG_NUMBER])
    return bool(orjson.loads(packed) == [LONG_NUMBER])


def _json_as_text(statement: Select[Any]) -> Select[Any]:
    """PostgreSQL's driver reads JSON in Python, and at some length."""
    columns = [
        cast(each, Text()).label(each.key) if isinstance(each.type, JSON) else each
        for each in statement.exported_columns
    ]
    return statement.with_only_columns(*columns, maintain_column_froms=True)


def _packed(statement: Select[Any]) -> Select[Any]:
    """Each row as one JSON text. SQLite's driver lets the other threads in at each column that it reads: with dozens of
    them, and other requests at work, that costs more than all the rest of a status."""
    columns = list(statement.exported_columns)
    return statement.with_only_columns(func.json_array(*columns), maintain_column_froms=True)
