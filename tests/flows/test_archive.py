"""Copying pictures: sources in turn, what is lost and what only waits, and leases that were overtaken."""

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.flows.keeper import ONE, TWO, Keeper, png
from tests.flows.world import success
from webhook_app.domain.errors import FetchError, StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.domain.outcome import Running
from webhook_app.flows import archive
from webhook_app.storage.local import LocalStorage
from webhook_app.store.tables import Blob, Job


def test_a_picture_is_fetched_stored_and_told(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    assert keeper.tick() == 1
    (image,), job = keeper.world.images(track_id), keeper.world.job(track_id)
    assert (image.status, image.source_url, image.fetch_at) == ("archived", ONE, None)
    assert (job.archive_status, job.archived_at, job.waiting_for) == ("archived", keeper.world.at, None)
    assert b"".join(keeper.storage.read(blob_key(image.sha256))) == png()
    assert keeper.storage.size(thumbnail_key(image.sha256, 256))
    (blob,) = keeper.world.rows(Blob)
    assert (blob.state, blob.reference_count, blob.width, blob.height) == ("stored", 1, 64, 48)
    assert keeper.world.events(track_id)[-1] == "job.archived"
    assert keeper.tick() == 0


def test_a_fresh_url_that_fails_comes_good_later(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, FetchError("http_404"), b"<html>Not yet</html>", png())
    for _ in range(3):
        keeper.tick()
        assert keeper.tick() == 0
        keeper.world.later(seconds=20)
    image = keeper.world.images(track_id)[0]
    assert (image.status, image.fetches, image.reason) == ("archived", 3, None)


def test_the_sources_are_tried_in_turn(keeper: Keeper) -> None:
    track_id = keeper.succeeded(ONE, TWO)
    keeper.web.serve(ONE, FetchError("http_500"))
    keeper.web.serve(TWO, png())
    keeper.tick()
    keeper.world.later(seconds=10)
    keeper.tick()
    assert keeper.world.images(track_id)[0].source_url == TWO


def test_one_source_s_final_answer_does_not_lose_the_picture(keeper: Keeper) -> None:
    track_id = keeper.succeeded(ONE, TWO)
    keeper.web.serve(ONE, FetchError("http_404"), FetchError("http_404"), png())
    keeper.web.serve(TWO, FetchError("too_large", retryable=False))
    for _ in range(4):
        keeper.tick()
        keeper.world.later(minutes=10)
    assert keeper.world.images(track_id)[0].status == "archived"


def test_a_picture_is_lost_when_every_source_answered_for_good(keeper: Keeper) -> None:
    track_id = keeper.succeeded(ONE, TWO)
    for url in (ONE, TWO):
        keeper.web.serve(url, FetchError("too_large", retryable=False))
    keeper.tick()
    job, (image,) = keeper.world.job(track_id), keeper.world.images(track_id)
    assert (image.status, image.reason, job.archive_status) == ("lost", "too_large", "lost")
    assert keeper.world.events(track_id)[-1] == "job.archive_failed"


def test_a_picture_is_lost_only_after_its_deadline(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, FetchError("http_404"))
    end = keeper.world.at + timedelta(hours=24)
    while keeper.world.images(track_id)[0].status == "pending":
        keeper.world.at = keeper.world.images(track_id)[0].fetch_at
        keeper.tick()
    assert keeper.world.at == end
    assert keeper.world.job(track_id).archive_status == "lost"
    assert len(keeper.web.asked) < 400


@pytest.mark.parametrize("hours", [0, 12, 19])
def test_a_source_that_comes_good_is_archived_in_time_however_late(keeper: Keeper, hours: int) -> None:
    """F18: by its twentieth hour a picture is archived, if it can be had an hour before."""
    track_id = keeper.succeeded()
    start = keeper.world.at
    keeper.web.serve(ONE, FetchError("http_404"))
    while keeper.world.images(track_id)[0].status == "pending":
        keeper.world.at = keeper.world.images(track_id)[0].fetch_at
        if keeper.world.at >= start + timedelta(hours=hours):
            keeper.web.serve(ONE, png())
        keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"
    assert keeper.world.at - start <= timedelta(hours=hours, minutes=10)


@pytest.mark.parametrize(("hours", "status"), [(23.9, "pending"), (25, "lost")])
def test_a_worker_that_was_away_until_then_tries_once_and_ends_the_picture_after_a_day(
    keeper: Keeper, hours: float, status: str
) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, FetchError("http_404"))
    keeper.world.later(hours=hours)
    keeper.tick()
    assert (keeper.world.images(track_id)[0].status, len(keeper.web.asked)) == (status, 1)
    keeper.world.later(hours=24)
    keeper.tick()
    keeper.world.later(days=1)
    assert keeper.tick() == 0
    assert keeper.world.images(track_id)[0].status == "lost"
    assert keeper.world.events(track_id).count("job.archive_failed") == 1


def test_five_errors_of_the_server_cost_nothing_but_time(keeper: Keeper) -> None:
    """F17."""
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, *(FetchError(f"http_{code}") for code in (500, 502, 503, 504, 403)), png())
    for _ in range(6):
        keeper.world.at = keeper.world.images(track_id)[0].fetch_at
        keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_old_pictures_that_do_not_come_leave_a_turn_to_fresh_ones(keeper: Keeper) -> None:
    """In a worker's turns: the earliest deadline, and then what was tried least often."""
    world = keeper.world
    keeper.web.serve(ONE, FetchError("timeout"))
    old = [keeper.succeeded() for _ in range(3)]
    for _ in range(4):
        keeper.tick()
        world.later(minutes=11)
    fresh = keeper.succeeded(TWO)

    def claimed(*, fresh_first: bool) -> str:
        claims = archive.claim_images(
            world.store, owner="w1", limit=1, policy=world.policy, now=world.at, fresh_first=fresh_first
        )
        return claims[0].track_id

    assert claimed(fresh_first=False) in old
    assert claimed(fresh_first=True) == fresh
    assert claimed(fresh_first=True) in old


def test_some_lost_and_some_archived_are_partial(keeper: Keeper) -> None:
    track_id = keeper.world.submit(samples=2)
    keeper.world.send(success(ONE, TWO))
    keeper.web.serve(ONE, png())
    keeper.web.serve(TWO, FetchError("too_large", retryable=False))
    keeper.tick()
    assert keeper.world.job(track_id).archive_status == "partial"
    assert keeper.world.events(track_id).count("job.archive_failed") == 1


def test_a_strange_host_waits_until_a_poll_confirms_it(keeper: Keeper) -> None:
    strange = "https://strange.example/0.png"
    track_id = keeper.world.submit()
    # The callback comes first and names no id: nothing can be asked yet.
    keeper.world.script.during = lambda submission: keeper.world.hear(track_id, success(strange)) and None
    keeper.world.send(Running("77"))
    keeper.web.serve(strange, png())
    assert keeper.world.poll() == 0
    keeper.world.later(days=2)
    keeper.tick()
    assert (keeper.web.asked, keeper.world.images(track_id)[0].status) == ([], "pending")
    assert keeper.world.poll(success(strange)) == 1
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_a_strange_host_waits_until_it_is_allowed(keeper: Keeper) -> None:
    strange = "https://strange.example/0.png"
    track_id = keeper.world.submit()
    keeper.world.send()
    keeper.world.hear(track_id, success(strange))
    keeper.web.serve(strange, png())
    keeper.world.later(seconds=60)
    keeper.tick()
    version = keeper.world.job(track_id).version
    keeper.world.later(minutes=11)
    keeper.tick()
    assert keeper.world.job(track_id).version == version
    keeper.world.obey(host_known=lambda url: True)
    keeper.world.later(minutes=11)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_a_refused_address_is_never_a_loss_and_the_other_source_is_tried(keeper: Keeper) -> None:
    track_id = keeper.succeeded(ONE, TWO)
    keeper.web.serve(ONE, FetchError("address_refused", retryable=False))
    keeper.web.serve(TWO, FetchError("too_large", retryable=False))
    keeper.tick()
    keeper.world.later(days=2)
    keeper.tick()
    (image,) = keeper.world.images(track_id)
    assert (image.status, image.reason) == ("pending", "host_not_allowed")
    assert keeper.world.events(track_id).count("image.host_refused") == 1
    keeper.web.serve(TWO, png())
    keeper.world.later(minutes=11)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_the_same_bytes_are_kept_once(keeper: Keeper) -> None:
    keeper.web.serve(ONE, png())
    first, second = keeper.succeeded(samples=2), keeper.succeeded()
    assert keeper.tick() == 3
    (blob,) = keeper.world.rows(Blob)
    assert blob.reference_count == 3
    shown = [row.sha256 for track_id in (first, second) for row in keeper.world.images(track_id)]
    assert shown == [blob.sha256] * 3


def test_an_overtaken_lease_writes_nothing(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    (stale,) = keeper.claim("slow")
    keeper.world.later(seconds=31)
    (fresh,) = keeper.claim("quick")
    keeper.copy(stale)
    assert keeper.world.images(track_id)[0].status == "pending"
    assert keeper.world.rows(Blob) == []
    keeper.copy(fresh)
    assert keeper.world.rows(Blob)[0].reference_count == 1


def test_a_lease_that_is_lost_while_the_bytes_are_put_counts_them_once(keeper: Keeper, tmp_path: Path) -> None:
    """The worker was stopped in the middle of its put; another one was quicker, and comes to the same bytes."""
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    (stale,) = keeper.claim("slow")
    working = keeper.storage

    class Stopped(LocalStorage):
        def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
            keeper.storage = working
            if keeper.world.images(track_id)[0].status == "pending":
                keeper.world.later(seconds=31)
                (fresh,) = keeper.claim("quick")
                keeper.copy(fresh)
            return super().put_if_absent(key, source, content_type)

    keeper.storage = Stopped(tmp_path / "archive")
    keeper.copy(stale)
    (image,), (blob,) = keeper.world.images(track_id), keeper.world.rows(Blob)
    assert (image.status, image.fetches, blob.state, blob.reference_count) == ("archived", 1, "stored", 1)
    assert keeper.world.events(track_id).count("job.archived") == 1
    assert b"".join(working.read(blob_key(image.sha256))) == png()


def test_a_picture_in_hand_keeps_its_lease_and_a_dead_worker_s_is_taken_after_30_s(keeper: Keeper) -> None:
    keeper.succeeded()
    (claim,) = keeper.claim("w1")
    world = keeper.world
    for _ in range(4):
        world.later(seconds=20)
        assert archive.renew(world.store, [claim.image_id], owner="w1", now=world.at) == 1
        assert not keeper.claim("w2")
    world.later(seconds=31)
    assert archive.renew(world.store, [claim.image_id], owner="w1", now=world.at) == 0
    assert len(keeper.claim("w2")) == 1


def test_sources_named_meanwhile_are_tried_before_a_verdict(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, FetchError("too_large", retryable=False))
    keeper.web.serve(TWO, png())
    keeper.web.during = lambda: keeper.world.hear(track_id, success(TWO)) and None
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "pending"
    keeper.web.during = None
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_an_erased_job_s_picture_is_not_recorded(keeper: Keeper) -> None:
    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    (claim,) = keeper.claim()
    with keeper.world.store.writing() as connection:
        connection.execute(update(Job).where(Job.track_id == track_id).values(erased_at=keeper.world.at))
    keeper.copy(claim)
    assert keeper.world.images(track_id)[0].sha256 is None


def test_a_full_archive_is_waited_for(keeper: Keeper) -> None:
    class Full(LocalStorage):
        def put_if_absent(self, key: str, source: Path, content_type: str) -> bool:
            raise StorageError("no space left")

    track_id = keeper.succeeded()
    keeper.web.serve(ONE, png())
    working, keeper.storage = keeper.storage, Full(Path("unused"))
    keeper.tick()
    (image,) = keeper.world.images(track_id)
    assert (image.status, image.reason, image.fetches) == ("pending", "archive_unavailable", 0)
    keeper.storage = working
    keeper.world.later(seconds=16)
    keeper.tick()
    assert keeper.world.images(track_id)[0].status == "archived"


def test_inline_bytes_and_base64_urls_are_pictures_too(keeper: Keeper) -> None:
    text = base64.b64encode(png())
    coded = "https://known.example/0.base64"
    keeper.web.serve(coded, text)
    inline = keeper.succeeded(f"data:image/png;base64,{text.decode()}")
    linked = keeper.succeeded(coded)
    keeper.tick()
    one, two = keeper.world.images(inline)[0], keeper.world.images(linked)[0]
    assert one.sha256 == two.sha256 is not None
    assert (one.source_url, two.source_url) == (None, coded)


def test_stopping_gives_the_pictures_back(keeper: Keeper) -> None:
    keeper.succeeded()
    assert len(keeper.claim("w1")) == 1
    assert not keeper.claim("w2")
    archive.give_back(keeper.world.store, owner="w1")
    assert len(keeper.claim("w2")) == 1
