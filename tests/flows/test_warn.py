"""Pictures that will be gone soon are told of once, in time, and by their deadline."""

from typing import Any

import pytest

from tests.flows.keeper import ONE, Keeper, png
from tests.flows.world import success
from webhook_app.domain.errors import FetchError
from webhook_app.domain.events import EventType
from webhook_app.flows.warn import warn
from webhook_app.store.tables import EventRow

HOURS = 3600


def warnings(keeper: Keeper) -> list[dict[str, Any]]:
    rows = keeper.world.rows(EventRow, EventRow.type == EventType.IMAGE_AT_RISK, order=EventRow.position)
    return [row.data for row in rows]


def look(keeper: Keeper) -> int:
    return warn(keeper.world.store, limit=100, now=keeper.world.at)


def test_a_picture_with_four_hours_left_is_told_of_once(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, FetchError("http_404"))
    keeper.tick()
    keeper.world.later(hours=19, minutes=59)
    assert look(keeper) == 0
    keeper.world.later(minutes=1)
    assert look(keeper) == 1
    (image,) = keeper.world.images(track_id)
    assert warnings(keeper) == [{"image_id": image.image_id, "left_s": 4 * HOURS, "reason": "http_404"}]
    keeper.world.later(hours=1)
    assert look(keeper) == 0
    assert keeper.world.images(track_id)[0].at_risk_at is not None


def test_an_archived_picture_and_one_that_never_came_are_not_told_of(keeper: Keeper) -> None:
    keeper.succeeded()
    keeper.web.serve(ONE, png())
    keeper.tick()
    keeper.world.submit()
    keeper.world.later(hours=23)
    assert look(keeper) == 0


def test_a_lost_picture_is_not_told_of(keeper: Keeper) -> None:
    keeper.succeeded()
    keeper.web.serve(ONE, FetchError("too_large", retryable=False))
    keeper.tick()
    keeper.world.later(hours=23)
    assert look(keeper) == 0


def test_a_refused_host_s_picture_is_told_of_too(keeper: Keeper) -> None:
    track_id = keeper.world.submit()
    keeper.world.send()
    keeper.world.hear(track_id, success("https://strange.example/0.png"))
    keeper.world.later(hours=21)
    assert look(keeper) == 1
    assert warnings(keeper)[0]["reason"] == "host_not_allowed"


def test_the_deadline_counts_from_the_submit_and_not_from_the_news(keeper: Keeper) -> None:
    track_id = keeper.world.submit(timeout_s=86_400)
    keeper.world.send()
    keeper.world.later(hours=22)
    keeper.world.hear(track_id, success(ONE))
    assert look(keeper) == 1
    assert warnings(keeper)[0]["left_s"] == pytest.approx(2 * HOURS)


def test_the_earliest_deadline_is_told_of_and_fetched_first(keeper: Keeper) -> None:
    first = keeper.succeeded()
    keeper.world.later(minutes=10)
    second = keeper.succeeded()
    keeper.web.serve(ONE, FetchError("http_404"))
    keeper.world.later(hours=22)
    assert [claim.track_id for claim in keeper.claim()] == [first, second]
    assert look(keeper) == 2
    ids = [keeper.world.images(track_id)[0].image_id for track_id in (first, second)]
    assert [told["image_id"] for told in warnings(keeper)] == ids
