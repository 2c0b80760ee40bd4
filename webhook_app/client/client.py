"""A server's jobs: submitted, looked at, waited for, listed, decided upon, stopped and erased."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

from webhook_app.client.awaiting import wait_for
from webhook_app.client.calls import Calls, retry_after_s
from webhook_app.client.following import events, stream
from webhook_app.client.shapes import (
    Batch,
    Decision,
    Erasing,
    Erasure,
    Event,
    Explanation,
    Job,
    NewBatch,
    Seed,
    Until,
    Waited,
)
from webhook_app.client.webhooks import Webhooks

TERMINAL = frozenset({"succeeded", "failed", "canceled", "timed_out"})
LONGEST_WAIT_S = 60.0
LOOK_AGAIN_AFTER_S = 1.0
Found = TypeVar("Found")


def is_over(job: Job, until: Until = "terminal") -> bool:
    """Whether the job has ended; `archived`: and nothing of it is left to be copied either."""
    return job["status"] in TERMINAL and (until == "terminal" or job["archive_status"] != "pending")


def is_complete(batch: Batch, until: Until = "terminal") -> bool:
    """Whether all jobs of the batch have ended; `archived`: and nothing of them is left to be copied either."""
    return batch["completed_at"] is not None and (until == "terminal" or batch["archiving"] == 0)


class Client(Webhooks):
    """One server, with one API key. Every method raises `ApiError`. Not for several threads at once."""

    def __init__(self, url: str, api_key: str) -> None:
        self._calls = Calls(url, api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's."""
        return self._calls.url

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
        return _waited(lambda wait_s: self._get(track_id, wait_s, until), lambda job: is_over(job, until), timeout_s)

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
        return self._calls.pages("/v1/jobs", dict(_parameters(filters)))

    def rerun(
        self,
        track_id: str,
        *,
        seed: Seed = "same",
        input: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """The job again, as a new one with `parent_track_id`; members of `input` replace its own. With an
        `idempotency_key` the call may be repeated."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        asked = {"seed": seed, "input": dict(input or {})}
        job: Job
        job, _ = self._calls.json("POST", f"{_path(track_id)}/rerun", body=asked, headers=headers)
        return job

    def explain(self, track_id: str) -> Explanation:
        """Why a job stands where it stands, what comes next and when, and what happened so far."""
        explanation: Explanation
        explanation, _ = self._calls.json("GET", f"{_path(track_id)}/explain")
        return explanation

    def submit_batch(self, jobs: Iterable[Mapping[str, Any]], *, idempotency_key: str | None = None) -> NewBatch:
        """Up to 1,000 new jobs, all or none: each a mapping with `input` and whatever else a job may say. With an
        `idempotency_key` the call may be repeated."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        batch: NewBatch
        batch, _ = self._calls.json("POST", "/v1/batches", body={"jobs": [dict(job) for job in jobs]}, headers=headers)
        return batch

    def batch(self, batch_id: str, *, wait_s: float = 0, until: Until = "terminal") -> Batch:
        """How far a batch is now, or as soon as it is complete, or when the wait ends."""
        return self._get_batch(batch_id, wait_s, until)[0]

    def batches(self, *, limit: int = 50) -> Iterator[Batch]:
        """All batches, page after page of `limit`, newest first."""
        return self._calls.pages("/v1/batches", {"limit": limit})

    def wait_for_batch(self, batch_id: str, *, until: Until = "terminal", timeout_s: float | None = None) -> Batch:
        """The batch once it is complete, however long that takes; or as it is after `timeout_s`: ask `is_complete`."""
        look = partial(self._get_batch, batch_id, until=until)
        return _waited(look, lambda batch: is_complete(batch, until), timeout_s)

    def cancel_batch(self, batch_id: str) -> Batch:
        """Stop waiting for all jobs of a batch that have not ended; may be repeated."""
        batch: Batch
        batch, _ = self._calls.json("POST", f"{_batch_path(batch_id)}/cancel")
        return batch

    def export(self, *, format: Literal["jsonl", "csv"] = "jsonl", **filters: Any) -> Iterator[bytes]:
        """All jobs that these filters leave, as a file in pieces. It is whole only when no `ApiError` ends it."""
        return self._calls.pieces("/v1/export", params={"format": format, **dict(_parameters(filters))})

    def events(
        self, *, after: int | str = 0, types: Iterable[str] = (), track_id: str | None = None
    ) -> Iterator[Event]:
        """What happened behind this `seq`, to the end of the log; `now` is its end. Keep the `seq` of the last one."""
        return events(self._calls, after=after, types=types, track_id=track_id)

    def stream(
        self, *, after: int | str = "now", types: Iterable[str] = (), track_id: str | None = None
    ) -> Iterator[Event]:
        """What happens behind this `seq`, as it happens, without an end and without a gap: a connection that is lost is
        made again."""
        return stream(self._calls, after=after, types=types, track_id=track_id)

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
        return self._look(_path(track_id), wait_s, until)

    def _get_batch(self, batch_id: str, wait_s: float, until: Until) -> tuple[Batch, float]:
        return self._look(_batch_path(batch_id), wait_s, until)

    def _look(self, path: str, wait_s: float, until: Until) -> tuple[Any, float]:
        """What is there, and after how many seconds to ask again."""
        params: dict[str, Any] = {"wait": int(wait_s), "until": until} if wait_s >= 1 else {}
        found, answer = self._calls.json("GET", path, params=params, wait_s=wait_s)
        return found, max(float(retry_after_s(answer) or 0), LOOK_AGAIN_AFTER_S)


def _waited(
    look: Callable[[float], tuple[Found, float]], over: Callable[[Found], bool], timeout_s: float | None
) -> Found:
    """What `look(wait_s)` finds once that is `over`, or when the time is."""
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        began_at = time.monotonic()
        left_s = LONGEST_WAIT_S if ends_at is None else max(ends_at - began_at, 0.0)
        found, again_after_s = look(min(left_s, LONGEST_WAIT_S))
        now = time.monotonic()
        if over(found) or (ends_at is not None and now >= ends_at):
            return found
        # A server may not let us wait as long as we asked, or not at all when too many do.
        pause_s = max(began_at + again_after_s - now, 0.0)
        time.sleep(pause_s if ends_at is None else min(pause_s, ends_at - now))


def _batch_path(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"


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
