"""Remarks about pictures: what their bytes show, what the provider says, and each told once."""

from io import BytesIO

import pytest
from PIL import Image as Picture
from PIL import ImageDraw
from sqlalchemy import update

from tests.flows.keeper import ONE, Keeper, png
from tests.flows.world import success
from webhook_app.domain.events import EventType
from webhook_app.domain.outcome import Finished
from webhook_app.domain.outcome import Picture as Named
from webhook_app.store.tables import EventRow, Job


def black(*, with_words: bool = False) -> bytes:
    out, picture = BytesIO(), Picture.new("RGB", (256, 256))
    if with_words:
        ImageDraw.Draw(picture).text((100, 120), "held back", "white")
    picture.save(out, "PNG")
    return out.getvalue()


def flagged(keeper: Keeper, track_id: str) -> list[str]:
    """The flags that events told, in their order."""
    rows = keeper.world.rows(EventRow, EventRow.track_id == track_id, order=EventRow.position)
    return [row.data["flag"] for row in rows if row.type == EventType.IMAGE_FLAGGED]


@pytest.mark.parametrize(
    ("content", "flags"),
    [(black(), ["blank"]), (black(with_words=True), ["near_blank"]), (png(), [])],
    ids=["blank", "near blank", "something to see"],
)
def test_an_empty_picture_is_archived_flagged_and_told(keeper: Keeper, content: bytes, flags: list[str]) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, content)
    keeper.tick()
    (image,) = keeper.world.images(track_id)
    assert (image.status, image.flags) == ("archived", flags)
    assert flagged(keeper, track_id) == flags


def test_another_size_than_asked_is_flagged(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    with keeper.world.store.writing() as connection:
        connection.execute(update(Job).values(input={"width": 512, "height": 512}))
    keeper.web.serve(ONE, png())
    keeper.tick()
    assert keeper.world.images(track_id)[0].flags == ["wrong_size"]
    assert flagged(keeper, track_id) == ["wrong_size"]


def test_the_provider_s_own_word_is_told_once_however_often_it_comes(keeper: Keeper) -> None:
    track_id = keeper.world.submit()
    keeper.world.send(success(ONE, nsfw=True))
    keeper.world.hear(track_id, success(ONE, nsfw=True))
    keeper.web.serve(ONE, black())
    keeper.tick()
    keeper.world.hear(track_id, success(ONE, nsfw=True, seed=7))
    assert keeper.world.images(track_id)[0].flags == ["nsfw", "blank"]
    assert flagged(keeper, track_id) == ["nsfw", "blank"]


def test_fewer_pictures_than_asked_are_a_flag_of_the_job(keeper: Keeper) -> None:
    track_id = keeper.world.submit(samples=3)
    keeper.world.send(Finished((Named(0, (ONE,)), Named(2, (ONE,)))))
    keeper.web.serve(ONE, png())
    keeper.tick()
    job = keeper.world.job(track_id)
    assert (job.flags, job.archive_status) == (["fewer_than_asked"], "archived")
    assert [image.reason for image in keeper.world.images(track_id)] == [None, "not_delivered", None]


def test_a_late_picture_takes_the_job_s_flag_away(keeper: Keeper) -> None:
    track_id = keeper.world.submit(samples=2)
    keeper.world.send(success(ONE))
    assert keeper.world.job(track_id).flags == ["fewer_than_asked"]
    keeper.world.hear(track_id, success(ONE, ONE))
    assert keeper.world.job(track_id).flags == []
