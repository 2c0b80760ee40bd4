"""A small closed-loop load generator: each client has one keep-alive connection and its own requests, one at a time.

Run as a process of its own, so that its CPU is not the server's: reads JSON from stdin, writes JSON to stdout.
"""

import json
import socket
import sys
import threading
import time
from urllib.parse import urlsplit


def _request(host: str, path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


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


def run(url: str, paths: list[str], bodies: list[str], clients: int) -> dict[str, object]:
    """Send every request once over `clients` connections; returns the time taken, latencies in ms and statuses."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    requests = [_request(parts.netloc, path, body.encode()) for path, body in zip(paths, bodies, strict=True)]
    results: list[list[tuple[int, float]]] = [[] for _ in range(clients)]
    threads = [
        threading.Thread(target=_client, args=(address, requests[n::clients], results[n])) for n in range(clients)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - started
    flat = [item for each in results for item in each]
    latencies = sorted(latency * 1000 for _, latency in flat)
    statuses: dict[str, int] = {}
    for status, _ in flat:
        statuses[str(status)] = statuses.get(str(status), 0) + 1
    spread = {f"p{p}": latencies[min(len(latencies) - 1, len(latencies) * p // 100)] for p in (50, 99)}
    return {"wall_s": wall, "statuses": statuses, "cpu_s": time.process_time(), **spread}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump(run(asked["url"], asked["paths"], asked["bodies"], asked["clients"]), sys.stdout)
