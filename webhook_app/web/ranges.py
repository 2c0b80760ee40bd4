"""Which part of a picture a request wants (RFC 9110, section 14): pure, one range at most."""

import re
from dataclasses import dataclass

ONE_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """`length` bytes from `start`, of a picture that has `size`."""

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


class Unsatisfiable(Exception):
    """The range lies beyond the end: 416."""


def window(header: str | None, size: int) -> Window | None:
    """The part that a `Range` header asks for. None: the whole, as for several ranges, other units and nonsense, which
    a server may ignore. Raises `Unsatisfiable`."""
    found = ONE_RANGE.fullmatch(header) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        length = (min(int(last), size - 1) if last else size - 1) - start + 1
    if length <= 0:
        raise Unsatisfiable
    return Window(start, length, size)
