"""The Range table (RFC 9110, section 14)."""

import pytest

from webhook_app.web.ranges import Unsatisfiable, window

SIZE = 1000
WHOLE = None
BEYOND = "416"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, WHOLE),
        ("", WHOLE),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 500)),
        ("bytes=999-999", (999, 1)),
        ("bytes=0-", (0, 1000)),
        ("bytes=400-", (400, 600)),
        ("bytes=400-5000", (400, 600)),
        ("bytes=-1", (999, 1)),
        ("bytes=-1000", (0, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("Bytes=1-2", (1, 2)),
        ("bytes= 1-2 ", (1, 2)),
        ("bytes=1000-", BEYOND),
        ("bytes=1000-2000", BEYOND),
        ("bytes=-0", BEYOND),
        ("bytes=5-4", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=1", WHOLE),
        ("bytes", WHOLE),
        ("bytes=0-1,5-6", WHOLE),
        ("items=0-1", WHOLE),
        ("bytes=٣-٤", WHOLE),
        ("bytes=--1", WHOLE),
        ("bytes=0-1\n", WHOLE),
        ("bytes=" + "9" * 5000 + "-", WHOLE),
    ],
)
def test_a_range_is_read_as_the_rfc_says(header: str | None, expected: object) -> None:
    if expected == BEYOND:
        with pytest.raises(Unsatisfiable):
            window(header, SIZE)
        return
    part = window(header, SIZE)
    assert (None if part is None else (part.start, part.length)) == expected


def test_content_range_counts_from_zero_and_includes_the_last_byte() -> None:
    part = window("bytes=0-499", SIZE)
    assert part is not None
    assert part.content_range == "bytes 0-499/1000"
