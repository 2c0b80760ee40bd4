"""Callbacks while the database is away: into a file of this machine, and from there into the database as raw rows,
which a worker's tick applies as it does every callback that was kept raw (design.md, decision 7). One that cannot
be brought back is set aside, so that it does not hold up the others, and overwritten once its job is erased."""

import base64
import json
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import structlog

from webhook_app.domain.errors import Unstorable
from webhook_app.flows.receive import Arrival, keep_raw
from webhook_app.storage.port import Drained, Spool
from webhook_app.store import jobs
from webhook_app.store.engine import Store

PROBLEM = "the database was away when it came"
# What a line itself may be to blame for: it is none of ours, or holds a value that no table takes. Whatever else goes
# wrong says nothing about the line, which then stays where it is.
FAULTS_OF_A_LINE = (Unstorable, ArithmeticError, LookupError, TypeError, ValueError)

TRACK_IDS = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NAMES_READ = 50  # Of a line; a callback names one or two.
BODY = re.compile(rb'"body":"([A-Za-z0-9+/]*)')

log = structlog.get_logger(__name__)


def keep(spool: Spool, arrivals: Sequence[Arrival]) -> None:
    """On the disk when this returns. Raises `StorageError` when the spool cannot keep them: then they are not kept."""
    spool.append([_line_of(arrival) for arrival in arrivals])


def drain(store: Store, spool: Spool) -> Drained:
    """Bring what is spooled into the database. Order does not matter, and what comes twice is counted twice. Raises
    `DatabaseUnavailable` and `StorageError`; the entries stay where they are."""
    drained = spool.drain(lambda lines: _bring_back(store, lines))
    if drained.unreadable:
        scrub(store, spool)
    return drained


def scrub(store: Store, spool: Spool) -> int:
    """Overwrite what was set aside on this machine of jobs that are erased by now, whatever machine erased them.
    Returns how many lines. Raises `DatabaseUnavailable` and `StorageError`; may be repeated."""
    return spool.forget(lambda lines: _of_erased(store, lines))


def _of_erased(store: Store, lines: Sequence[bytes]) -> list[bool]:
    named = [_names_in(line) for line in lines]
    every = set[str]().union(*named)
    if not every:
        return [False] * len(lines)
    with store.reading() as connection:
        gone = jobs.erased_among(connection, every)
    return [not gone.isdisjoint(names) for names in named]


def _names_in(line: bytes) -> set[str]:
    """The jobs that a line names: the one that it came for, and what stands in its body, as far as that is whole."""
    body = BODY.search(line)
    text = base64.b64decode(body[1][: len(body[1]) // 4 * 4]) if body else b""
    found = islice(TRACK_IDS.finditer(line + b" " + text), NAMES_READ)
    return {each[0].decode().lower() for each in found}


def _bring_back(store: Store, lines: Sequence[bytes]) -> Sequence[bytes]:
    """All in one transaction, and where that fails one by one. Returns those that were to blame."""
    try:
        keep_raw(store, [_arrival_of(line) for line in lines], problem=PROBLEM)
    except FAULTS_OF_A_LINE as error:
        if len(lines) > 1:
            return [refused for line in lines for refused in _bring_back(store, [line])]
        log.error("spool.line_refused", error=type(error).__name__)  # Its text may quote the body.
        return lines
    return []


def _line_of(arrival: Arrival) -> bytes:
    entry = {
        "provider": arrival.provider,
        "track_id": arrival.track_id,
        "attempt": arrival.attempt,
        "body": base64.b64encode(arrival.body).decode(),
        "content_type": arrival.content_type,
        "headers": arrival.headers,
        "remote_addr": arrival.remote_addr,
        "received_at": arrival.received_at.isoformat(),
    }
    return json.dumps(entry, separators=(",", ":")).encode()


def _arrival_of(line: bytes) -> Arrival:
    entry = json.loads(line)
    return Arrival(
        provider=entry["provider"],
        track_id=entry["track_id"],
        attempt=entry["attempt"],
        body=base64.b64decode(entry["body"]),
        content_type=entry["content_type"],
        headers=entry["headers"],
        remote_addr=entry["remote_addr"],
        received_at=datetime.fromisoformat(entry["received_at"]),
    )
