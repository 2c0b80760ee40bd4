"""The network's fixtures: scripted servers, a resolver of our own, and a record of where sockets went."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.net.scripted import Script, ScriptedServer


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(script: Script, tls: Any = None) -> ScriptedServer:
        servers.append(ScriptedServer(script, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Names:
    """A resolver: names have the answers a test gives them, one list per question; numbers mean themselves."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if host not in self.answers:
            return _real(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        rounds = self.answers[host]
        found = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        return [(*_family(ip), socket.SOCK_STREAM, 6, "", _address(ip, port)) for ip in found]


_real = socket.getaddrinfo


def _family(ip: str) -> tuple[int]:
    return (socket.AF_INET6 if ":" in ip else socket.AF_INET,)


def _address(ip: str, port: int) -> tuple[Any, ...]:
    return (ip, port, 0, 0) if ":" in ip else (ip, port)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that sockets were told to connect to. Nothing leaves: every connect is refused."""
    seen: list[str] = []

    def connect(_: socket.socket, address: Any) -> None:
        seen.append(address[0])
        raise ConnectionRefusedError("recorded, not made")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return seen
