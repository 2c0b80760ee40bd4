"""Reads that are asked thousands of times a second: on the driver's own cursor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    CompoundSelect,
    Connection,
    Dialect,
    Executable,
    Select,
    Text,
    TypeDecorator,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.types import TypeEngine

from webhook_app.store.bulk import Among
from webhook_app.store.driven import POSTGRESQL, SQLITE, Driven, driver_of, processor_of
from webhook_app.store.engine import Store


class Lookup:
    """A SELECT with plain parameters, compiled once for each dialect."""

    def __init__(self, statement: Select[Any] | CompoundSelect[Any]) -> None:
        self._statement = statement
        self._driven: dict[str, Driven] = {}

    def within(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """All rows, as named tuples, in this transaction."""
        dialect = connection.dialect
        driven = self._driven.get(dialect.name)
        if driven is None:
            driven = self._driven[dialect.name] = Driven(self._statement, dialect)
        return driven.run(driver_of(connection), parameters).rows


class Find:
    """A SELECT whose condition is a list of keys, compiled once for each dialect and for one key. `build` gets `among`,
    which it calls once, with the column of the keys. `values` are the statement's other parameters."""

    def __init__(self, build: Callable[[Among], Executable]) -> None:
        self._build = build
        self._driven: dict[tuple[str, bool], Driven] = {}

    def rows(self, connection: Connection, keys: Sequence[Any], **values: Any) -> list[list[Any]]:
        """Each row in the order of the statement's columns."""
        driven, given = self._ready(connection.dialect, keys)
        return driven.values(driver_of(connection), given | values)

    def named(self, connection: Connection, keys: Sequence[Any], **values: Any) -> list[Any]:
        """As `rows`, each as a named tuple."""
        driven, given = self._ready(connection.dialect, keys)
        return driven.run(driver_of(connection), given | values).rows

    def alone(self, store: Store, keys: Sequence[Any], **values: Any) -> list[list[Any]]:
        """As `rows`: a read of its own, in no transaction."""
        driven, given = self._ready(store.engine.dialect, keys)
        with store.driving() as connection:
            return driven.values(connection, given | values)

    def _ready(self, dialect: Dialect, keys: Sequence[Any]) -> tuple[Driven, dict[str, Any]]:
        is_one = len(keys) == 1
        driven = self._driven.get((dialect.name, is_one))
        if driven is None:
            driven = self._driven[dialect.name, is_one] = Driven(self._build(_AMONG[dialect.name, is_one]), dialect)
        return driven, {"keys": keys[0] if is_one else keys}


class _Listed(TypeDecorator[Any]):
    """Keys as one JSON text: each in the words of its column for SQLite, as it is for PostgreSQL, which casts it."""

    impl = Text
    cache_ok = True

    def __init__(self, key: TypeEngine[Any]) -> None:
        super().__init__()
        self.key = key

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        process = processor_of(self.key, dialect) if dialect.name == SQLITE else None
        return lambda keys: orjson.dumps([process(key) for key in keys] if process else keys).decode()


def _equal(key: Any) -> Any:
    return key == bindparam("keys", type_=key.type)


def _in_elements(key: Any) -> Any:
    listed = cast(bindparam("keys", type_=_Listed(key.type)), JSON())
    values = func.json_array_elements_text(listed).table_valued("value", name="given")
    return key.in_(select(cast(values.c.value, key.type)))


def _in_each(key: Any) -> Any:
    listed = func.json_each(bindparam("keys", type_=_Listed(key.type))).table_valued("value", name="given")
    return key.in_(select(listed.c.value))


# By dialect, and whether there is one key. PostgreSQL keeps the plans of both; that of an array it would make anew each
# time, which costs more than the search itself.
_AMONG: dict[tuple[str, bool], Among] = {
    (POSTGRESQL, True): _equal,
    (POSTGRESQL, False): _in_elements,
    (SQLITE, True): _equal,
    (SQLITE, False): _in_each,
}
