"""What every store of objects must do. A test module subclasses it and gives the fixture `storage`."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from webhook_app.domain.errors import StorageError
from webhook_app.storage.port import Storage

KEY = "blobs/ab/cd/abcdef"
REFUSED_KEYS = [
    "",
    "/etc/passwd",
    "../outside",
    "blobs/../../outside",
    "blobs/..",
    "blobs/./a",
    "blobs//a",
    "blobs/",
    "blobs/.hidden",
    ".tmp-0",
    "blobs\\..\\a",
    "blobs/a\0b",
    f"blobs/{'a' * 300}",
]


def _file(folder: Path, content: bytes, name: str = "source") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


class StorageContract:
    def test_what_was_put_can_be_read(self, storage: Storage, tmp_path: Path) -> None:
        content = os.urandom(300_000)
        assert storage.put_if_absent(KEY, _file(tmp_path, content), "image/png") is True
        assert storage.size(KEY) == len(content)
        assert b"".join(storage.read(KEY)) == content

    def test_an_empty_object_is_an_object(self, storage: Storage, tmp_path: Path) -> None:
        assert storage.put_if_absent(KEY, _file(tmp_path, b""), "image/png")
        assert storage.size(KEY) == 0
        assert b"".join(storage.read(KEY)) == b""

    @pytest.mark.parametrize("start", [0, 1, 65_535, 65_536, 99_999, 100_000, 200_000])
    @pytest.mark.parametrize("length", [None, 0, 1, 65_536, 70_000, 1_000_000])
    def test_a_part_can_be_read(self, storage: Storage, tmp_path: Path, start: int, length: int | None) -> None:
        content = os.urandom(100_000)
        storage.put_if_absent(KEY, _file(tmp_path, content), "image/png")
        expected = content[start:] if length is None else content[start : start + length]
        assert b"".join(storage.read(KEY, start, length)) == expected

    def test_a_second_put_changes_nothing_and_says_so(self, storage: Storage, tmp_path: Path) -> None:
        assert storage.put_if_absent(KEY, _file(tmp_path, b"first"), "image/png") is True
        assert storage.put_if_absent(KEY, _file(tmp_path, b"second"), "image/png") is False
        assert b"".join(storage.read(KEY)) == b"first"

    def test_what_lies_there_is_replaced_and_what_does_not_is_made(self, storage: Storage, tmp_path: Path) -> None:
        for content in (b"first", b"the second", b"", os.urandom(300_000)):
            storage.replace(KEY, _file(tmp_path, content), "image/png")
            assert storage.size(KEY) == len(content)
            assert b"".join(storage.read(KEY)) == content
        assert [entry.key for entry in storage.objects("blobs")] == [KEY]

    def test_while_it_is_replaced_a_reader_gets_one_or_the_other_whole(self, storage: Storage, tmp_path: Path) -> None:
        sources = [_file(tmp_path, b"%d" % number * 200_000, f"source-{number}") for number in range(2)]
        storage.replace(KEY, sources[0], "image/png")
        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(lambda: [storage.replace(KEY, sources[n % 2], "image/png") for n in range(20)])
            while not writing.done():
                assert storage.size(KEY) == 200_000
                assert b"".join(storage.read(KEY)) in (b"0" * 200_000, b"1" * 200_000)
            writing.result()

    def test_a_source_that_cannot_be_read_replaces_nothing(self, storage: Storage, tmp_path: Path) -> None:
        storage.replace(KEY, _file(tmp_path, b"first"), "image/png")
        with pytest.raises(StorageError):
            storage.replace(KEY, tmp_path / "missing", "image/png")
        assert b"".join(storage.read(KEY)) == b"first"

    def test_of_sixteen_writers_at_once_one_wins(self, storage: Storage, tmp_path: Path) -> None:
        for turn in range(5):
            key, barrier = f"race/{turn}/object", Barrier(16)
            sources = [_file(tmp_path, b"%02d" % number * 50_000, f"source-{number}") for number in range(16)]

            def put(source: Path, key: str = key, barrier: Barrier = barrier) -> bool:
                barrier.wait(30)
                return storage.put_if_absent(key, source, "image/png")

            with ThreadPoolExecutor(16) as threads:
                won = list(threads.map(put, sources))
            assert won.count(True) == 1
            assert b"".join(storage.read(key)) == sources[won.index(True)].read_bytes()

    def test_a_reader_never_sees_a_part(self, storage: Storage, tmp_path: Path) -> None:
        content = os.urandom(2_000_000)
        digest, source = hashlib.sha256(content).hexdigest(), _file(tmp_path, content)
        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(storage.put_if_absent, KEY, source, "image/png")
            while (size := storage.size(KEY)) is None:
                assert not writing.done() or storage.size(KEY) is not None
            assert size == len(content)
            assert hashlib.sha256(b"".join(storage.read(KEY))).hexdigest() == digest
            assert writing.result() is True

    def test_what_is_missing_has_no_size_and_cannot_be_read(self, storage: Storage) -> None:
        assert storage.size(KEY) is None
        with pytest.raises(StorageError):
            storage.read(KEY)

    def test_a_deleted_object_is_gone_and_may_be_deleted_again(self, storage: Storage, tmp_path: Path) -> None:
        storage.put_if_absent(KEY, _file(tmp_path, b"x"), "image/png")
        storage.delete(KEY)
        storage.delete(KEY)
        assert storage.size(KEY) is None
        assert storage.put_if_absent(KEY, _file(tmp_path, b"y"), "image/png") is True

    def test_objects_are_listed_by_key_in_slices_with_size_and_time(self, storage: Storage, tmp_path: Path) -> None:
        keys = ["blobs/a/b", "blobs/a/c", "blobs/a/c0/d", "blobs/a0/b", "blobs/b"]
        for number, key in enumerate(reversed(keys)):
            storage.put_if_absent(key, _file(tmp_path, b"x" * number), "image/png")
        for key in ("blobsx/a", "other/a"):
            storage.put_if_absent(key, _file(tmp_path, b"x"), "image/png")
        now = datetime.now(UTC)
        found = storage.objects("blobs")
        assert [(entry.key, entry.size) for entry in found] == [(key, 4 - n) for n, key in enumerate(keys)]
        assert all(abs(entry.modified_at - now) < timedelta(minutes=5) for entry in found)
        for limit in (1, 2, 3):
            sliced, after = [], None
            while page := storage.objects("blobs", after=after, limit=limit):
                assert len(page) <= limit
                sliced += [entry.key for entry in page]
                after = page[-1].key
            assert sliced == keys
        assert [entry.key for entry in storage.objects("blobs", after="blobs/a/bb")] == keys[1:]
        assert [entry.key for entry in storage.objects("blobs/a")] == keys[:3]

    def test_where_nothing_was_put_nothing_is_listed(self, storage: Storage) -> None:
        assert list(storage.objects("blobs")) == []
        assert storage.sweep(datetime.now(UTC)) == 0

    def test_a_sweep_takes_no_object(self, storage: Storage, tmp_path: Path) -> None:
        storage.put_if_absent(KEY, _file(tmp_path, b"x"), "image/png")
        assert storage.sweep(datetime.now(UTC) + timedelta(hours=1)) == 0
        assert storage.size(KEY) == 1

    @pytest.mark.parametrize("key", REFUSED_KEYS)
    def test_a_key_that_could_lead_outside_is_refused(self, storage: Storage, tmp_path: Path, key: str) -> None:
        source = _file(tmp_path, b"x")
        for act in (storage.size, storage.read, storage.delete, storage.objects):
            with pytest.raises(StorageError):
                act(key)
        for put in (storage.put_if_absent, storage.replace):
            with pytest.raises(StorageError):
                put(key, source, "image/png")

    def test_a_source_that_cannot_be_read_leaves_nothing(self, storage: Storage, tmp_path: Path) -> None:
        with pytest.raises(StorageError):
            storage.put_if_absent(KEY, tmp_path / "missing", "image/png")
        assert storage.size(KEY) is None

    def test_the_check_passes_and_leaves_nothing_to_describe(self, storage: Storage) -> None:
        storage.check()
        assert storage.describe()
