"""The fault proxy does what its orders say: a tool that is trusted has to be tested first."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Ending, Fate, Proxy, proxy


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that answers `0123456789` and what it heard."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(end: socket.socket) -> None:
        with contextlib.suppress(OSError), end:
            while heard := end.recv(1024):
                end.sendall(b"0123456789" + heard)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = listener.accept()
                threading.Thread(target=answer, args=(end,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()
    listener.close()


def call(made: Proxy) -> socket.socket:
    end = socket.create_connection(("127.0.0.1", made.port), timeout=5)
    end.sendall(b"hello")
    return end


def read(end: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (piece := end.recv(size - len(got))):
        got += piece
    return got


def test_without_orders_everything_passes(echo: tuple[str, int]) -> None:
    with proxy(echo) as made, call(made) as end:
        assert read(end, 15) == b"0123456789hello"


def test_an_answer_is_cut_after_as_many_bytes_as_ordered(echo: tuple[str, int]) -> None:
    for ending in (Ending.CLOSE, Ending.HALF_CLOSE):
        with proxy(echo, lambda _, ending=ending: Fate(cut_after=4, ending=ending)) as made, call(made) as end:
            assert read(end, 15) == b"0123"


def test_a_half_closed_connection_still_takes_what_the_client_says(echo: tuple[str, int]) -> None:
    with proxy(echo, lambda _: Fate(cut_after=4, ending=Ending.HALF_CLOSE)) as made, call(made) as end:
        assert read(end, 15) == b"0123"
        end.sendall(b"more")


def test_a_reset_is_a_reset(echo: tuple[str, int]) -> None:
    with proxy(echo, lambda _: Fate(cut_after=0)) as made, call(made) as end, pytest.raises(ConnectionResetError):
        end.recv(1)


def test_a_black_hole_keeps_the_connection_and_says_nothing(echo: tuple[str, int]) -> None:
    with proxy(echo, lambda _: Fate(cut_after=0, ending=Ending.SILENCE)) as made, call(made) as end:
        end.settimeout(0.2)
        with pytest.raises(TimeoutError):
            end.recv(1)


def test_a_delay_is_a_delay(echo: tuple[str, int]) -> None:
    with proxy(echo, lambda _: Fate(delay_s=0.2)) as made:
        started = time.monotonic()
        with call(made) as end:
            assert read(end, 15) == b"0123456789hello"
        assert time.monotonic() - started >= 0.2


def test_each_connection_has_a_fate_of_its_own(echo: tuple[str, int]) -> None:
    with proxy(echo, lambda number: Fate(cut_after=0) if number == 0 else Fate()) as made:
        with call(made) as end, pytest.raises(ConnectionResetError):
            end.recv(1)
        with call(made) as end:
            assert read(end, 15) == b"0123456789hello"


def test_only_the_answer_that_was_ordered_is_lost(echo: tuple[str, int]) -> None:
    with proxy(echo) as made, call(made) as end:
        loss = made.lose(after=b"commit", answer=b"89commit")
        assert read(end, 15) == b"0123456789hello"
        end.sendall(b"commit")
        loss.wait()
        with pytest.raises(ConnectionResetError):
            end.recv(1)
        with call(made) as again:
            assert read(again, 15) == b"0123456789hello"
            again.sendall(b"commit")
            assert read(again, 16) == b"0123456789commit"


def test_what_passed_before_the_order_does_not_count(echo: tuple[str, int]) -> None:
    with proxy(echo) as made, call(made) as end:
        assert read(end, 15) == b"0123456789hello"
        loss = made.lose(after=b"hello", answer=b"89")
        end.sendall(b"a")
        assert read(end, 11) == b"0123456789a"
        end.sendall(b"hel")
        assert read(end, 13) == b"0123456789hel"
        end.sendall(b"lo")
        loss.wait()


def test_all_connections_are_reset_at_once(echo: tuple[str, int]) -> None:
    with proxy(echo) as made, call(made) as first, call(made) as second:
        assert read(first, 15) == read(second, 15)
        assert made.reset_all() == 2
        for end in (first, second):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_a_silenced_connection_stays_open_and_passes_nothing(echo: tuple[str, int]) -> None:
    with proxy(echo) as made, call(made) as end:
        assert read(end, 15) == b"0123456789hello"
        assert made.silence_all() == 1
        end.sendall(b"are you there?")
        end.settimeout(0.2)
        with pytest.raises(TimeoutError):
            end.recv(1)
        with call(made) as other:
            assert read(other, 15) == b"0123456789hello"
