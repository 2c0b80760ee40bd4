"""Migrated PostgreSQL databases for tests, lent one after the other: what a test wrote is taken out again and the name
changes, which costs a tenth of making a database. One that cannot be made clean is dropped instead."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from tests import databases

# Beyond this a new one is cheaper than a clean one.
MOST_BYTES = 32 * 1024 * 1024
SHAPE = """
SELECT md5(coalesce(string_agg(line, E'\n' ORDER BY line), '')) FROM (
    SELECT format('relation %s %s %s %s', oid, relname, relkind, reloptions) AS line
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'
    UNION ALL SELECT format('index %s %s', indexname, indexdef) FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT format('column %s %s %s %s', attrelid, attname, atttypid, attnotnull)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0
    UNION ALL SELECT format('trigger %s %s %s', tgrelid, tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT format('constraint %s %s', conrelid, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT format('function %s %s', proname, md5(prosrc)) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT format('setting %s', setconfig) FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS lines
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
RESTART = """
SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""
INSERT = "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{0}, %s)"
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


class Lender:
    """The databases of one process, all copies of one template."""

    def __init__(self, server: str, template: str) -> None:
        self._server, self._template = server, template
        self._free: list[str] = []
        self._office = self._connect(server)
        with self._connect(databases.in_server(server, template)) as connection:
            self._tables = [name for (name,) in connection.execute(TABLES)]
            self._seeds = {name: rows for name in self._tables if (rows := self._rows(connection, name))}
        self._shape: str | None = None

    @staticmethod
    def _connect(url: str) -> psycopg.Connection[Any]:
        plain = make_url(url).set(drivername="postgresql")  # The driver knows no names of SQLAlchemy's.
        return psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True)

    @staticmethod
    def _rows(connection: psycopg.Connection[Any], table: str) -> list[str]:
        found = connection.execute(sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(table)))
        return [json.dumps(row) for (row,) in found]

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a database as the migrations leave it, nobody else's until the block ends."""
        name = self._free.pop() if self._free else self._made()
        try:
            yield databases.in_server(self._server, name)
        finally:
            self._take_back(name)

    def close(self) -> None:
        """Drop what is left."""
        for name in self._free:
            self._drop(name)
        self._office.close()

    def _made(self) -> str:
        name = databases.new_name()
        self._ask("CREATE DATABASE {} TEMPLATE {}", name, self._template)
        if self._shape is None:
            with self._connect(databases.in_server(self._server, name)) as connection:
                self._shape = self._shape_of(connection)
        return name

    def _take_back(self, name: str) -> None:
        """Under another name, so that a thread which outlived its test cannot write into the next one's."""
        free = databases.new_name()
        try:
            self._office.execute(END_SESSIONS, [name])
            self._ask("ALTER DATABASE {} RENAME TO {}", name, free)
        except psycopg.Error:
            self._drop(name)
            return
        if self._is_clean(free):
            self._free.append(free)
        else:
            self._drop(free)

    def _is_clean(self, name: str) -> bool:
        """Whether nothing of its last user is left there, after an attempt to make it so."""
        try:
            with self._connect(databases.in_server(self._server, name)) as connection:
                if self._shape_of(connection) != self._shape or connection.execute(SIZE).fetchone()[0] > MOST_BYTES:
                    return False
                with connection.transaction():
                    self._empty(connection)
        except psycopg.Error:
            return False
        return True

    def _empty(self, connection: psycopg.Connection[Any]) -> None:
        # The log's guards and the foreign keys look away, as they do for a replica.
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in self._tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        for table, rows in self._seeds.items():
            insert = sql.SQL(
                "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{0}, %s)"
            )
            for row in rows:
                connection.execute(insert.format(sql.Identifier(table)), [row])
        connection.execute(RESTART)

    def _shape_of(self, connection: psycopg.Connection[Any]) -> str:
        return str(connection.execute(SHAPE).fetchone()[0])

    def _drop(self, name: str) -> None:
        self._ask("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _ask(self, statement: str, *names: str) -> None:
        """On the connection that outlives all databases; a new one where a test has stopped the server meanwhile."""
        if self._office.closed:
            self._office = self._connect(self._server)
        self._office.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))
