"""Statements on the driver's own cursor, compiled once: for a short read, and for each row of many that are written to
SQLite, SQLAlchemy's part of an execution costs several times what the database's does."""

from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Dialect

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
    """A statement in the words of one dialect. `columns` are those that an INSERT without values fills; `members` says
    where a parameter's value stands, where that is not its own name."""

    def __init__(
        self,
        statement: Any,
        dialect: Dialect,
        *,
        columns: Collection[str] | None = None,
        members: Mapping[str, str] | None = None,
    ) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        self.text = str(compiled)
        self._dialect, self._is_positional = dialect, compiled.positional
        names = (compiled.positiontup if compiled.positional else list(compiled.params)) or []
        binds = [(name, compiled.binds[name]) for name in names]
        process = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in binds}
        self._given = [(name, (members or {}).get(name, name), process[name]) for name, bind in binds if bind.required]
        self._fixed = {
            name: process[name](bind.effective_value) if process[name] else bind.effective_value
            for name, bind in binds
            if not bind.required
        }
        self._places = names if self._fixed else None
        self._selected = list(statement.exported_columns)
        self._row = _row_of([column.key for column in self._selected])
        self._reads: list[tuple[int, Processor]] | None = None

    def parameters(self, row: Mapping[str, Any]) -> Any:
        """The values of one execution, as the driver takes them."""
        if self._is_positional and self._places is None:
            return [process(row[member]) if process else row[member] for _, member, process in self._given]
        values = {name: process(row[member]) if process else row[member] for name, member, process in self._given}
        values |= self._fixed
        return [values[name] for name in self._places or ()] if self._is_positional else values

    def values_of(self, cursor: Any) -> list[list[Any]]:
        """What was found, in the order of the statement's columns, as SQLAlchemy would give it."""
        found = [list(row) for row in cursor.fetchall()]
        if self._reads is None:
            # Known from the first answer on: how some types are read depends on what the database calls them.
            self._reads = list(self._readers([column[1] for column in cursor.description]))
        for row in found:
            for place, read in self._reads:
                if row[place] is not None:
                    row[place] = read(row[place])
        return found

    def _readers(self, given_types: Sequence[Any]) -> Iterator[tuple[int, Processor]]:
        for place, (column, given) in enumerate(zip(self._selected, given_types, strict=True)):
            read = column.type.dialect_impl(self._dialect).result_processor(self._dialect, given)
            if read is not None:
                yield place, read

    def run_for_each(self, connection: Any, rows: Sequence[Mapping[str, Any]]) -> Done:
        """Run it once for each of these rows on the driver's connection."""
        cursor = connection.cursor()
        parameters = [self.parameters(row) for row in rows]
        if not self._selected:
            cursor.executemany(self.text, parameters)
            return Done(cursor.rowcount)
        found = []
        for values in parameters:
            cursor.execute(self.text, values)
            found += self.values_of(cursor)
        return Done(len(found), [self._row(*row) for row in found])


def _row_of(names: Sequence[str]) -> Callable[..., Any]:
    return namedtuple("Row", names, rename=True)
