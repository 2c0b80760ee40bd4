"""A server's jobs: submitted, looked at, waited for, listed, decided upon, stopped and erased."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from webhook_app.client.awaiting import wait_for
from webhook_app.client.calls import Calls, retry_after_s
from webhook_app.client.shapes import Decision, Erasing, Erasure, Job, Until, Waited

TERMINAL = frozenset({"succeeded", "failed", "canceled", "timed_out"})
LONGEST_WAIT_S = 60.0
LOOK_AGAIN_AFTER_S = 1.0


def is_over(job: Job, until: Until = "terminal") -> bool:
    """Whether the job has ended; `archived`: and nothing of it is left to be copied either."""
    return job["status"] in TERMINAL and (until == "terminal" or job["archive_status"] != "pending")


class Client:
    """One server, with one API key. Every method raises `ApiError`. Not for several threads at once."""

    def __init__(self, url: str, api_key: str) -> None:
        self._calls = Calls(url, api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def submit(self, input: Mapping[str, Any], *, idempotency_key: str | None = None, **members: Any) -> Job:
        """A new job with this `input` and these members beside it (`reference`, `tags`, …). With an `idempotency_key`
        the call may be repeated: it is the same job, paid for once."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        job: Job
        job, _ = self._calls.json("POST", "/v1/jobs", body={"input": dict(input)} | members, headers=headers)
        return job

    def get(self, track_id: str, *, wait_s: float = 0, until: Until = "terminal") -> Job:
        """The job as it is, or as soon as it is over, or when the wait ends, which the server may cut short."""
        return self._get(track_id, wait_s, until)[0]

    def wait(self, track_id: str, *, until: Until = "terminal", timeout_s: float | None = None) -> Job:
        """The job once it is over, however long that takes; or as it is after `timeout_s`: ask `is_over`."""
        ends_at = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            began_at = time.monotonic()
            left_s = LONGEST_WAIT_S if ends_at is None else max(ends_at - began_at, 0.0)
            job, again_after_s = self._get(track_id, min(left_s, LONGEST_WAIT_S), until)
            now = time.monotonic()
            if is_over(job, until) or (ends_at is not None and now >= ends_at):
                return job
            # A server may not let us wait as long as we asked, or not at all when too many do.
            pause_s = max(began_at + again_after_s - now, 0.0)
            time.sleep(pause_s if ends_at is None else min(pause_s, ends_at - now))

    def wait_any(
        self, track_ids: Sequence[str], *, until: Until = "terminal", timeout_s: float | None = None
    ) -> Waited:
        """Up to 1,000 jobs, once one of them at least is over (or none is left to wait for), or after `timeout_s`."""
        return wait_for(self._calls, track_ids, mode="any", until=until, timeout_s=timeout_s)

    def wait_all(
        self, track_ids: Sequence[str], *, until: Until = "terminal", timeout_s: float | None = None
    ) -> Waited:
        """Up to 1,000 jobs, once all of them are over, or after `timeout_s`: then some are `pending`."""
        return wait_for(self._calls, track_ids, mode="all", until=until, timeout_s=timeout_s)

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """All jobs that these filters leave, page after page, newest first. A list means any of its words; `limit` is
        the size of a page, `metadata` a mapping."""
        asked = dict(_parameters(filters))
        while True:
            page, _ = self._calls.json("GET", "/v1/jobs", params=asked)
            yield from page["data"]
            if not page["has_more"]:
                return
            asked["cursor"] = page["next_cursor"]

    def resolve(self, track_id: str, decision: Decision) -> Job:
        """Decide about a job whose submit nobody confirmed: send it again, or let it fail. For admins."""
        job: Job
        job, _ = self._calls.json("POST", f"{_path(track_id)}/resolve", body={"decision": decision})
        return job

    def cancel(self, track_id: str) -> Job:
        """Stop waiting for a job; may be repeated."""
        job: Job
        job, _ = self._calls.json("POST", f"{_path(track_id)}/cancel")
        return job

    def erase(self, track_id: str) -> Erasure:
        """Erase a job for good, which is canceled first if it has not ended; again: the same erasure as it is then."""
        erasure: Erasure
        erasure, _ = self._calls.json("DELETE", _path(track_id))
        return erasure

    def erase_many(self, *, dry_run: bool = False, **conditions: Any) -> Erasing:
        """Erase all jobs for which these hold: `reference`, `tag`, `metadata`, `created_before`; for admins `client_id`
        too. With `dry_run` they are counted only."""
        said = {name: _text(value) if isinstance(value, datetime) else value for name, value in conditions.items()}
        erasing: Erasing
        erasing, _ = self._calls.json("POST", "/v1/erasures", body={"filter": said, "dry_run": dry_run})
        return erasing

    def erasure(self, erasure_id: str) -> Erasure:
        """How far an erasure is."""
        erasure: Erasure
        erasure, _ = self._calls.json("GET", f"/v1/erasures/{quote(erasure_id, safe='')}")
        return erasure

    def _get(self, track_id: str, wait_s: float, until: Until) -> tuple[Job, float]:
        """The job, and after how many seconds to ask again."""
        params: dict[str, Any] = {"wait": int(wait_s), "until": until} if wait_s >= 1 else {}
        job, answer = self._calls.json("GET", _path(track_id), params=params, wait_s=wait_s)
        return job, max(float(retry_after_s(answer) or 0), LOOK_AGAIN_AFTER_S)


def _path(track_id: str) -> str:
    return f"/v1/jobs/{quote(track_id, safe='')}"


def _parameters(filters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in filters.items():
        if name == "metadata":
            yield from ((f"metadata.{key}", _text(member)) for key, member in value.items())
        elif value is not None:
            yield name, [_text(each) for each in value] if isinstance(value, (list, tuple)) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)
