"""Breakers of clients' URLs. A row is there only while the last answers were failures. Whoever changes one has it
locked before it touches endpoints and deliveries: the order is the same everywhere."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from webhook_app.domain.webhooks import Breaker
from webhook_app.store.bulk import Statement, table_of
from webhook_app.store.tables import Receiver

RECEIVERS = table_of(Receiver)
AMONG = Statement(lambda among: select(RECEIVERS).where(among(RECEIVERS.c.receiver)))
LOCK = Statement(
    lambda among: select(RECEIVERS).where(among(RECEIVERS.c.receiver)).order_by(RECEIVERS.c.receiver).with_for_update()
)
ADD = {
    name: dialect.insert(RECEIVERS).on_conflict_do_nothing()
    for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite))
}


def breakers(connection: Connection, receivers: Collection[str]) -> dict[str, Breaker]:
    """Those that failed of late; the others are left out."""
    if not receivers:
        return {}
    return _by_receiver(AMONG.execute(connection, sorted(receivers)))


def lock(connection: Connection, *, failed: Collection[str], others: Collection[str]) -> dict[str, Breaker]:
    """Lock them in one order. Those that `failed` have a row afterwards; of the others, those that had one."""
    if failed:
        blank = {"failures": 0, "failing_since": None, "open_until": None}
        connection.execute(ADD[connection.dialect.name], [{"receiver": each} | blank for each in sorted(failed)])
    return _by_receiver(LOCK.execute(connection, sorted({*failed, *others})))


def _by_receiver(rows: Sequence[Receiver]) -> dict[str, Breaker]:
    return {row.receiver: Breaker(row.failures, row.failing_since, row.open_until) for row in rows}


def save(connection: Connection, breakers: Mapping[str, Breaker]) -> None:
    """Write locked ones back; one without failures goes."""
    well = [receiver for receiver, breaker in breakers.items() if not breaker.failures]
    if well:
        connection.execute(delete(Receiver).where(Receiver.receiver.in_(well)))
    for receiver, breaker in breakers.items():
        if breaker.failures:
            values = {"failing_since": breaker.failing_since, "open_until": breaker.open_until}
            statement = update(Receiver).where(Receiver.receiver == receiver)
            connection.execute(statement.values(failures=breaker.failures, **values))


def probe(connection: Connection, receivers: Collection[str], *, until: datetime, now: datetime) -> set[str]:
    """Of these open breakers, the ones that let one delivery through now; nobody else gets one before that instant."""
    won = set()
    for receiver in sorted(receivers):
        over = (Receiver.receiver == receiver, Receiver.open_until <= now)
        if connection.execute(update(Receiver).where(*over).values(open_until=until)).rowcount:
            won.add(receiver)
    return won


def let_through(connection: Connection, receiver: str, *, now: datetime) -> None:
    """Try this one now, however long it was to be left alone."""
    open_ones = (Receiver.receiver == receiver, Receiver.open_until > now)
    connection.execute(update(Receiver).where(*open_ones).values(open_until=now))


def forget(connection: Connection, receiver: str) -> None:
    """Begin anew with it."""
    connection.execute(delete(Receiver).where(Receiver.receiver == receiver))
