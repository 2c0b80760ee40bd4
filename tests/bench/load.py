"""A small closed-loop load generator: each client has one keep-alive connection and its own requests, one at a time.

Run as a process of its own, so that its CPU is not the server's: reads JSON from stdin, writes JSON to stdout.
"""

import json
import socket
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit


def request_of(host: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    fields = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def _answer(reader: socket.SocketIO) -> int:
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    reader.read(length)
    return status


def _client(address: tuple[str, int], requests: list[bytes], results: list[tuple[int, float]]) -> None:
    with socket.create_connection(address, timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = connection.makefile("rb")
        for request in requests:
            started = time.perf_counter()
            connection.sendall(request)
            results.append((_answer(reader), time.perf_counter() - started))


def run(asked: dict[str, Any]) -> dict[str, object]:
    """Send every request once over `clients` connections; returns the time taken, latencies in ms and statuses."""
    parts = urlsplit(asked["url"])
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    requests = [
        request_of(parts.netloc, asked["method"], path, body.encode(), asked["headers"])
        for path, body in zip(asked["paths"], asked["bodies"], strict=True)
    ]
    clients = asked["clients"]
    results: list[list[tuple[int, float]]] = [[] for _ in range(clients)]
    threads = [
        threading.Thread(target=_client, args=(address, requests[n::clients], results[n])) for n in range(clients)
    ]
    started, before = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - started, time.process_time() - before
    flat = [item for each in results for item in each]
    latencies = sorted(latency * 1000 for _, latency in flat)
    statuses: dict[str, int] = {}
    for status, _ in flat:
        statuses[str(status)] = statuses.get(str(status), 0) + 1
    spread = {f"p{p}": latencies[min(len(latencies) - 1, len(latencies) * p // 100)] for p in (50, 99)}
    return {"wall_s": wall, "statuses": statuses, "cpu_s": cpu, **spread}


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
