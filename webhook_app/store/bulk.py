"""Statements over many rows, built once, that take their rows as one JSON parameter.

Databases read rows from it far faster than they run a statement for each of them; and a statement whose text does not
depend on the number of rows is parsed and planned once. SQLite's driver lets the other threads in at each step: one for
a batch in place of one for each row. No table is named here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Executable,
    LargeBinary,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.store.driven import POSTGRESQL, Driven, driver_of, processor_of

Rows = Sequence[Mapping[str, Any]]
Among = Callable[[Any], ColumnElement[bool]]


def table_of(mapped: type[Any]) -> Table:
    """The plain table of a typed class: statements on it skip the ORM's part of the work."""
    table: Table = mapped.__table__
    return table


class Statement:
    """A statement whose condition is a list of keys: `build` gets `among(column)`, and `ids` are given on execution."""

    def __init__(self, build: Callable[[Among], Executable]) -> None:
        self._plain = build(lambda key: key.in_(bindparam("ids", expanding=True)))
        self._postgresql = build(lambda key: key == any_(bindparam("ids", type_=ARRAY(key.type))))

    def execute(self, connection: Connection, ids: Sequence[Any], **values: Any) -> Any:
        """Run it for these keys."""
        statement = self._postgresql if _is_postgresql(connection) else self._plain
        return connection.execute(statement, {"ids": list(ids), **values})


class Many:
    """A statement over many rows, which it takes as one JSON text in the parameter `parameter`. `names` are the members
    that each row must have, in the order of `columns`."""

    names: tuple[str, ...]
    columns: Sequence[Column[Any]]
    parameter: str
    postgresql: Any
    sqlite: Any

    def __init__(self) -> None:
        self._driven: dict[str, Driven] = {}
        self._processors: Sequence[Callable[[Any], Any] | None] | None = None

    def execute(self, connection: Connection, rows: Rows) -> Any:
        """Run it for these rows, of which there is at least one. The result has `rowcount`, and the rows that it
        returns."""
        dialect = connection.dialect
        driven = self._driven.get(dialect.name)
        if driven is None:
            statement = self.postgresql if dialect.name == POSTGRESQL else self.sqlite
            driven = self._driven[dialect.name] = Driven(statement, dialect)
        given = self.as_json(rows) if dialect.name == POSTGRESQL else self._as_arrays(rows, dialect)
        return driven.run(driver_of(connection), {self.parameter: given})

    def as_json(self, rows: Rows) -> str:
        """For PostgreSQL: each row as an object, which has its place in it."""
        wanted = [{name: row[name] for name in self.names} | {"nth": nth} for nth, row in enumerate(rows)]
        return orjson.dumps(wanted, default=bytes.hex).decode()

    def _as_arrays(self, rows: Rows, dialect: Dialect) -> str:
        """For SQLite: each row as an array of values in the words of its columns."""
        if self._processors is None:
            self._processors = [_processor(each, dialect) for each in self.columns]
        how = list(zip(self.names, self._processors, strict=True))
        wanted = [[process(row[name]) if process else row[name] for name, process in how] for row in rows]
        return orjson.dumps(wanted, default=bytes.hex).decode()


class SaveMany(Many):
    """`UPDATE` of many rows by their key, each with values of its own. `found` adds conditions, and `also` values that
    do not come from the rows."""

    def __init__(
        self,
        table: Table,
        *,
        key: Sequence[str],
        columns: Sequence[str],
        found: Sequence[ColumnElement[bool]] = (),
        also: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.names = (*key, *columns)
        self.columns = [table.c[name] for name in self.names]
        self.parameter = f"saved_{table.name}"

        def statement(given: Mapping[str, ColumnElement[Any]]) -> Any:
            by_key = [table.c[name] == given[name] for name in key]
            return (
                update(table).where(*by_key, *found).values({name: given[name] for name in columns} | dict(also or {}))
            )

        self.postgresql = statement(_from_recordset(self.parameter, self.columns).values)
        self.sqlite = statement(_from_arrays(self.parameter, self.columns).values)


class AddMany(Many):
    """`INSERT` of many rows, in their order. `finish` adds what each dialect's insert can do beyond that (a conflict
    clause, RETURNING)."""

    def __init__(
        self, table: Table, *, columns: Sequence[str], finish: Callable[[Any], Any] = lambda statement: statement
    ) -> None:
        super().__init__()
        self.names = tuple(columns)
        self.columns = [table.c[name] for name in columns]
        self.parameter = f"added_{table.name}"

        def statement(insert: Any, given: _Given) -> Any:
            # Without a condition SQLite takes a conflict clause for a part of the join.
            source = select(*given.values.values()).where(true()).order_by(given.nth)
            return finish(insert.from_select(list(columns), source))

        self.postgresql = statement(postgresql.insert(table), _from_recordset(self.parameter, self.columns))
        self.sqlite = statement(sqlite.insert(table), _from_arrays(self.parameter, self.columns))


class Together:
    """Several statements over different tables, in one round trip where the database can do that. `called` are
    functions of PostgreSQL that are called in it as well."""

    def __init__(self, *parts: Many, called: Sequence[ColumnElement[Any]] = ()) -> None:
        self._parts = parts
        self._called = called
        self._made: dict[tuple[tuple[int, ...], bool], Driven] = {}

    def execute(self, connection: Connection, *rows_of_parts: Rows, **arguments: Any) -> list[int]:
        """Run each part for its rows, in this order; a part without rows is left out. Returns how many rows each found
        or made. On PostgreSQL all see the database as it was before, and what is to be called is, with these
        `arguments`; without any it is not."""
        used = tuple(n for n, rows in enumerate(rows_of_parts) if rows)
        counts = [0] * len(self._parts)
        if not used:
            return counts
        if _is_postgresql(connection):
            parameters = {self._parts[n].parameter: self._parts[n].as_json(rows_of_parts[n]) for n in used}
            driven = self._driven(connection.dialect, used, calls=bool(arguments))
            found = driven.values(driver_of(connection), parameters | arguments)[0][: len(used)]
        else:
            found = [self._parts[n].execute(connection, rows_of_parts[n]).rowcount for n in used]
        for n, count in zip(used, found, strict=True):
            counts[n] = count
        return counts

    def _driven(self, dialect: Dialect, used: tuple[int, ...], *, calls: bool) -> Driven:
        if (used, calls) not in self._made:
            done = [self._parts[n].postgresql.returning(literal(1)).cte(f"part_{n}") for n in used]
            counts = (select(func.count()).select_from(part).scalar_subquery() for part in done)
            self._made[used, calls] = Driven(select(*counts, *(self._called if calls else ())), dialect)
        return self._made[used, calls]


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == POSTGRESQL


@dataclass(frozen=True, slots=True)
class _Given:
    """The rows that a statement is given: a value for each column, by its name, and their order."""

    values: Mapping[str, ColumnElement[Any]]
    nth: ColumnElement[Any]


def _from_recordset(parameter: str, columns: Sequence[Column[Any]]) -> _Given:
    shape = [column(each.name, Text() if _is_binary(each) else each.type) for each in columns]
    given = cast(bindparam(parameter, type_=Text()), JSON())
    rows = func.json_to_recordset(given).table_valued(*shape, column("nth", BigInteger()), name="given")
    rows = rows.render_derived(with_types=True)
    # JSON has no bytes: they come as hexadecimal text.
    values = {
        str(each.key): func.decode(rows.c[each.name], "hex") if _is_binary(each) else rows.c[each.name]
        for each in columns
    }
    return _Given(values, rows.c.nth)


def _from_arrays(parameter: str, columns: Sequence[Column[Any]]) -> _Given:
    rows = func.json_each(bindparam(parameter, type_=Text())).table_valued("key", "value", name="given")
    return _Given({str(each.key): _at(rows.c.value, place, each) for place, each in enumerate(columns)}, rows.c.key)


def _at(array: ColumnElement[Any], place: int, target: Column[Any]) -> ColumnElement[Any]:
    """A row's value for a column of SQLite."""
    path: ColumnElement[Any] = literal_column(f"'$[{place}]'")
    if isinstance(target.type, JSON):
        # As text, whatever it holds; null is no JSON but no value at all.
        return func.nullif(array.op("->", return_type=Text())(path), literal_column("'null'"))
    value: ColumnElement[Any] = array.op("->>", return_type=target.type)(path)
    return func.unhex(value) if _is_binary(target) else value


def _processor(target: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """How a value goes into the JSON text; None: as it is."""
    if isinstance(target.type, JSON) or _is_binary(target):
        return None
    return processor_of(target.type, dialect)


def _is_binary(target: Column[Any]) -> bool:
    return isinstance(target.type, LargeBinary)
