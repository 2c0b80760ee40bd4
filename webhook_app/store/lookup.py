"""Reads that are asked thousands of times a second."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Dialect, Select

from webhook_app.store.driven import Driven, driver_of
from webhook_app.store.engine import Store


class Lookup:
    """A SELECT with plain parameters on the driver's own cursor, compiled once for each dialect."""

    def __init__(self, statement: Select[Any] | CompoundSelect[Any]) -> None:
        self._statement = statement
        self._driven: dict[str, Driven] = {}

    def rows(self, store: Store, parameters: Mapping[str, Any]) -> list[list[Any]]:
        """All rows, each in the order of the statement's columns. A read of its own, in no transaction."""
        driven = self._for(store.engine.dialect)
        with store.driving() as connection:
            return driven.values(connection, parameters)

    def within(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """All rows, as named tuples, in this transaction."""
        return self._for(connection.dialect).run(driver_of(connection), parameters).rows

    def _for(self, dialect: Dialect) -> Driven:
        driven = self._driven.get(dialect.name)
        if driven is None:
            driven = self._driven[dialect.name] = Driven(self._statement, dialect)
        return driven
