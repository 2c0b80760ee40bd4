"""`submit` and `jobs`: jobs on a server, from anywhere."""

from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from webhook_app.cli.output import emit, output_option, say, table
from webhook_app.cli.remote import talks_to_a_server
from webhook_app.cli.wait import timeout_option, wait_for_one
from webhook_app.domain.job import Decision, Status

if TYPE_CHECKING:
    from webhook_app.client import Client, Job

PAGE = 200
PROMPT_SHOWN = 40
HEAD = ("track_id", "status", "archive", "created", "reference", "prompt")
FACTS = ("track_id", "status", "archive_status", "waiting_for", "reference", "seed", "attempt", "created_at")


@click.command()
@click.argument("prompt")
@click.option("--width", type=int)
@click.option("--height", type=int)
@click.option("--samples", type=int, help="How many pictures.")
@click.option("--seed", type=int, help="[default: drawn]")
@click.option("--reference", help="Your own name for the job.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the end, and print the pictures' URLs instead.")
@timeout_option
@output_option
@talks_to_a_server
def submit(
    client: "Client", prompt: str, reference: str | None, waits: bool, timeout: float | None, output: str, **more: Any
) -> None:
    """Ask for pictures. Prints the job's track_id."""
    given = {name: value for name, value in more.items() if value is not None}
    members = {} if reference is None else {"reference": reference}
    job = client.submit({"prompt": prompt} | given, **members)
    if waits:
        say(f"submitted {job['track_id']}")
        wait_for_one(client, job["track_id"], "terminal", timeout, output)
    else:
        emit(output, job, job["track_id"])


@click.group()
def jobs() -> None:
    """List, export, show, explain, rerun, resolve, cancel and erase jobs."""


@jobs.command("list")
@click.option("--status", multiple=True, type=click.Choice([status.value for status in Status]), help="Repeatable.")
@click.option("--tag", multiple=True, help="Repeatable.")
@click.option("--reference")
@click.option("--batch-id")
@click.option("--unconfirmed", is_flag=True, help="Only those whose submit nobody confirmed yet.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@output_option
@talks_to_a_server
def list_jobs(client: "Client", limit: int, unconfirmed: bool, output: str, **filters: Any) -> None:
    """List jobs, newest first."""
    found = client.jobs(**filters, unconfirmed=unconfirmed or None, limit=min(limit, PAGE))
    shown = list(islice(found, limit))
    emit(output, {"data": shown}, table(HEAD, [_line(job) for job in shown]))


def _line(job: "Job") -> list[str]:
    prompt = str(job["input"].get("prompt", ""))
    short = prompt if len(prompt) <= PROMPT_SHOWN else prompt[:PROMPT_SHOWN] + "…"
    created = job["created_at"].partition(".")[0].removesuffix("Z") + "Z"
    return [job["track_id"], job["status"], job["archive_status"], created, job["reference"] or "", short]


@jobs.command()
@click.argument("file", type=click.File("wb", atomic=True), default="-")
@click.option("--format", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--status", multiple=True, type=click.Choice([status.value for status in Status]), help="Repeatable.")
@click.option("--tag", multiple=True, help="Repeatable.")
@click.option("--reference")
@click.option("--batch-id")
@click.option("--created-after", help="RFC 3339, inclusive.")
@click.option("--created-before", help="RFC 3339, exclusive.")
@talks_to_a_server
def export(client: "Client", file: BinaryIO, format: Any, **filters: Any) -> None:
    """Write all jobs that the filters leave into FILE (default: stdout), as JSON Lines or CSV.

    A file is there when it is whole: one that is cut off leaves none.
    """
    for piece in client.export(format=format, **filters):
        file.write(piece)


@jobs.command()
@click.argument("track_id")
@output_option
@talks_to_a_server
def get(client: "Client", track_id: str, output: str) -> None:
    """Show one job."""
    _emit_job(client.get(track_id), output)


@jobs.command()
@click.argument("track_id")
@click.argument("decision", type=click.Choice([decision.value for decision in Decision]))
@output_option
@talks_to_a_server
def resolve(client: "Client", track_id: str, decision: Any, output: str) -> None:
    """Decide about a job whose submit nobody confirmed: send it again, or let it fail."""
    _emit_job(client.resolve(track_id, decision), output)


class _Seed(click.ParamType[Any]):
    name = "same|new|NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("same", "new"):
            return value
        return click.INT.convert(value, param, ctx)


@jobs.command()
@click.argument("track_id")
@click.option("--seed", type=_Seed(), default="same", show_default=True, help="The seed that was used, or another.")
@click.option("--prompt", help="Another prompt.")
@click.option("--width", type=int)
@click.option("--height", type=int)
@click.option("--samples", type=int, help="How many pictures.")
@output_option
@talks_to_a_server
def rerun(client: "Client", track_id: str, seed: Any, output: str, **overrides: Any) -> None:
    """Run a job again, as a new one; what is not given stays as it was. Prints the new job's track_id."""
    given = {name: value for name, value in overrides.items() if value is not None}
    job = client.rerun(track_id, seed=seed, input=given)
    emit(output, job, job["track_id"])


@jobs.command()
@click.argument("track_id")
@output_option
@talks_to_a_server
def explain(client: "Client", track_id: str, output: str) -> None:
    """Say why a job stands where it stands, what comes next and when, and what happened so far."""
    found = client.explain(track_id)
    when = f" At {found['next_at']}." if found["next_at"] else ""
    lines = [f"{track_id} is {found['status']}.", found["verdict"], f"Next: {found['next_step']}{when}", ""]
    emit(output, found, "\n".join(lines + [f"{step['at']}  {step['what']}" for step in found["timeline"]]))


@jobs.command()
@click.argument("track_id")
@output_option
@talks_to_a_server
def cancel(client: "Client", track_id: str, output: str) -> None:
    """Stop waiting for a job. Ends with 5 when it has ended otherwise."""
    _emit_job(client.cancel(track_id), output)


@jobs.command()
@click.argument("track_id")
@output_option
@talks_to_a_server
def erase(client: "Client", track_id: str, output: str) -> None:
    """Erase a job with all that it holds, for good. Prints the erasure's id and how far it is."""
    erasure = client.erase(track_id)
    emit(output, erasure, f"{erasure['erasure_id']} {erasure['status']}")


def _emit_job(job: "Job", output: str) -> None:
    facts = {name: job[name] for name in FACTS}  # type: ignore[literal-required] # members of every job
    error = job["error"]
    if error is not None:
        facts["error"] = f"{error['code']}: {error['message']}"
    lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
    emit(output, job, "\n".join(lines + [f"image {image['index']}: {image['url']}" for image in job["images"]]))
