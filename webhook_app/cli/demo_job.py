"""The demo's job, seen from outside: submitted over HTTP, followed through its events, its picture saved."""

import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from rich.console import Console

from webhook_app.cli.exits import Exit
from webhook_app.domain.media import extension_of

LOOK_EVERY_S = 0.1
TIMEOUT_S = 10
CALLBACK_WITHIN_S = 3.0
PROMPT = "ultra realistic close up portrait ((beautiful pale cyberpunk female with heavy black eyeliner))"
SHOWN = {
    "job.queued": "queued",
    "job.submitted": "submitted",
    "callback.received": "callback",
    "job.succeeded": "succeeded",
    "job.archived": "archived",
}
ENDED_BADLY = frozenset({"failed", "canceled", "timed_out"})
ARCHIVE_ENDED_BADLY = frozenset({"lost", "partial", "erased"})


class DemoFailed(Exception):
    """The demo ends without its picture, with this exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


def example(prompt: str | None) -> dict[str, Any]:
    """The example of the provider's page, strings for numbers and all; with another prompt when one is given."""
    return {
        "input": {
            "prompt": prompt or PROMPT,
            "negative_prompt": "bad quality",
            "width": "512",
            "height": "512",
            "safety_checker": False,
            "seed": None,
            "samples": "1",
            "base64": False,
        }
    }


class Following:
    """A client of the demo's server. Raises `DemoFailed` when the deadline (monotonic seconds) passes, or on `stop`."""

    def __init__(self, base: str, key: str, *, started_at: datetime, deadline: float, stop: threading.Event) -> None:
        self._base, self._started_at, self._deadline, self._stop = base, started_at, deadline, stop
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {key}"
        self._console = Console(stderr=True, highlight=False)
        self._told: set[str] = set()
        self._called_back = False
        self._archived_at: float | None = None

    def to_the_picture(self, body: dict[str, Any], *, folder: Path) -> dict[str, str]:
        """Submit, show what happens, save the picture. Returns `picture`, `status`, `page` and `track_id`."""
        with self._console.status("starting"):
            self._wait_until_ready()
        with self._console.status("making the picture"):
            try:
                job = self._follow(self._submit(body))
                path = self._save(job["images"][0], folder, f"{job['track_id']}-0")
            except requests.RequestException as error:
                raise DemoFailed(Exit.FAILED, f"the server did not answer ({type(error).__name__})") from error
        self._session.close()
        return {
            "picture": str(path),
            "status": job["urls"]["get"],
            "page": f"{self._base}/",
            "track_id": job["track_id"],
        }

    def _wait_until_ready(self) -> None:
        while True:
            try:
                if self._session.get(f"{self._base}/readyz", timeout=TIMEOUT_S).ok:
                    return
            except requests.RequestException:
                pass  # Not listening yet.
            self._pause("the server did not start")

    def _submit(self, body: dict[str, Any]) -> str:
        answer = self._session.post(f"{self._base}/v1/jobs", json=body, timeout=TIMEOUT_S)
        if answer.status_code not in {201, 202}:
            detail = answer.json().get("detail", "") if "json" in answer.headers.get("Content-Type", "") else ""
            raise DemoFailed(Exit.FAILED, f"the job was not taken: {answer.status_code} {detail}")
        return str(answer.json()["track_id"])

    def _follow(self, track_id: str) -> dict[str, Any]:
        while True:
            try:
                job: dict[str, Any] = self._get(f"{self._base}/v1/jobs/{track_id}")
                self._show(self._get(f"{self._base}/v1/jobs/{track_id}/events")["data"])
            except requests.RequestException:
                self._pause("the server does not answer")  # It may be starting again.
                continue
            if job["archive_status"] == "archived" and self._heard_or_waited():
                return job
            if job["status"] in ENDED_BADLY or job["archive_status"] in ARCHIVE_ENDED_BADLY:
                reason = (job["error"] or {}).get("message") or f"the picture is {job['archive_status']}"
                raise DemoFailed(Exit.JOB_FAILED, f"{job['status']}: {reason}")
            self._pause("the picture was not there in time")

    def _heard_or_waited(self) -> bool:
        """On a busy machine a poll may be first; the callback is worth a moment more."""
        self._archived_at = self._archived_at or time.monotonic()
        return self._called_back or time.monotonic() > self._archived_at + CALLBACK_WITHIN_S

    def _show(self, events: list[dict[str, Any]]) -> None:
        """A line for each new event. A callback and what it did are one commit: the cause is shown first."""
        for event in sorted(events, key=lambda event: (event["created_at"], event["type"] != "callback.received")):
            if event["event_id"] not in self._told:
                self._told.add(event["event_id"])
                self._called_back = self._called_back or event["type"] == "callback.received"
                after_s = (datetime.fromisoformat(event["created_at"]) - self._started_at).total_seconds()
                self._console.print(f"{after_s:7.2f} s  {SHOWN.get(event['type'], event['type'])}", markup=False)

    def _save(self, image: dict[str, Any], folder: Path, name: str) -> Path:
        """The archived picture, as the server gives it out, in a file of its own."""
        answer = self._session.get(image["url"], timeout=TIMEOUT_S)
        answer.raise_for_status()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.{extension_of(image['content_type'])}"
        half = path.with_name(f".{path.name}")
        half.write_bytes(answer.content)
        return half.replace(path)

    def _get(self, url: str) -> Any:
        answer = self._session.get(url, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()

    def _pause(self, otherwise: str) -> None:
        if time.monotonic() > self._deadline:
            raise DemoFailed(Exit.TIMED_OUT, otherwise)
        if self._stop.wait(LOOK_EVERY_S):
            raise DemoFailed(Exit.FAILED, "stopped")
