"""Pictures that are not what was asked, or do not come as they should, and those that are gone."""

import hashlib
import io
import zipfile

import pytest
import requests
from PIL import Image

SIDES = {"width": 256, "height": 320}


def picture_of(emulator, **members) -> tuple[str, bytes]:
    url = emulator.submit(**SIDES, **members).json()["output"][0]
    return url, emulator.get(url).content


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


@pytest.mark.parametrize(("kind", "form"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("gif", "GIF")])
def test_a_picture_comes_in_the_form_that_was_set(start, kind, form):
    url, content = picture_of(start(picture_kind=kind))
    assert url.endswith(".png")
    assert (opened(content).format, opened(content).size) == (form, (256, 320))


@pytest.mark.parametrize("kind", ["truncated", "crc"])
def test_a_damaged_picture_cannot_be_decoded(start, kind):
    _, content = picture_of(start(picture_kind=kind))
    with pytest.raises((OSError, SyntaxError)):
        opened(content)


def test_what_follows_a_picture_is_a_page_or_an_archive(start):
    _, with_page = picture_of(start(picture_kind="trailing_html"))
    _, with_archive = picture_of(start(picture_kind="trailing_zip"))
    assert opened(with_page).size == opened(with_archive).size == (256, 320)
    assert with_page.endswith(b"</html>")
    assert zipfile.ZipFile(io.BytesIO(with_archive)).namelist() == ["index.html"]


def test_a_bomb_says_a_size_and_a_script_says_it_is_a_picture(start):
    _, bomb = picture_of(start(picture_kind="bomb"))
    assert int.from_bytes(bomb[16:20]) == int.from_bytes(bomb[20:24]) == 50_000
    emulator = start(picture_kind="svg")
    url, script = picture_of(emulator)
    assert b"<script>" in script
    assert emulator.get(url).headers["Content-Type"] == "image/png"


def test_the_other_kinds_are_small_or_empty(start):
    assert opened(picture_of(start(picture_kind="wrong_size"))[1]).size == (128, 160)
    assert opened(picture_of(start(picture_kind="blank"))[1]).getcolors() == [(256 * 320, (0, 0, 0))]
    assert len(opened(picture_of(start(picture_kind="near_blank"))[1]).getcolors()) > 1


@pytest.mark.parametrize("kind", ["jpeg", "truncated", "trailing_zip", "bomb"])
def test_the_ledger_names_the_digest_of_what_was_served(start, kind):
    emulator = start(picture_kind=kind, seed=3)
    _, content = picture_of(emulator, seed=1)
    assert picture_of(emulator, seed=1)[1] == content
    entries = emulator.ledger(kind="picture")
    assert {entry["sha256"] for entry in entries} == {hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("transfer", ["cut", "wrong_length", "reset"])
def test_a_broken_transfer_never_comes_whole(start, transfer):
    emulator = start(picture_transfer=transfer)
    url = emulator.submit(**SIDES).json()["output"][0]
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        emulator.get(url)
    (entry,) = emulator.ledger(kind="picture")
    assert (entry["transfer"], entry["sha256"]) == (transfer, None)


def test_a_drip_comes_whole_when_it_is_wide_enough(start):
    emulator = start(picture_transfer="drip", drip_bytes_s=10_000_000)
    _, content = picture_of(emulator)
    assert opened(content).size == (256, 320)


def test_redirects_lead_to_the_picture(start):
    emulator = start(picture_transfer="redirects", redirects_length=2)
    _, content = picture_of(emulator)
    assert opened(content).size == (256, 320)
    assert [entry["http_status"] for entry in emulator.ledger(kind="picture")] == [302, 302, 200]


def test_a_picture_is_gone_after_its_lifetime(start):
    emulator = start(lifetime_s=0)
    url = emulator.submit(**SIDES, samples=2).json()["output"][1]
    assert emulator.get(url).status_code == 404
    assert emulator.ledger(kind="picture")[0]["fault"] == "not_found"
    emulator.post("/_emulator/config", {"lifetime_s": 3600})
    assert opened(picture_of(emulator)[1]).size == (256, 320)
