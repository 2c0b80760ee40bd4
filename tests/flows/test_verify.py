"""Verifying: every way in which a copy can be damaged, what mends it, and what is said when nothing does."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from tests.flows.keeper import ONE, TWO, Keeper, png
from tests.flows.world import success
from webhook_app.domain.errors import FetchError, StorageError
from webhook_app.domain.keys import blob_key, thumbnail_key
from webhook_app.flows import verify
from webhook_app.flows.look import Found, Means
from webhook_app.flows.verify import Finding
from webhook_app.storage.local import LocalStorage
from webhook_app.store.tables import Blob, EventRow, Image, Job


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the archive's files lie."""
    return tmp_path / "archive"


def means(keeper: Keeper) -> Means:
    return Means(
        store=keeper.world.store,
        storage=keeper.storage,
        fetcher=keeper.web,
        inspector=keeper.inspector,
        policy=keeper.world.policy,
        clock=keeper.world.now,
    )


def verified(keeper: Keeper, *, repair: bool = True) -> list[Finding]:
    """The findings of one pass over everything."""
    blobs = verify.slice_after(keeper.world.store, "", limit=1000)
    found = [verify.verify(means(keeper), blob, repair=repair) for blob in blobs]
    return [finding for finding in found if finding is not None]


def archived(keeper: Keeper, colour: str = "red", *, samples: int = 1) -> tuple[str, str]:
    """The track_id of a job with archived pictures, and the digest of their bytes."""
    keeper.web.serve(ONE, png(colour))
    track_id = keeper.succeeded(samples=samples)
    assert keeper.tick() == samples
    return track_id, keeper.world.images(track_id)[0].sha256


def statuses(keeper: Keeper, track_id: str) -> tuple[list[tuple[str, str | None]], str]:
    images = [(image.status, image.reason) for image in keeper.world.images(track_id)]
    return images, keeper.world.job(track_id).archive_status


def removed(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    os.truncate(path, 20)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def one_bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def replaced_by_a_link(path: Path) -> None:
    """To a file with the right bytes: still not what we put there."""
    other = path.with_name("elsewhere")
    path.rename(other)
    path.symlink_to(other)


def replaced_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = [
    (removed, Found.MISSING),
    (truncated, Found.ALTERED),
    (emptied, Found.ALTERED),
    (one_bit_flipped, Found.ALTERED),
    (lengthened, Found.ALTERED),
    (replaced_by_a_link, Found.ALTERED),
    (replaced_by_a_pipe, Found.ALTERED),
]
Damage = Callable[[Path], None]


def test_a_sound_archive_has_no_findings(keeper: Keeper) -> None:
    archived(keeper)
    archived(keeper, "green")
    asked = len(keeper.web.asked)
    assert verify.count(keeper.world.store) == 2
    assert verified(keeper) == []
    assert len(keeper.web.asked) == asked


@pytest.mark.parametrize(("damage", "outcome"), DAMAGES)
def test_damage_is_mended_from_a_source_that_lives(keeper: Keeper, root: Path, damage: Damage, outcome: Found) -> None:
    track_id, sha256 = archived(keeper)
    damage(root / blob_key(sha256))
    events = keeper.world.events()
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.repaired, finding.problem, finding.lost) == (outcome, True, None, 0)
    assert (finding.sha256, finding.track_ids, finding.pictures) == (sha256, [track_id], 1)
    assert finding.image_ids == [keeper.world.images(track_id)[0].image_id]
    assert not finding.is_wrong
    path = root / blob_key(sha256)
    assert path.is_file()
    assert not path.is_symlink()
    assert path.read_bytes() == png("red")
    assert verified(keeper) == []
    assert keeper.world.events() == events


@pytest.mark.parametrize(("damage", "outcome"), [(removed, Found.MISSING), (one_bit_flipped, Found.ALTERED)])
def test_without_a_living_source_the_picture_is_lost_and_says_why(
    keeper: Keeper, root: Path, damage: Damage, outcome: Found
) -> None:
    track_id, sha256 = archived(keeper)
    other, _ = archived(keeper, "green")
    damage(root / blob_key(sha256))
    keeper.world.later(hours=25)
    asked = len(keeper.web.asked)
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.repaired, finding.problem) == (outcome, False, "no_source_to_ask")
    assert (finding.lost, finding.is_wrong, len(keeper.web.asked)) == (1, True, asked)
    assert statuses(keeper, track_id) == ([("lost", f"archived_bytes_{outcome}")], "lost")
    assert statuses(keeper, other) == ([("archived", None)], "archived")
    (told,) = keeper.world.rows(EventRow, EventRow.type == "job.archive_failed")
    assert (told.track_id, told.actor) == (track_id, "operator")
    assert told.data == {"archive_status": "lost", "sha256": []}
    # What is lost already is found and told again, but nothing happens twice.
    (again,) = verified(keeper)
    assert (again.lost, again.is_wrong) == (0, True)
    assert keeper.world.events(track_id).count("job.archive_failed") == 1


def test_bytes_that_were_restored_make_their_pictures_archived_again(keeper: Keeper, root: Path) -> None:
    track_id, sha256 = archived(keeper)
    archived(keeper, "green")
    path = root / blob_key(sha256)
    path.rename(root / "aside")
    keeper.world.later(hours=25)
    verified(keeper)
    version = keeper.world.job(track_id).version
    (root / "aside").rename(path)
    assert verified(keeper, repair=False) == []
    assert statuses(keeper, track_id)[1] == "lost"
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.repaired, finding.found_again, finding.is_wrong) == (Found.SOUND, False, 1, False)
    assert statuses(keeper, track_id) == ([("archived", None)], "archived")
    assert keeper.world.job(track_id).version > version
    assert keeper.world.events(track_id)[-1] == "job.archived"
    # Its bytes were counted when they were archived first.
    assert "bytes" not in keeper.world.rows(EventRow, EventRow.track_id == track_id, order=EventRow.position)[-1].data


def test_every_picture_with_these_bytes_is_lost_and_no_other(keeper: Keeper, root: Path) -> None:
    many, sha256 = archived(keeper, samples=3)
    mixed = keeper.world.submit(samples=2)
    keeper.world.send(success(ONE, TWO))
    keeper.web.serve(TWO, png("green"))
    keeper.tick()
    (root / blob_key(sha256)).unlink()
    keeper.world.later(hours=25)
    (finding,) = verified(keeper)
    assert (finding.pictures, finding.lost, finding.track_ids) == (4, 4, sorted([many, mixed]))
    assert statuses(keeper, many) == ([("lost", "archived_bytes_missing")] * 3, "lost")
    assert statuses(keeper, mixed) == ([("lost", "archived_bytes_missing"), ("archived", None)], "partial")


def test_without_repair_nothing_is_changed(keeper: Keeper, root: Path) -> None:
    track_id, sha256 = archived(keeper)
    archived(keeper, "green")
    (root / blob_key(sha256)).unlink()
    keeper.world.later(hours=25)
    before = keeper.world.job(track_id)
    (finding,) = verified(keeper, repair=False)
    assert (finding.outcome, finding.repaired, finding.problem) == (Found.MISSING, False, "not_tried")
    assert keeper.world.job(track_id) == before


def test_other_bytes_from_the_source_are_not_taken(keeper: Keeper, root: Path) -> None:
    track_id, sha256 = archived(keeper)
    one_bit_flipped(root / blob_key(sha256))
    left = (root / blob_key(sha256)).read_bytes()
    keeper.web.serve(ONE, png("blue"))
    (finding,) = verified(keeper)
    assert (finding.repaired, finding.problem, finding.lost) == (False, "source_gives_other_bytes", 0)
    assert (root / blob_key(sha256)).read_bytes() == left
    # While a source lives it may still come good.
    assert statuses(keeper, track_id)[1] == "archived"


def test_a_source_that_fails_makes_way_for_the_next(keeper: Keeper, root: Path) -> None:
    keeper.web.serve(ONE, png())
    keeper.web.serve(TWO, png())
    track_id = keeper.succeeded(ONE, TWO)
    keeper.tick()
    (root / blob_key(keeper.world.images(track_id)[0].sha256)).unlink()
    keeper.web.serve(ONE, FetchError("http_404"))
    assert [finding.repaired for finding in verified(keeper)] == [True]


def test_the_source_of_any_picture_with_these_bytes_will_do(keeper: Keeper, root: Path) -> None:
    _, sha256 = archived(keeper)
    keeper.world.later(hours=23)
    archived(keeper)
    keeper.world.later(hours=2)
    (root / blob_key(sha256)).unlink()
    assert [finding.repaired for finding in verified(keeper)] == [True]


def test_a_host_that_only_a_callback_named_is_not_asked_and_no_loss_until_its_picture_expires(
    keeper: Keeper, root: Path
) -> None:
    track_id, sha256 = archived(keeper)
    archived(keeper, "green")
    strange = "https://strange.example/0.png"
    with keeper.world.store.writing() as connection:
        named = {"sources": [strange], "source_url": strange, "source_witness": "callback"}
        connection.execute(update(Image).where(Image.track_id == track_id).values(**named))
    (root / blob_key(sha256)).unlink()
    asked = len(keeper.web.asked)
    (finding,) = verified(keeper)
    assert (finding.repaired, finding.problem, finding.lost) == (False, "no_source_to_ask", 0)
    assert len(keeper.web.asked) == asked
    keeper.world.later(hours=25)
    assert [finding.lost for finding in verified(keeper)] == [1]


@pytest.mark.parametrize(
    ("damage", "outcome"),
    [
        (removed, Found.THUMBNAIL_MISSING),
        (emptied, Found.THUMBNAIL_ALTERED),
        (one_bit_flipped, Found.THUMBNAIL_ALTERED),
        (replaced_by_a_link, Found.THUMBNAIL_ALTERED),
    ],
)
def test_a_thumbnail_is_made_again_from_the_bytes(keeper: Keeper, root: Path, damage: Damage, outcome: Found) -> None:
    _, sha256 = archived(keeper)
    keeper.world.later(days=30)
    path = root / thumbnail_key(sha256, 256)
    before = path.read_bytes()
    damage(path)
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.repaired) == (outcome, True)
    assert path.read_bytes() == before
    assert not path.is_symlink()
    assert verified(keeper) == []


def test_an_archive_that_holds_nothing_at_all_loses_no_picture(keeper: Keeper, root: Path) -> None:
    track_id, _ = archived(keeper)
    root.rename(root.with_name("unmounted"))
    keeper.world.later(hours=25)
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.is_wrong, finding.lost) == (Found.MISSING, True, 0)
    assert statuses(keeper, track_id)[1] == "archived"


def test_an_object_that_cannot_be_read_is_not_given_up(keeper: Keeper) -> None:
    class Failing(LocalStorage):
        def read(self, key: str, start: int = 0, length: int | None = None):  # type: ignore[no-untyped-def]
            if key == blob_key(sha256):
                raise StorageError("input/output error")
            return super().read(key, start, length)

    track_id, sha256 = archived(keeper)
    keeper.world.later(hours=25)
    keeper.storage = Failing(keeper.storage._root)
    (finding,) = verified(keeper)
    assert (finding.outcome, finding.repaired, finding.lost) == (Found.UNREADABLE, False, 0)
    assert statuses(keeper, track_id)[1] == "archived"


def test_an_archive_that_is_down_ends_the_verification(keeper: Keeper) -> None:
    class Down(LocalStorage):
        def size(self, key: str) -> int | None:
            raise StorageError("the bucket does not answer")

        def check(self) -> None:
            raise StorageError("the bucket does not answer")

    archived(keeper)
    keeper.storage = Down(Path("unused"))
    with pytest.raises(StorageError, match="does not answer"):
        verified(keeper)


def test_bytes_that_are_erased_meanwhile_are_not_put_back(keeper: Keeper, root: Path) -> None:
    _, sha256 = archived(keeper)
    (root / blob_key(sha256)).unlink()

    def erase() -> None:
        with keeper.world.store.writing() as connection:
            connection.execute(update(Image).values(sha256=None, status="erased"))
            connection.execute(update(Job).values(erased_at=keeper.world.at))
            connection.execute(delete(Blob))

    keeper.web.during = erase
    (finding,) = verified(keeper)
    assert (finding.repaired, finding.problem) == (False, "erased_meanwhile")
    assert not (root / blob_key(sha256)).exists()
    assert [path for path in root.rglob("*") if path.is_file()] == []
    assert verified(keeper) == []


def test_nothing_is_told_of_a_job_that_is_being_erased(keeper: Keeper, root: Path) -> None:
    track_id, sha256 = archived(keeper)
    archived(keeper, "green")
    (root / blob_key(sha256)).unlink()
    keeper.world.later(hours=25)
    with keeper.world.store.writing() as connection:
        connection.execute(update(Job).where(Job.track_id == track_id).values(erased_at=keeper.world.at))
    (finding,) = verified(keeper)
    assert (finding.lost, "job.archive_failed" in keeper.world.events(track_id)) == (0, False)


def test_a_picture_that_came_inline_never_loses_its_source(keeper: Keeper, root: Path) -> None:
    inline = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    track_id = keeper.succeeded(inline)
    keeper.tick()
    (root / blob_key(keeper.world.images(track_id)[0].sha256)).unlink()
    keeper.world.later(days=400)
    assert [finding.repaired for finding in verified(keeper)] == [True]


def test_slices_go_by_digest_behind_the_cursor(keeper: Keeper) -> None:
    digests = sorted(archived(keeper, colour)[1] for colour in ("red", "green", "blue", "white", "black"))
    cursor, seen = "", []
    while blobs := verify.slice_after(keeper.world.store, cursor, limit=2):
        assert len(blobs) <= 2
        seen += [blob.sha256 for blob in blobs]
        cursor = blobs[-1].sha256
    assert seen == digests


def test_a_late_success_that_archives_the_same_bytes_again_counts_them_once(keeper: Keeper, root: Path) -> None:
    track_id, sha256 = archived(keeper)
    archived(keeper, "green")
    (root / blob_key(sha256)).unlink()
    keeper.world.later(hours=25)
    verified(keeper)
    keeper.web.serve(TWO, png("red"))
    keeper.world.hear(track_id, success(TWO))
    keeper.tick()
    assert statuses(keeper, track_id) == ([("archived", None)], "archived")
    (blob,) = keeper.world.rows(Blob, Blob.sha256 == sha256)
    assert blob.reference_count == 1
