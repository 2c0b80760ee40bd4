"""Waiting for many jobs: asked again and again, as a server lets nobody wait for longer than it likes."""

import time
from collections.abc import Sequence
from typing import Any

from webhook_app.client.calls import ApiError, Calls
from webhook_app.client.shapes import Mode, Until, Waited

LONGEST_WAIT_S = 60.0
LOOK_AGAIN_AFTER_S = 1.0
TOO_MANY_WAITERS = "too_many_waiters"


def wait_for(calls: Calls, track_ids: Sequence[str], *, mode: Mode, until: Until, timeout_s: float | None) -> Waited:
    """What became of them once one (`any`) or each (`all`) is over, or after `timeout_s`; None is however long that
    takes. Raises `ApiError`."""
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    found: Waited = {"done": [], "pending": list(dict.fromkeys(track_ids)), "unknown": []}
    while found["pending"]:
        began_at = time.monotonic()
        left_s = LONGEST_WAIT_S if ends_at is None else max(ends_at - began_at, 0.0)
        told, again_after_s = _ask(calls, found["pending"], mode, until, min(left_s, LONGEST_WAIT_S))
        if told is not None:
            done, unknown = found["done"] + told["done"], found["unknown"] + told["unknown"]
            found = {"done": done, "pending": told["pending"], "unknown": unknown}
        now = time.monotonic()
        over = not found["pending"] or (mode == "any" and found["done"]) or (ends_at is not None and now >= ends_at)
        if over and told is not None:
            break
        pause_s = max(began_at + again_after_s - now, 0.0)
        time.sleep(pause_s if ends_at is None else min(pause_s, max(ends_at - now, 0.0)))
    place = {track_id: number for number, track_id in enumerate(track_ids)}
    found["done"].sort(key=lambda job: place[job["track_id"]])
    return found


def _ask(
    calls: Calls, track_ids: Sequence[str], mode: Mode, until: Until, wait_s: float
) -> tuple[Waited | None, float]:
    """The answer, None when too many wait already, and after how many seconds from the question to ask again. Without
    a second to wait it is a look, for which there is always a place."""
    body: dict[str, Any] = {"track_ids": list(track_ids), "mode": mode, "until": until, "wait_s": int(wait_s)}
    try:
        told, _ = calls.json("POST", "/v1/jobs/wait", body=body, wait_s=wait_s)
    except ApiError as error:
        if error.code != TOO_MANY_WAITERS:
            raise
        return None, float(error.retry_after_s or LOOK_AGAIN_AFTER_S)
    return told, LOOK_AGAIN_AFTER_S
