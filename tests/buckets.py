"""A real S3 service for tests: SeaweedFS on free ports in a folder of its own, shared by the workers of a run, killed
at the end and gone with its folder."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
import pytest
import urllib3
from obstore.store import S3Store

from tests.databases import locked

BUCKET = "pictures"
KEYS = {"AWS_ACCESS_KEY_ID": "owner-key-id", "AWS_SECRET_ACCESS_KEY": "owner-secret-key"}
GUEST = {"AWS_ACCESS_KEY_ID": "guest-key-id", "AWS_SECRET_ACCESS_KEY": "guest-secret-key"}
PORTS = ("master.port", "volume.port", "filer.port", "s3.port")
GRPC_PORTS = tuple(f"{name}.grpc" for name in PORTS)
READY_S = 60


@dataclass(frozen=True, slots=True)
class Service:
    """A running service. It runs in `folder`, which holds its data."""

    endpoint: str
    pid: int
    folder: str
    ports: dict[str, int]

    def url(self, prefix: str, *, bucket: str = BUCKET, endpoint: str | None = None, serve: str = "stream") -> str:
        """What `ARCHIVE_URL` would be."""
        query = f"endpoint_url={quote(endpoint or self.endpoint, safe='')}&region=us-east-1&serve={serve}"
        return f"s3://{bucket}/{prefix}?{query}"

    def objects(self, prefix: str) -> list[str]:
        """The keys of all objects below a prefix."""
        return sorted(found["path"] for page in obstore.list(_owner(self.endpoint), f"{prefix}/") for found in page)


def _owner(endpoint: str) -> S3Store:
    config = {name.removeprefix("AWS_").lower(): value for name, value in KEYS.items()}
    return S3Store(BUCKET, config={**config, "endpoint": endpoint}, client_options={"allow_http": True})


def _free_ports(names: list[str]) -> dict[str, int]:
    """All at once, so that none is given twice."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in names]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in zip(names, probes, strict=True)}


def start(folder: Path, ports: dict[str, int]) -> Service:
    """A new service with an empty bucket; its data lie in `folder`."""
    identities = [
        {"name": "owner", "credentials": [_credentials(KEYS)], "actions": ["Admin", "Read", "Write", "List"]},
        {"name": "guest", "credentials": [_credentials(GUEST)], "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"]},
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    return run(folder, ports)


def _credentials(keys: dict[str, str]) -> dict[str, str]:
    return {"accessKey": keys["AWS_ACCESS_KEY_ID"], "secretKey": keys["AWS_SECRET_ACCESS_KEY"]}


def run(folder: Path, ports: dict[str, int]) -> Service:
    """Run the service whose data lie in `folder`, also after a kill."""
    weed = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    assert weed, "SeaweedFS is missing: it comes with the dev extra"
    command = [weed, "server", "-ip=127.0.0.1", f"-dir={folder / 'data'}", "-filer", "-s3"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    command += [
        f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ]
    command += [f"-s3.localSocket={folder / 's3.sock'}", f"-filer.localSocket={folder / 'filer.sock'}"]
    command += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    command += ["-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder)
    service = Service(f"http://127.0.0.1:{ports['s3.port']}", server.pid, str(folder), ports)
    for _ in range(READY_S * 10):
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            if server.poll() is None and _takes_writes(service):
                return service
        time.sleep(0.1)
    pytest.fail(f"SeaweedFS did not start:\n{(folder / 'log').read_text()[-4000:]}")


def _takes_writes(service: Service) -> bool:
    """Whether the bucket is there or can be made, and written to: the door opens before the store behind it."""
    bucket, probe = obstore.sign(_owner(service.endpoint), "PUT", ["", "ready"], timedelta(seconds=60))
    made = urllib3.request("PUT", bucket, timeout=5, retries=False)
    put = urllib3.request("PUT", probe, body=b"ready", timeout=5, retries=False)
    return made.status in (200, 409) and put.status == 200


def kill(folder: Path) -> None:
    """Kill what runs in this folder, stopped or not, and wait until it is gone."""
    for _ in range(300):
        alive = _pids(folder)
        if not alive:
            return
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    pytest.fail(f"SeaweedFS cannot be killed in {folder}")


def _pids(folder: Path) -> list[int]:
    """What runs in a folder: a service is started with it as its working directory. The dead have none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
    return found


def _remove(folder: Path, ports: Iterable[int]) -> None:
    """Kill it, and leave nothing behind: its sockets lie where no option of its own can move them."""
    kill(folder)
    shutil.rmtree(folder, ignore_errors=True)
    for port in ports:
        for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def own_service() -> Iterator[Service]:
    """A service for one test alone, to be stopped and killed."""
    folder = Path(tempfile.mkdtemp(prefix="webhook-app-s3-"))
    ports = _free_ports([*PORTS, *GRPC_PORTS])
    try:
        yield start(folder, ports)
    finally:
        _remove(folder, ports.values())


@contextlib.contextmanager
def shared_service(shared: Path) -> Iterator[Service]:
    """The service for one worker of a test run: the first that asks starts it, the last one stops it."""
    note = shared / "s3.json"
    with locked(shared / "s3.lock"):
        known = json.loads(note.read_text()) if note.exists() else _first()
        known["users"] += 1
        note.write_text(json.dumps(known))
    service = Service(**known["service"])
    try:
        yield service
    finally:
        with locked(shared / "s3.lock"):
            known = json.loads(note.read_text())
            known["users"] -= 1
            note.write_text(json.dumps(known))
            if known["users"] == 0:
                _remove(Path(service.folder), service.ports.values())
                note.unlink()


def _first() -> dict[str, Any]:
    folder, ports = Path(tempfile.mkdtemp(prefix="webhook-app-s3-")), _free_ports([*PORTS, *GRPC_PORTS])
    try:
        return {"service": asdict(start(folder, ports)), "users": 0}
    except BaseException:
        _remove(folder, ports.values())
        raise
