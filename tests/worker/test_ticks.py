"""What the ticks of a worker decide by themselves."""

import time
from dataclasses import replace

import pytest

from tests.web.conftest import parts
from webhook_app.domain.events import Event, EventType
from webhook_app.store import events, log
from webhook_app.store.engine import Store
from webhook_app.wiring import Parts
from webhook_app.worker.ticks import THOROUGH_S, Ticks, clock

__all__ = ["parts"]


def tell(store: Store, count: int) -> None:
    with store.writing() as connection:
        events.append(connection, [Event(EventType.PROVIDER_PAUSED, "operator", clock()) for _ in range(count)])


def unsealed(store: Store) -> int:
    with store.reading() as connection:
        return len(log.unsealed(connection, limit=100, thoroughly=True).rows)


def leave_one_behind(store: Store) -> None:
    """As if the first of six had not been committed yet when the others were numbered."""
    tell(store, 6)
    with store.writing() as connection:
        _, *others = log.sealed(log.unsealed(connection, limit=6, thoroughly=True))
        log.write(connection, [replace(event, seq=event.seq - 1) for event in others])


def test_the_sealer_looks_at_everything_now_and_then(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LOOK_BACK", 3)
    ticks, started = Ticks(parts, owner="test"), time.monotonic()
    ticks.seal()
    assert ticks.thorough_at >= started + THOROUGH_S
    leave_one_behind(parts.store)
    ticks.seal()
    assert unsealed(parts.store) == 1
    ticks.thorough_at = 0.0
    ticks.seal()
    assert unsealed(parts.store) == 0
    assert ticks.thorough_at >= started + THOROUGH_S


def test_a_look_that_another_sealer_prevents_is_still_due(parts: Parts) -> None:
    if parts.store.is_sqlite:
        return  # There the sealer waits for the write lock.
    ticks = Ticks(parts, owner="test")
    tell(parts.store, 1)
    with parts.store.writing() as connection:
        assert log.may_seal(connection)
        assert ticks.seal() == 0
        assert ticks.thorough_at == 0.0
    ticks.seal()
    assert unsealed(parts.store) == 0
