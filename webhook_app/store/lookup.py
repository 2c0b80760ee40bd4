"""Reads that are asked thousands of times a second, on the driver's own cursor: for one short SELECT, SQLAlchemy's part
of an execution costs several times what the database's does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Select

from webhook_app.store.engine import Store

Processor = Callable[[Any], Any]


@dataclass(slots=True)
class _Made:
    """A statement in the words of one dialect. `binds` says how each parameter is given (None: as it is), by its name
    and in the order of their places; `reads` how the values of some columns are read, by their place: known from the
    first answer on, as it depends on what the database calls their types."""

    text: str
    is_positional: bool
    binds: Mapping[str, Processor | None]
    reads: Sequence[tuple[int, Processor]] | None = None


class Lookup:
    """A SELECT with plain parameters, compiled once for each dialect. Its rows are those that SQLAlchemy would give."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._made: dict[str, _Made] = {}

    def rows(self, store: Store, parameters: Mapping[str, Any]) -> list[list[Any]]:
        """All rows, each in the order of the statement's columns. A read of its own, in no transaction."""
        dialect = store.engine.dialect
        made = self._made.get(dialect.name) or self._make(dialect)
        given = {name: bind(parameters[name]) if bind else parameters[name] for name, bind in made.binds.items()}
        with store.driving() as connection:
            cursor = connection.execute(made.text, list(given.values()) if made.is_positional else given)
            rows = [list(row) for row in cursor.fetchall()]
            if made.reads is None:
                made.reads = self._reads(dialect, [column[1] for column in cursor.description])
        for row in rows:
            for place, read in made.reads:
                if row[place] is not None:
                    row[place] = read(row[place])
        return rows

    def _make(self, dialect: Dialect) -> _Made:
        compiled = self._statement.compile(dialect=dialect)
        types = {bind.key: bind.type for bind in compiled.binds.values()}
        names = (compiled.positiontup if compiled.positional else list(compiled.params)) or ()
        binds = {name: types[name].dialect_impl(dialect).bind_processor(dialect) for name in names}
        self._made[dialect.name] = _Made(str(compiled), compiled.positional, binds)
        return self._made[dialect.name]

    def _reads(self, dialect: Dialect, given_types: Sequence[Any]) -> list[tuple[int, Processor]]:
        columns = zip(self._statement.selected_columns, given_types, strict=True)
        reads = [column.type.dialect_impl(dialect).result_processor(dialect, given) for column, given in columns]
        return [(place, read) for place, read in enumerate(reads) if read is not None]
