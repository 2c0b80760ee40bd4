"""Places in the queue: clients in turn, then priority, then age, as the submit worker takes them."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from webhook_app.domain.job import Status
from webhook_app.store.bulk import Statement
from webhook_app.store.tables import Job

DEEPEST = 100

# A loose scan, one index probe for each client, and then no further into a client's queue than anybody asks: with
# 100,000 jobs queued, numbering them all by window functions took 300 ms for every job that is shown.
WAITING = text(
    """
    WITH RECURSIVE queued(client_id) AS (
        SELECT min(client_id) FROM jobs WHERE status = 'queued' AND provider = :provider
        UNION ALL
        SELECT (SELECT min(client_id) FROM jobs
                WHERE status = 'queued' AND provider = :provider AND client_id > queued.client_id)
        FROM queued WHERE queued.client_id IS NOT NULL
    )
    SELECT client_id, (SELECT count(*) FROM (
        SELECT 1 FROM jobs WHERE status = 'queued' AND provider = :provider AND client_id = queued.client_id LIMIT :most
    ) AS first_ones) AS waiting
    FROM queued WHERE client_id IS NOT NULL
    """
)
IN_TURN = (Job.priority.desc(), Job.number)
FIRST_ONES = (
    select(Job.track_id, func.row_number().over(order_by=IN_TURN).label("turn"))
    .where(Job.status == Status.QUEUED, Job.provider == bindparam("provider"), Job.client_id == bindparam("client_id"))
    .order_by(*IN_TURN)
    .limit(DEEPEST)
    .subquery()
)
TURNS = Statement(lambda among: select(FIRST_ONES).where(among(FIRST_ONES.c.track_id)))


def queue_positions(connection: Connection, rows: Collection[dict[str, Any]]) -> dict[str, int]:
    """The places, from 1, at which queued jobs will be sent as far as is known now. A job beyond its client's first
    100 has none: numbering more for every answer would cost more than the rest of it."""
    queued: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["status"] == Status.QUEUED:
            queued.setdefault((row["provider"], row["client_id"]), []).append(row["track_id"])
    places: dict[str, int] = {}
    for (provider, client_id), track_ids in sorted(queued.items()):
        turns = _turns(connection, provider, client_id, track_ids)
        if not turns:
            continue
        counted = connection.execute(WAITING, {"provider": provider, "most": max(turns.values(), default=0)})
        waiting = {row.client_id: row.waiting for row in counted}
        places |= {track_id: _place(client_id, turn, waiting) for track_id, turn in turns.items()}
    return places


def _turns(connection: Connection, provider: str, client_id: str, track_ids: Collection[str]) -> dict[str, int]:
    """In which of its client's turns each of these jobs goes, by track_id, from 1."""
    found = TURNS.execute(connection, list(track_ids), provider=provider, client_id=client_id)
    return {row.track_id: row.turn for row in found}


def _place(client_id: str, turn: int, waiting: Mapping[str, int]) -> int:
    """Everybody goes once in every turn, in the order of their ids, as long as they have something to send."""
    others = (
        min(count, turn if other < client_id else turn - 1) for other, count in waiting.items() if other != client_id
    )
    return turn + sum(others)
