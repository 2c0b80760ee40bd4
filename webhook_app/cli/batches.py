"""`batches`: many jobs at once on a server, from anywhere."""

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.output import emit, output_option, say, table
from webhook_app.cli.remote import talks_to_a_server
from webhook_app.cli.wait import timeout_option

if TYPE_CHECKING:
    from webhook_app.client import Batch, Client, Until

PAGE = 200
HEAD = ("batch_id", "jobs", "ended", "succeeded", "archiving", "created", "completed")
ENDS = ("succeeded", "failed", "canceled", "timed_out")
# The worst that happened to one of the jobs.
ENDED_BADLY = {"failed": Exit.JOB_FAILED, "timed_out": Exit.TIMED_OUT, "canceled": Exit.CONFLICT}
until_option = click.option(
    "--until", type=click.Choice(["terminal", "archived"]), default="terminal", show_default=True
)


@click.group()
def batches() -> None:
    """Submit, show, wait for and cancel batches."""


@batches.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--idempotency-key", help="The same file again with the same key makes no second batch.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the end of all jobs.")
@until_option
@timeout_option
@output_option
@talks_to_a_server
def submit(
    client: "Client",
    file: TextIO,
    idempotency_key: str | None,
    waits: bool,
    until: "Until",
    timeout: float | None,
    output: str,
) -> None:
    """Submit the jobs in FILE (- is stdin): one JSON object a line, or as `{"jobs": […]}`. Prints the batch's id."""
    batch = client.submit_batch(jobs_of(file.read()), idempotency_key=idempotency_key)
    if waits:
        say(f"submitted {batch['batch_id']} with {len(batch['track_ids'])} jobs")
        _wait(client, batch["batch_id"], until, timeout, output)
    else:
        emit(output, batch, batch["batch_id"])


def jobs_of(text: str) -> list[Any]:
    """The jobs that a file holds, in whichever form."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        whole = None
    if isinstance(whole, list):
        return whole
    if isinstance(whole, dict) and isinstance(whole.get("jobs"), list):
        return list(whole["jobs"])
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    return [whole] if isinstance(whole, dict) else [_job_of(number, line) for number, line in lines]


def _job_of(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise click.UsageError(f"line {number} is not JSON: {error.msg}") from error


@batches.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@output_option
@talks_to_a_server
def list_batches(client: "Client", limit: int, output: str) -> None:
    """List batches, newest first."""
    shown = list(islice(client.batches(limit=min(limit, PAGE)), limit))
    emit(output, {"data": shown}, table(HEAD, [_line(batch) for batch in shown]))


def _line(batch: "Batch") -> list[str]:
    counts = batch["counts"]
    ended = sum(counts[status] for status in ENDS)
    numbers = [str(number) for number in (batch["jobs"], ended, counts["succeeded"], batch["archiving"])]
    return [batch["batch_id"], *numbers, _second(batch["created_at"]), _second(batch["completed_at"] or "")]


def _second(instant: str) -> str:
    return instant and instant.partition(".")[0].removesuffix("Z") + "Z"


@batches.command()
@click.argument("batch_id")
@output_option
@talks_to_a_server
def get(client: "Client", batch_id: str, output: str) -> None:
    """Show how far a batch is."""
    _emit(client.batch(batch_id), output)


@batches.command()
@click.argument("batch_id")
@until_option
@timeout_option
@output_option
@talks_to_a_server
def wait(client: "Client", batch_id: str, until: "Until", timeout: float | None, output: str) -> None:
    """Wait until all jobs of a batch have ended.

    Ends with 6 when one of them failed, else 7 when one timed out, 5 when one was canceled, and with 8 when the wait
    is over before.
    """
    _wait(client, batch_id, until, timeout, output)


@batches.command()
@click.argument("batch_id")
@output_option
@talks_to_a_server
def cancel(client: "Client", batch_id: str, output: str) -> None:
    """Stop waiting for the jobs of a batch that have not ended."""
    _emit(client.cancel_batch(batch_id), output)


def _wait(client: "Client", batch_id: str, until: "Until", timeout: float | None, output: str) -> None:
    from webhook_app.client import is_complete

    batch = client.wait_for_batch(batch_id, until=until, timeout_s=timeout)
    _emit(batch, output)
    if not is_complete(batch, until):
        ended = sum(batch["counts"][status] for status in ENDS)
        archiving = f", {batch['archiving']} are being copied" if until == "archived" else ""
        raise Stop(Exit.WAIT_ELAPSED, f"{ended} of {batch['jobs']} jobs have ended{archiving}")
    for status, code in ENDED_BADLY.items():
        if batch["counts"][status]:
            raise Stop(code, f"{batch['counts'][status]} of {batch['jobs']} jobs are {status}")


def _emit(batch: "Batch", output: str) -> None:
    counts = [f"{status}: {count}" for status, count in batch["counts"].items() if count]
    facts = [f"batch_id: {batch['batch_id']}", f"jobs: {batch['jobs']}", *counts]
    facts += [f"archiving: {batch['archiving']}"] if batch["archiving"] else []
    facts += [f"created_at: {batch['created_at']}"]
    facts += [f"completed_at: {batch['completed_at']}"] if batch["completed_at"] else []
    emit(output, batch, "\n".join(facts))
