"""Nothing of an erased job is left anywhere: words are planted wherever they can come in, and every column of every
table and every byte of every file is looked through afterwards."""

import base64
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from tests.flows.erasing import Eraser
from tests.flows.keeper import png
from tests.flows.postman import Postman
from tests.flows.test_batches import asked
from tests.flows.test_batches import submit as submit_batch
from webhook_app.domain.outcome import Failed, Finished, Picture, Running
from webhook_app.domain.webhooks import Answered
from webhook_app.flows import spool
from webhook_app.flows.accept import Idempotency
from webhook_app.flows.notify import Sent
from webhook_app.flows.receive import apply_stored, keep_raw
from webhook_app.flows.tidy import tidy
from webhook_app.storage.spool import FileSpool
from webhook_app.store.engine import Store

HOST = "https://known.example"


def forms(word: str) -> Iterator[bytes]:
    """The word as it may stand in a file: plain, and in base64 wherever in a text it began."""
    yield word.encode()
    for before in range(3):
        whole = base64.b64encode(b"." * before + word.encode())
        yield whole[4 if before else 0 : -4]


class Garden:
    """Words that occur nowhere else, each planted in one place."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.soil = secrets.token_hex(4)

    def __call__(self, place: str) -> str:
        self.words.append(f"planted-{place}-{self.soil}-{len(self.words):03d}-grows-here")
        return self.words[-1]

    def found(self, store: Store, folder: Path) -> set[str]:
        """The words that are somewhere, and where."""
        with store.reading() as connection:
            tables = inspect(connection).get_table_names()
            rows = {name: connection.execute(text(f'SELECT * FROM "{name}"')).all() for name in tables}
        places = {
            name: "\n".join(_shown(value) for row in found for value in row).encode() for name, found in rows.items()
        }
        places |= {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return {f"{word} in {name}" for word in self.words for name, held in places.items() if _holds(held, word)}


def _shown(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, (bytes, memoryview)) else str(value)


def _holds(held: bytes, word: str) -> bool:
    return any(form in held for form in forms(word))


def planted(eraser: Eraser, plant: Garden) -> str:
    """A job with a failed attempt and a success after it, and callbacks of every kind."""
    world = eraser.world
    track_id = world.submit(
        key=Idempotency(plant("idempotency"), "ab" * 32),
        reference=plant("reference"),
        webhook=f"https://client.example/{plant('webhook')}",
        metadata={plant("metadata-name"): plant("metadata")},
        tags=(plant("tag"),),
        input={"prompt": plant("prompt") * 50, "negative_prompt": plant("negative"), "init_image": plant("init")},
    )
    world.send(Failed(plant("first-error"), retryable=True))
    world.later(seconds=60)
    world.send(Running(plant("id"), 5.0))
    eraser.keeper.web.serve(f"{HOST}/{plant('source')}.png", png())
    source = f"{HOST}/{plant.words[-1]}.png"
    done = Finished((Picture(0, (source,)),), meta={"prompt": plant("meta")}, provider_status=plant("done"))
    _hear(eraser, plant, track_id, world.body(done, salt=plant("applied")))
    eraser.keeper.tick()
    told(eraser, plant, track_id)
    _hear(eraser, plant, track_id, plant("unreadable").encode())
    _hear(eraser, plant, track_id, world.body(done, salt=plant("orphaned")), attempt=9)
    return track_id


def told(eraser: Eraser, plant: Garden, track_id: str) -> None:
    """The client's receiver is told, and answers with words of its own; one more delivery waits."""
    postman = Postman(eraser.world)
    postman.endpoint(f"https://client.example/{plant.soil}")
    postman.seal()
    (first, second, *_) = (claim for claim in postman.claim() if track_id.encode() in claim.body)
    postman.record(Sent(first, eraser.world.at, Answered(200, 0.1, excerpt=plant("excerpt"))))
    postman.record(Sent(second, eraser.world.at, Answered(500, 0.1, excerpt=plant("excerpt"))))


def _hear(eraser: Eraser, plant: Garden, track_id: str, body: bytes, attempt: int = 2) -> None:
    eraser.world.receive(_arrival(eraser, plant, track_id, body, attempt))


def _arrival(eraser: Eraser, plant: Garden, track_id: str, body: bytes, attempt: int = 2):
    found = eraser.world.arrival(track_id, body, attempt)
    return replace(found, headers={"user-agent": plant("header")}, content_type=plant("content-type"))


def late(eraser: Eraser, plant: Garden, track_id: str) -> None:
    """Callbacks that nobody has looked at yet: kept raw, and in the spool."""
    keep_raw(eraser.world.store, [_arrival(eraser, plant, track_id, plant("raw").encode())], problem=plant("problem"))
    spool.keep(eraser.spool, [_arrival(eraser, plant, track_id, plant("spooled").encode())])


def torn(eraser: Eraser, plant: Garden, track_id: str, folder: Path) -> None:
    """One in the spool of a process that died while it wrote."""
    aside = FileSpool(folder / "aside")
    spool.keep(aside, [_arrival(eraser, plant, track_id, plant("torn").encode())])
    (path,) = (folder / "aside").iterdir()
    (folder / "spool" / "1-dead.spool").write_bytes(path.read_bytes()[:-2])
    path.unlink()


DYING = """
import os, signal, sys
from webhook_app.flows.workspace import workspace
with workspace() as folder:
    (folder / "fetched-0").write_text(sys.argv[1])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left_behind(plant: Garden, folder: Path) -> None:
    """Its picture, fetched and half put by workers that were killed."""
    environment = {"TMPDIR": str(folder / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", DYING, plant("fetched")]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    half = folder / "archive" / "blobs" / ".tmp-0123"
    half.write_text(plant("half-put"))
    os.utime(half, (time.time() - 700,) * 2)


def test_nothing_that_was_planted_is_found_after_the_erasing(
    eraser: Eraser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, plant, other = eraser.world, Garden(), Garden()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    track_id, neighbour = planted(eraser, plant), planted(eraser, other)
    late(eraser, plant, track_id)
    torn(eraser, plant, track_id, tmp_path)
    left_behind(plant, tmp_path)
    before = plant.found(world.store, tmp_path)
    assert {word for word in plant.words if not any(found.startswith(word) for found in before)} == set()
    eraser.ask(track_id)
    eraser.finish()
    assert tidy(eraser.storage, now=datetime.now(UTC)) == 2
    assert plant.found(world.store, tmp_path) == set()
    left = other.found(world.store, tmp_path)
    assert {word for word in other.words if not any(found.startswith(word) for found in left)} == set()
    assert world.job(neighbour).status == "succeeded"


def test_what_comes_later_leaves_no_word_either(eraser: Eraser, tmp_path: Path) -> None:
    world, plant = eraser.world, Garden()
    track_id = planted(eraser, plant)
    eraser.ask(track_id)
    eraser.finish()
    _hear(eraser, plant, track_id, plant("read").encode() * 500)
    assert plant.found(world.store, tmp_path) == set()
    late(eraser, plant, track_id)
    spool.drain(world.store, eraser.spool)
    world.later(seconds=6)
    assert apply_stored(world.store, world.providers, limit=5, policy=world.policy, now=world.at) == 2
    assert plant.found(world.store, tmp_path) == set()
    assert [row.verdict for row in world.callbacks()].count(
        "erased"
    ) == 1 + 3  # The orphan too: nobody adopts it any more.


def test_nothing_of_a_batch_is_left_when_its_last_job_is_erased(eraser: Eraser, tmp_path: Path) -> None:
    world, plant, other = eraser.world, Garden(), Garden()
    requests = [asked(each("prompt"), reference=each("reference")) for each in (plant, other)]
    batch = submit_batch(world, requests, key=Idempotency(other("idempotency"), "ab" * 32))
    eraser.ask(batch.track_ids[0])
    eraser.finish()
    assert plant.found(world.store, tmp_path) == set()
    left = other.found(world.store, tmp_path)
    assert {word for word in other.words if not any(found.startswith(word) for found in left)} == set()
    eraser.ask(batch.track_ids[1])
    eraser.finish()
    assert other.found(world.store, tmp_path) == set()
