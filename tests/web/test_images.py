"""The pictures' door: lasting, cacheable, and never a way to somebody else's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.web.doors import KNOWN_HOST, Doors
from webhook_app.domain.job import Scope
from webhook_app.domain.keys import blob_key
from webhook_app.domain.links import Links
from webhook_app.domain.tokens import Tokens
from webhook_app.flows.keys import create_key
from webhook_app.store.engine import Store
from webhook_app.store.tables import Image

CONTENT = bytes(range(256)) * 1000
SIZE = len(CONTENT)
PUBLIC = "http://127.0.0.1:8000"
RANGES = "bytes=" + ",".join(f"{start}-{start + 1000}" for start in range(1000))


@pytest.fixture
def doors(store: Store, tmp_path: Path) -> Doors:
    return Doors(store, tmp_path)


@pytest.fixture
def archived(doors: Doors) -> str:
    """The address of a picture in the archive."""
    track_id, (image_id,) = doors.job()
    doors.succeed(track_id)
    doors.archive(image_id, CONTENT, sizes=(128, 256, 512))
    return f"/images/{image_id}.png"


def pending(doors: Doors, source: str, witness: str = "callback") -> str:
    track_id, (image_id,) = doors.job()
    doors.succeed(track_id)
    doors.set_image(image_id, sources=[source], source_witness=witness)
    return f"/images/{image_id}.png"


def code(answer: TestResponse) -> tuple[int, str]:
    assert answer.json is not None
    return answer.status_code, answer.json["code"]


def test_an_archived_picture_is_served_whole_and_for_ever(doors: Doors, archived: str) -> None:
    answer = doors.http.get(archived)
    assert (answer.status_code, answer.data) == (200, CONTENT)
    etag = answer.headers["ETag"]
    assert etag.startswith('"')
    assert len(etag) == 66
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Disposition"].startswith('inline; filename="')
    assert answer.headers["Content-Disposition"].endswith('-0.png"')


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "whatever"])
def test_the_extension_is_decoration(doors: Doors, archived: str, extension: str) -> None:
    answer = doors.http.get(archived.removesuffix("png") + extension)
    assert (answer.status_code, answer.content_type) == (200, "image/png")


def test_head_tells_the_same_without_the_bytes(doors: Doors, archived: str) -> None:
    whole, head = doors.http.get(archived), doors.http.head(archived, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.data) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type", "Cache-Control"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("header", "expected", "content_range"),
    [
        ("bytes=0-99", CONTENT[:100], f"bytes 0-99/{SIZE}"),
        ("bytes=1000-70000", CONTENT[1000:70001], f"bytes 1000-70000/{SIZE}"),
        ("bytes=-5", CONTENT[-5:], f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}"),
        (f"bytes={SIZE - 1}-", CONTENT[-1:], f"bytes {SIZE - 1}-{SIZE - 1}/{SIZE}"),
    ],
)
def test_a_range_is_206(doors: Doors, archived: str, header: str, expected: bytes, content_range: str) -> None:
    answer = doors.http.get(archived, headers={"Range": header})
    assert (answer.status_code, answer.data) == (206, expected)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(expected))


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=9-1", "pages=1-2", "bytes=x", RANGES])
def test_ranges_that_we_do_not_serve_are_the_whole(doors: Doors, archived: str, header: str) -> None:
    assert doors.http.get(archived, headers={"Range": header}).status_code == 200


def test_a_range_beyond_the_end_is_416(doors: Doors, archived: str) -> None:
    answer = doors.http.get(archived, headers={"Range": f"bytes={SIZE}-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_if_range_serves_a_part_of_the_same_picture_only(doors: Doors, archived: str) -> None:
    etag = doors.http.get(archived).headers["ETag"]
    for given, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), ("Tue, 24 Nov 2026 00:00:00 GMT", 200)):
        answer = doors.http.get(archived, headers={"Range": "bytes=0-9", "If-Range": given})
        assert answer.status_code == status


def test_if_none_match_is_304(doors: Doors, archived: str) -> None:
    etag = doors.http.get(archived).headers["ETag"]
    for given in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = doors.http.get(archived, headers={"If-None-Match": given})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert "immutable" in answer.headers["Cache-Control"]
    flood = ", ".join(f'"{number}"' for number in range(2000))
    for given, status in (('"other"', 200), (flood, 200), (f"{flood}, {etag}", 304), ("nonsense", 200), ('"', 200)):
        assert doors.http.get(archived, headers={"If-None-Match": given}).status_code == status


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_thumbnail_is_webp_with_an_etag_of_its_own(doors: Doors, archived: str, size: int) -> None:
    answer = doors.http.get(f"{archived}?size={size}")
    assert (answer.status_code, answer.content_type, answer.data) == (200, "image/webp", b"webp of %d" % size)
    assert answer.headers["ETag"] != doors.http.get(archived).headers["ETag"]


@pytest.mark.parametrize("size", ["", "64", "1024", "0128", "-128", "x", "128.0"])
def test_other_sizes_are_422_and_name_the_field(doors: Doors, archived: str, size: str) -> None:
    answer = doors.http.get(archived, query_string={"size": size})
    assert code(answer) == (422, "invalid_field")
    assert answer.json is not None
    assert answer.json["errors"][0]["pointer"] == "/size"


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "image/gif"])
def test_a_type_that_is_no_picture_of_ours_is_never_said(doors: Doors, kind: str) -> None:
    _, (image_id,) = doors.job()
    doors.archive(image_id, b"<script>", content_type=kind)
    assert doors.http.get(f"/images/{image_id}.html").content_type == "application/octet-stream"


def test_a_copy_that_cannot_be_read_is_503(doors: Doors, archived: str) -> None:
    sha256 = doors.http.get(archived).headers["ETag"].strip('"')
    doors.parts.storage.delete(blob_key(sha256))
    answer = doors.http.get(archived)
    assert code(answer) == (503, "archive_unavailable")
    assert answer.headers["Cache-Control"] == "no-store"


def test_before_the_job_has_ended_it_is_not_ready(doors: Doors) -> None:
    _, (image_id,) = doors.job()
    answer = doors.http.get(f"/images/{image_id}.png")
    assert code(answer) == (404, "image_not_ready")
    assert int(answer.headers["Retry-After"]) > 0


def test_for_a_job_that_failed_nobody_is_told_to_come_back(doors: Doors) -> None:
    track_id, (image_id,) = doors.job()
    doors.set_job(track_id, status="failed", completed_at=datetime.now(UTC))
    answer = doors.http.get(f"/images/{image_id}.png")
    assert code(answer) == (404, "image_not_ready")
    assert "Retry-After" not in answer.headers


def test_before_we_have_our_copy_a_known_host_is_shown(doors: Doors) -> None:
    answer = doors.http.get(pending(doors, f"{KNOWN_HOST}/a.png?x=1"))
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{KNOWN_HOST}/a.png?x=1")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("witness", ["submit", "poll"])
def test_any_host_that_the_provider_named_to_us_directly_is_shown(doors: Doors, witness: str) -> None:
    assert doors.http.get(pending(doors, "https://cdn.elsewhere/a.png", witness)).status_code == 302


@pytest.mark.parametrize(
    "source",
    [
        "https://cdn.elsewhere/a.png",
        f"{KNOWN_HOST}/a.base64",
        f"{KNOWN_HOST}/a.base64?signed=1",
        f"{KNOWN_HOST}/a\r\nSet-Cookie: x=1",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_a_picture_at_a_known_host(doors: Doors, source: str) -> None:
    answer = doors.http.get(pending(doors, source))
    assert code(answer) == (503, "archive_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_what_is_lost_or_erased_is_gone(doors: Doors) -> None:
    for status, expected in (("lost", "gone"), ("erased", "erased")):
        _, (image_id,) = doors.job()
        doors.set_image(image_id, status=status)
        assert code(doors.http.get(f"/images/{image_id}.png")) == (410, expected)


def test_an_erased_job_shows_no_picture(doors: Doors) -> None:
    track_id, (image_id,) = doors.job()
    doors.archive(image_id, CONTENT)
    doors.set_job(track_id, erased_at=datetime.now(UTC))
    assert code(doors.http.get(f"/images/{image_id}.png")) == (410, "erased")


@pytest.mark.parametrize("name", ["img_" + "a" * 26 + ".png", "img_x.png", "..png", "%00.png", "img_..%2f.png"])
def test_an_unknown_picture_is_404(doors: Doors, name: str) -> None:
    assert code(doors.http.get(f"/images/{name}")) == (404, "not_found")


class TestAccessByKey:
    """With IMAGE_ACCESS=key a picture is its client's alone."""

    @pytest.fixture
    def doors(self, store: Store, tmp_path: Path) -> Doors:
        return Doors(store, tmp_path, {"IMAGE_ACCESS": "key"})

    def ask(self, doors: Doors, address: str, client: str, *scopes: Scope) -> TestResponse:
        _, secret = create_key(doors.store, client=client, name="a key", scopes=scopes, now=datetime.now(UTC))
        return doors.http.get(address, headers={"Authorization": f"Bearer {secret}"})

    def test_it_takes_a_key_of_the_same_client(self, doors: Doors, archived: str) -> None:
        assert doors.http.get(archived).status_code == 401
        assert self.ask(doors, archived, "tests", Scope.SUBMIT).status_code == 403
        assert self.ask(doors, archived, "others", Scope.READ).status_code == 404
        mine = self.ask(doors, archived, "tests", Scope.READ)
        assert (mine.status_code, mine.data) == (200, CONTENT)
        assert mine.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        assert self.ask(doors, archived, "operators", Scope.ADMIN).status_code == 200

    def test_nobody_is_sent_to_the_source(self, doors: Doors) -> None:
        address = pending(doors, f"{KNOWN_HOST}/a.png")
        assert self.ask(doors, address, "tests", Scope.READ).status_code == 503


class TestSignedAccess:
    """With IMAGE_ACCESS=signed an address ends, and the job tells one that has not."""

    @pytest.fixture
    def doors(self, store: Store, tmp_path: Path) -> Doors:
        return Doors(
            store,
            tmp_path,
            {"IMAGE_ACCESS": "signed", "IMAGE_URL_TTL_S": "3600", "SECRET_KEY": "the new one, the old one"},
        )

    @pytest.fixture
    def image_id(self, archived: str) -> str:
        return archived.removeprefix("/images/").removesuffix(".png")

    def links(self, doors: Doors, *, ttl: timedelta = timedelta(hours=1)) -> Links:
        return Links(doors.parts.tokens, ttl)

    def read(self, doors: Doors, path: str, **headers: str) -> TestResponse:
        _, secret = create_key(doors.store, client="tests", name="a key", scopes=[Scope.READ], now=datetime.now(UTC))
        return doors.http.get(path, headers={"Authorization": f"Bearer {secret}", **headers})

    def test_the_job_tells_addresses_that_work(self, doors: Doors, image_id: str) -> None:
        facts = self.read(doors, f"/v1/images/{image_id}").json
        assert facts is not None
        job = self.read(doors, f"/v1/jobs/{facts['track_id']}").json
        assert job is not None
        assert job["images"][0]["url"] == facts["url"]
        whole, small = (doors.http.get(facts[name].removeprefix(PUBLIC)) for name in ("url", "thumbnail_url"))
        assert (whole.status_code, whole.data) == (200, CONTENT)
        assert (small.status_code, small.content_type) == (200, "image/webp")
        private, age, immutable = whole.headers["Cache-Control"].split(", ")
        assert (private, immutable) == ("private", "immutable")
        assert 3600 - 60 < int(age.removeprefix("max-age=")) <= 3600 + 86_400

    def test_an_address_is_good_for_its_time_and_the_rest_of_the_day(self, doors: Doors, image_id: str) -> None:
        now = datetime.now(UTC)
        old = self.links(doors).query(image_id, now - timedelta(days=3))
        refused = doors.http.get(f"/images/{image_id}.png?{old}")
        assert code(refused) == (403, "link_not_valid")
        assert "fresh" in refused.json["detail"]  # type: ignore[index]
        assert refused.headers["Cache-Control"] == "no-store"
        day = datetime(2026, 11, 25, tzinfo=UTC)
        ends = self.links(doors).ends
        assert ends(day) == ends(day + timedelta(hours=22, minutes=59)) == (day + timedelta(days=1)).timestamp()
        assert ends(day + timedelta(hours=23, seconds=1)) == (day + timedelta(days=2)).timestamp()

    def test_an_address_without_its_own_signature_is_refused(self, doors: Doors, image_id: str) -> None:
        now = datetime.now(UTC)
        good = self.links(doors).query(image_id, now)
        other = self.links(doors).query("img_" + "a" * 26, now)
        expires, signature = good.split("&")
        for query in (
            "",
            expires,
            signature,
            other,
            good.replace("expires=1", "expires=2"),
            f"expires=x&{signature}",
            f"expires={'9' * 400}&{signature}",
            f"expires=%D9%A3&{signature}",
            f"{expires}&signature=%00",
            f"{expires}&signature=%C3%A9",
        ):
            assert code(doors.http.get(f"/images/{image_id}.png?{query}")) == (403, "link_not_valid"), query
        assert doors.http.get(f"/images/{image_id}.png?{good}").status_code == 200

    def test_a_secret_that_is_on_its_way_out_is_still_good(self, doors: Doors, image_id: str) -> None:
        query = Links(Tokens((doors.parts.tokens.secrets[-1],)), timedelta(hours=1)).query(image_id, datetime.now(UTC))
        assert doors.http.get(f"/images/{image_id}.png?{query}").status_code == 200

    def test_a_job_s_etag_tells_when_its_addresses_end(self, doors: Doors, image_id: str) -> None:
        with doors.store.reading() as connection:
            track_id = str(connection.scalar(select(Image.track_id).where(Image.image_id == image_id)))
        answer = self.read(doors, f"/v1/jobs/{track_id}")
        etag = answer.headers["ETag"]
        assert answer.json is not None
        assert f"expires={etag.strip(chr(34)).rpartition('.')[2]}&" in answer.json["images"][0]["url"]
        assert self.read(doors, f"/v1/jobs/{track_id}", **{"If-None-Match": etag}).status_code == 304
        yesterday = etag.rpartition(".")[0] + '.1"'
        assert self.read(doors, f"/v1/jobs/{track_id}", **{"If-None-Match": yesterday}).status_code == 200

    def test_nobody_is_sent_to_the_source(self, doors: Doors) -> None:
        address = pending(doors, f"{KNOWN_HOST}/a.png")
        image_id = address.removeprefix("/images/").removesuffix(".png")
        query = self.links(doors).query(image_id, datetime.now(UTC))
        assert code(doors.http.get(f"{address}?{query}")) == (503, "archive_unavailable")
