"""The pictures: real, of the asked size, and a function of what was asked."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from webhook_app.emulator.painting import paint


def test_a_picture_is_a_png_of_the_asked_size(start):
    emulator = start()
    body = emulator.submit(width=768, height=512).json()
    answer = emulator.get(body["output"][0])
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == ("PNG", (768, 512))
    assert answer.headers["Content-Type"] == "image/png"


def test_equal_asks_give_equal_bytes_and_any_difference_shows(start):
    emulator = start()

    def picture(index: int = 0, **members: object) -> bytes:
        body = emulator.submit(width=256, height=256, samples=2, **members).json()
        return emulator.get(body["output"][index]).content

    assert picture(seed=5) == picture(seed=5)
    different = {picture(seed=5), picture(seed=6), picture(seed=5, prompt="a fox"), picture(1, seed=5)}
    assert len(different) == 4


def test_painting_on_many_threads_gives_the_same_bytes():
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: paint.__wrapped__("a fox", 1, 256, 256, 0), range(16)))) == 1


@pytest.mark.parametrize("prompt", ["\ud800 lone", "x" * 5000, "word " * 2000, "\n\t", "日本語 \U0001f98a", "‏שלום"])
def test_every_prompt_can_be_painted(prompt):
    assert paint(prompt, 1, 256, 1024, 0).startswith(b"\x89PNG")


def test_a_base64_ask_is_a_link_to_text(start):
    emulator = start()
    plain = emulator.get(emulator.submit(width=256, height=256, seed=3).json()["output"][0])
    body = emulator.submit(width=256, height=256, seed=3, base64=True).json()
    assert body["meta"]["base64"] == "yes"
    assert body["output"][0].endswith("-0.base64")
    assert base64.b64decode(emulator.get(body["output"][0]).content) == plain.content


def test_a_range_of_a_picture_can_be_read(start):
    emulator = start()
    url = emulator.submit(width=256, height=256).json()["output"][0]
    answer = emulator.http.get(url, headers={"Range": "bytes=0-7"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, b"\x89PNG\r\n\x1a\n")


def test_the_first_k_reads_of_each_picture_are_404(start):
    emulator = start(picture_404s=2)
    for url in emulator.submit(width=256, height=256, samples=2).json()["output"]:
        assert [emulator.get(url).status_code for _ in range(4)] == [404, 404, 200, 200]


def test_only_the_named_pictures_exist(start):
    emulator = start()
    url = emulator.submit().json()["output"][0]
    for wrong in (url.replace("-0.png", "-1.png"), url.replace(".png", ".base64"), url.replace("generations", "temp")):
        assert emulator.get(wrong).status_code == 404


def test_a_flagged_prompt_gives_a_black_picture_only_with_the_checker_on(start):
    emulator = start()
    flagged = emulator.submit(prompt="nsfw scene", safety_checker=True, width=256, height=256).json()
    assert flagged["nsfw_content_detected"] is True
    picture = Image.open(io.BytesIO(emulator.get(flagged["output"][0]).content))
    assert picture.getextrema() == ((0, 0), (0, 0), (0, 0))
    assert "nsfw_content_detected" not in emulator.submit(prompt="nsfw scene").json()
