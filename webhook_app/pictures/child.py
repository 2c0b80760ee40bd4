"""The decoding child: a line of JSON in, a line of JSON out, until its input ends (also by its parent's death)."""

import json
import os
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from webhook_app.domain.errors import NotAPicture
from webhook_app.pictures.decode import decode
from webhook_app.pictures.port import NO_DISK

READY = b'{"ready": true}\n'


def main(memory_mb: int, cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    # Answers have their own descriptor: nothing that a library prints may be taken for one.
    answers = os.dup(1)
    os.dup2(2, 1)
    _write(answers, READY)
    for line in sys.stdin.buffer:
        _allow_cpu(cpu_s)
        _write(answers, json.dumps(answer(json.loads(line))).encode() + b"\n")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The facts, or the refusal, as JSON."""
    try:
        facts = decode(Path(request["path"]), request["max_pixels"])
    except NotAPicture as refused:
        return {"refused": refused.reason, "retryable": refused.retryable}
    except MemoryError:
        return {"refused": "bomb", "retryable": False}
    except OSError:
        # A full disk, as thumbnails show it; what a decoder raises is a `NotAPicture` by now. Dying of it would look
        # like the picture's fault.
        return {"refused": NO_DISK, "retryable": True}
    return asdict(facts)


def _allow_cpu(cpu_s: int) -> None:
    """A new allowance for this picture; the limit counts from the process's start."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + cpu_s, hard))


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
