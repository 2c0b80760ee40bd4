"""Pictures out of a bucket: through us, or from a signed address of its own."""

import os
import uuid
from pathlib import Path

import pytest
import urllib3

from tests.buckets import Service
from tests.web.doors import Doors
from webhook_app.domain.keys import blob_key
from webhook_app.store.engine import Store

CONTENT = os.urandom(300_000)


@pytest.fixture(params=["stream", "redirect"])
def serve(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def doors(store: Store, tmp_path: Path, s3: Service, serve: str) -> Doors:
    return Doors(store, tmp_path, {"ARCHIVE_URL": s3.url(f"web/{uuid.uuid4().hex}", serve=serve)})


@pytest.fixture
def archived(doors: Doors) -> str:
    """The address of a picture in the bucket."""
    track_id, (image_id,) = doors.job()
    doors.succeed(track_id)
    doors.archive(image_id, CONTENT, sizes=(256,))
    return f"/images/{image_id}.png"


@pytest.mark.parametrize("serve", ["stream"], indirect=True)
def test_streamed_it_looks_as_from_a_directory(doors: Doors, archived: str) -> None:
    answer = doors.http.get(archived)
    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert answer.headers["Content-Disposition"].endswith('-0.png"')
    part = doors.http.get(archived, headers={"Range": "bytes=1000-70000"})
    assert (part.status_code, part.data) == (206, CONTENT[1000:70001])
    assert doors.http.get(f"{archived}?size=256").data == b"webp of 256"
    assert doors.http.get(f"{archived}?size=512").status_code == 503


@pytest.mark.parametrize("serve", ["redirect"], indirect=True)
def test_redirected_it_is_at_an_address_of_the_bucket_that_nobody_may_keep(doors: Doors, archived: str) -> None:
    answer = doors.http.get(archived)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (302, "no-store")
    got = urllib3.request("GET", answer.headers["Location"], headers={"Range": "bytes=1000-70000"})
    assert (got.status, got.data, got.headers["Content-Type"]) == (206, CONTENT[1000:70001], "image/png")
    small = urllib3.request("GET", doors.http.get(f"{archived}?size=256").headers["Location"])
    assert (small.data, small.headers["Content-Type"]) == (b"webp of 256", "image/webp")


def test_head_and_what_the_client_has_already_are_answered_here(doors: Doors, archived: str) -> None:
    head = doors.http.head(archived)
    assert (head.status_code, head.data, head.content_length) == (200, b"", len(CONTENT))
    again = doors.http.get(archived, headers={"If-None-Match": head.headers["ETag"]})
    assert (again.status_code, again.headers["Cache-Control"]) == (304, "public, max-age=31536000, immutable")


@pytest.mark.parametrize("serve", ["stream"], indirect=True)
def test_a_picture_that_the_bucket_does_not_have_is_503(doors: Doors, archived: str) -> None:
    sha256 = doors.http.head(archived).headers["ETag"].strip('"')
    doors.parts.storage.delete(blob_key(sha256))
    answer = doors.http.get(archived)
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["code"] == "archive_unavailable"
