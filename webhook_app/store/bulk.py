"""Statements over many rows, built once: a JSON parameter on PostgreSQL, the driver's own loop on SQLite.

PostgreSQL reads rows from one JSON parameter far faster than it runs a statement for each of them; and a statement
whose text does not depend on the number of rows is parsed and planned once. No table is named here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Executable,
    FromClause,
    LargeBinary,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.store.driven import Driven

POSTGRESQL = "postgresql"
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
    """A statement over many rows in its two forms: `postgresql` takes them as one JSON text, in the parameter
    `parameter`; `plain` takes them one by one, `members` says which member of a row a parameter is. `names` are the
    members that each row must have."""

    names: tuple[str, ...]
    parameter: str
    postgresql: Any
    plain: Any
    members: Mapping[str, str]
    _driven: Driven | None = None

    def execute(self, connection: Connection, rows: Rows) -> Any:
        """Run it for these rows, of which there is at least one. The result has `rowcount`, and the rows that it
        returns."""
        if _is_postgresql(connection):
            return connection.execute(self.postgresql, {self.parameter: self.as_json(rows)})
        if self._driven is None:
            self._driven = Driven(self.plain, connection.dialect, columns=list(self.members), members=self.members)
        return self._driven.run_for_each(connection.connection.driver_connection, rows)

    def as_json(self, rows: Rows) -> str:
        wanted = [{name: row[name] for name in self.names} | {"nth": nth} for nth, row in enumerate(rows)]
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
        self.names = (*key, *columns)
        self.parameter = f"saved_{table.name}"
        rows = _recordset(self.parameter, [table.c[name] for name in self.names])
        by_key = [table.c[name] == rows.c[name] for name in key]
        values = {name: _value(table.c[name], rows) for name in columns} | dict(also or {})
        self.postgresql = update(table).where(*by_key, *found).values(values)
        one_key = [table.c[name] == bindparam(f"at_{name}") for name in key]
        one = {name: bindparam(f"to_{name}") for name in columns} | dict(also or {})
        self.plain = update(table).where(*one_key, *found).values(one)
        self.members = {f"at_{name}": name for name in key} | {f"to_{name}": name for name in columns}


class AddMany(Many):
    """`INSERT` of many rows, in their order. `finish` adds what each dialect's insert can do beyond that (a conflict
    clause, RETURNING)."""

    def __init__(
        self, table: Table, *, columns: Sequence[str], finish: Callable[[Any], Any] = lambda statement: statement
    ) -> None:
        self.names = tuple(columns)
        self.parameter = f"added_{table.name}"
        rows = _recordset(self.parameter, [table.c[name] for name in columns])
        source = select(*(_value(table.c[name], rows) for name in columns)).order_by(rows.c.nth)
        self.postgresql = finish(postgresql.insert(table).from_select(list(columns), source))
        self.plain = finish(sqlite.insert(table))
        self.members = {name: name for name in columns}


class Together:
    """Several statements over different tables, in one round trip where the database can do that. `called` are
    functions of PostgreSQL that are called in it as well."""

    def __init__(self, *parts: Many, called: Sequence[ColumnElement[Any]] = ()) -> None:
        self._parts = parts
        self._called = called
        self._made: dict[tuple[tuple[int, ...], bool], Executable] = {}

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
            statement = self._statement(used, calls=bool(arguments))
            found = list(connection.execute(statement, parameters | arguments).one())[: len(used)]
        else:
            found = [self._parts[n].execute(connection, rows_of_parts[n]).rowcount for n in used]
        for n, count in zip(used, found, strict=True):
            counts[n] = count
        return counts

    def _statement(self, used: tuple[int, ...], *, calls: bool) -> Executable:
        if (used, calls) not in self._made:
            done = [self._parts[n].postgresql.returning(literal(1)).cte(f"part_{n}") for n in used]
            counts = (select(func.count()).select_from(part).scalar_subquery() for part in done)
            self._made[used, calls] = select(*counts, *(self._called if calls else ()))
        return self._made[used, calls]


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == POSTGRESQL


def _recordset(parameter: str, columns: Sequence[Column[Any]]) -> FromClause:
    shape = [column(each.name, Text() if _is_binary(each) else each.type) for each in columns]
    given = cast(bindparam(parameter, type_=Text()), JSON())
    rows = func.json_to_recordset(given).table_valued(*shape, column("nth", BigInteger()), name="given")
    return rows.render_derived(with_types=True)


def _value(target: Column[Any], rows: FromClause) -> ColumnElement[Any]:
    """A row's value for a column. JSON has no bytes: they come as hexadecimal text."""
    given: ColumnElement[Any] = rows.c[target.name]
    return func.decode(given, "hex") if _is_binary(target) else given


def _is_binary(target: Column[Any]) -> bool:
    return isinstance(target.type, LargeBinary)
