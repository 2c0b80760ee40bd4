"""The log and its signed heads, for whoever checks them: read from the database and the archive, or from an export,
which anybody can check without either."""

import heapq
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, count
from typing import IO, Any

from webhook_app.domain.audit import Event, Record, SeenHead, Where
from webhook_app.domain.chain import HASHED
from webhook_app.domain.errors import StorageError
from webhook_app.domain.heads import HEADS, Head, PublicKey, head_key, read_head, read_key
from webhook_app.flows.show import dumps
from webhook_app.storage.port import Storage
from webhook_app.store import heads, log, reads
from webhook_app.store.engine import Store

PAGE = 1_000
KINDS = ("log", "key", "event", "head")


def identity(store: Store) -> tuple[str, list[PublicKey]]:
    """The log's id, and every key that signed heads of it."""
    with store.reading() as connection:
        return reads.log_end(connection).log_id, reads.signing_keys(connection)


def records(store: Store, storage: Storage | None, *, log_id: str, after: int = 0) -> Iterator[Record]:
    """The log with its heads, from behind that `seq` on, in the order that an auditor wants; without those in the
    archive when `storage` is None. No transaction is open meanwhile. Raises `StorageError` when it cannot be listed."""
    # The log grows meanwhile. Taken in this order, every copy has its head, and every head its event.
    with store.reading() as connection:
        copied = heads.newest_archived(connection) if storage is not None else 0
    last_copy = _last_copy(storage, log_id, after) if storage is not None else 0
    with store.reading() as connection:
        last_head = heads.newest(connection)
    with store.reading() as connection:
        last_event = reads.log_end(connection).seq
    sources: list[Iterator[Record]] = [
        _events(store, after, last_event),
        _heads(store, after, last_head[0] if last_head else 0, copied=copied),
    ]
    if storage is not None:
        sources.append(_archived(storage, log_id, after, last_copy))
    number = count()  # Records themselves have no order.
    placed = [_placed(rank, source, number) for rank, source in enumerate(sources)]
    yield from (record for *_, record in heapq.merge(*placed))


def _placed(rank: int, source: Iterator[Record], number: "count[int]") -> Iterator[tuple[int, int, int, Record]]:
    for record in source:
        yield (record.seq if isinstance(record, SeenHead) else record["seq"]), rank, next(number), record


def _events(store: Store, after: int, last: int) -> Iterator[Event]:
    while after < last:
        with store.reading() as connection:
            page = log.sealed_after(connection, after, limit=PAGE)
        yield from (event for event in page if event["seq"] <= last)
        if len(page) < PAGE:
            return
        after = page[-1]["seq"]


def _heads(store: Store, after: int, last: int, *, copied: int) -> Iterator[SeenHead]:
    while after < last:
        with store.reading() as connection:
            page = heads.after(connection, after, limit=PAGE)
        for head, is_archived in page:
            seq = head.statement.seq
            if seq <= last:
                yield SeenHead(seq, Where.DATABASE, head, is_archived and seq <= copied)
        if len(page) < PAGE:
            return
        after = page[-1][0].statement.seq


def _archived(storage: Storage, log_id: str, after: int, last: int) -> Iterator[SeenHead]:
    for key in _copies(storage, log_id, after):
        seq = _seq_of(key)
        if seq <= last:
            yield SeenHead(seq, Where.ARCHIVE, _read(storage, key))


def _last_copy(storage: Storage, log_id: str, after: int) -> int:
    return max((_seq_of(key) for key in _copies(storage, log_id, after)), default=0)


def _copies(storage: Storage, log_id: str, after: int) -> Iterator[str]:
    last = head_key(log_id, after)
    while page := storage.objects(f"{HEADS}/{log_id}", after=last, limit=PAGE):
        yield from (entry.key for entry in page)
        last = page[-1].key


def _seq_of(key: str) -> int:
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if name.isdecimal() else 0


def _read(storage: Storage, key: str) -> Head | None:
    try:
        return read_head(b"".join(storage.read(key)))
    except (ValueError, StorageError):
        return None


def exported(log_id: str, keys: Iterable[PublicKey], found: Iterable[Record], *, now: datetime) -> Iterator[bytes]:
    """An export's lines: which log it is, its keys, and its records."""
    yield _line("log", {"log_id": log_id, "exported_at": now})
    for key in keys:
        yield _line("key", key.jwk)
    for record in found:
        if not isinstance(record, SeenHead):
            yield _line("event", {name: record[name] for name in (*HASHED, "hash")})
        elif record.head is not None:
            yield _line("head", json.loads(record.head.document))


def _line(kind: str, value: Any) -> bytes:
    return dumps({kind: value}) + b"\n"


def read_export(file: IO[bytes]) -> tuple[str, list[PublicKey], Iterator[Record]]:
    """What an export says: the log's id, its keys, and its records. Raises `ValueError` for what is none, then or while
    the records are read."""
    lines = (_read_line(number, line) for number, line in enumerate(file, start=1))
    kind, value = next(lines, ("", {}))
    if kind != "log" or not isinstance(value.get("log_id"), str):
        raise ValueError("line 1 does not say which log this is")
    keys: list[PublicKey] = []
    rest: Iterator[tuple[str, dict[str, Any]]] = lines
    for line in lines:
        if line[0] != "key":
            rest = chain([line], lines)
            break
        keys.append(read_key(line[1]))
    return value["log_id"], keys, (_record(*line) for line in rest)


def _read_line(number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        ((kind, value),) = json.loads(line).items()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"line {number} is not a line of an export") from error
    whole = {"event": {*HASHED, "hash"}, "head": {"seq"}}.get(kind, set())
    if kind not in KINDS or not isinstance(value, dict) or not whole <= value.keys():
        raise ValueError(f"line {number} is not a line of an export")
    return kind, value


def _record(kind: str, value: dict[str, Any]) -> Record:
    if kind == "event":
        return value
    try:
        head = read_head(value)
    except ValueError:
        head = None
    return SeenHead(value["seq"], Where.EXPORT, head)
