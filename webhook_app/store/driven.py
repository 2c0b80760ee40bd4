"""Statements on the driver's own cursor, compiled once: SQLAlchemy's part of a short one costs several times what the
database's does."""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Dialect

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
    """A statement in the words of one dialect."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._dialect, self._is_positional = dialect, compiled.positional
        self._names = (compiled.positiontup if compiled.positional else list(compiled.params)) or []
        # For each parameter: its name and how its value is given; or a value that is always the same.
        self._places = [_place(name, compiled.binds[name], dialect) for name in self._names]
        self._selected = list(statement.exported_columns)
        self._row = _row_of([column.key for column in self._selected])
        self._reads: list[tuple[int, Processor]] | None = None

    def parameters(self, given: Mapping[str, Any]) -> Any:
        """The values of one execution, as the driver takes them."""
        values = [
            fixed if name is None else process(given[name]) if process else given[name]
            for name, process, fixed in self._places
        ]
        return values if self._is_positional else dict(zip(self._names, values, strict=True))

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

    def run(self, connection: Any, given: Mapping[str, Any]) -> Done:
        """Run it on the driver's connection."""
        cursor = connection.cursor()
        cursor.execute(self.text, self.parameters(given))
        if not self._selected:
            return Done(cursor.rowcount)
        rows = [self._row(*row) for row in self.values_of(cursor)]
        return Done(len(rows), rows)


def _place(name: str, bind: BindParameter[Any], dialect: Dialect) -> tuple[str | None, Processor | None, Any]:
    process = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if bind.required:
        return name, process, None
    return None, None, process(bind.effective_value) if process else bind.effective_value


def _row_of(names: Sequence[str]) -> Callable[..., Any]:
    return namedtuple("Row", names, rename=True)
