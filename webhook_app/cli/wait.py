"""`wait`: for one job's end, or for any or all of many, on a server, from anywhere."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.output import emit, output_option, say
from webhook_app.cli.remote import talks_to_a_server

if TYPE_CHECKING:
    from webhook_app.client import Client, Job, Until, Waited

ENDED_BADLY = {"failed": Exit.JOB_FAILED, "timed_out": Exit.TIMED_OUT, "canceled": Exit.CONFLICT}
Command = Callable[..., None]


def timeout_option(command: Command) -> Command:
    """How long a wait may take."""
    option = click.option("--timeout", type=click.FloatRange(0), help="Seconds; then exit 8. [default: none]")
    return option(command)


@click.command()
@click.argument("track_ids", metavar="TRACK_ID...", nargs=-1, required=True)
@click.option("--any", "first", is_flag=True, help="Of several, wait for the first that is over. [default: for all]")
@click.option("--until", type=click.Choice(["terminal", "archived"]), default="terminal", show_default=True)
@timeout_option
@output_option
@talks_to_a_server
def wait(
    client: "Client", track_ids: tuple[str, ...], first: bool, until: "Until", timeout: float | None, output: str
) -> None:
    """Wait for the end of jobs, up to 1,000. Prints the URLs of their pictures; for several, each after its track_id.

    Ends with 3 when one is unknown, 5 when it was canceled, 6 when it failed, 7 when it timed out, and 8 when the wait
    is over before it. Of several, the first that did not end well decides.
    """
    if len(track_ids) == 1:
        wait_for_one(client, track_ids[0], until, timeout, output)
        return
    ask = client.wait_any if first else client.wait_all
    waited = ask(track_ids, until=until, timeout_s=timeout)
    emit(output, waited, "\n".join(f"{job['track_id']} {url}" for job in waited["done"] for url in _urls(job)))
    faults = list(_faults(waited, until, first=first))
    for _, line in faults[1:]:
        say(line)
    if faults:
        raise Stop(*faults[0])


def _faults(waited: "Waited", until: "Until", *, first: bool) -> Iterator[tuple[Exit, str]]:
    """All that went otherwise than well, with its exit code; the first one's is the command's."""
    yield from ((Exit.NOT_FOUND, f"{track_id} is unknown or erased") for track_id in waited["unknown"])
    yield from (fault for job in waited["done"] if (fault := _fault(job, until)) is not None)
    if waited["pending"] and not (first and waited["done"]):
        yield Exit.WAIT_ELAPSED, f"{len(waited['pending'])} are not over yet"


def wait_for_one(client: "Client", track_id: str, until: "Until", timeout: float | None, output: str) -> None:
    """Until it is over. Prints the URLs of its pictures; raises `Stop` for every other end than a success."""
    from webhook_app.client import is_over

    job = client.wait(track_id, until=until, timeout_s=timeout)
    emit(output, job, "\n".join(_urls(job)))
    if not is_over(job, until):
        raise Stop(Exit.WAIT_ELAPSED, f"{track_id} is {job['status']}, its archive {job['archive_status']}")
    fault = _fault(job, until)
    if fault is not None:
        raise Stop(*fault)


def _urls(job: "Job") -> list[str]:
    return [image["url"] for image in job["images"]] if job["status"] == "succeeded" else []


def _fault(job: "Job", until: "Until") -> tuple[Exit, str] | None:
    """What is wrong with the end of a job that is over; None for nothing."""
    track_id, error = job["track_id"], job["error"]
    if job["status"] in ENDED_BADLY:
        why = "" if error is None else f": {error['message']} ({error['provider_message'] or error['code']})"
        return ENDED_BADLY[job["status"]], f"{track_id} is {job['status']}{why}"
    if until == "archived" and job["archive_status"] not in ("archived", "none"):
        return Exit.FAILED, f"{track_id} succeeded, but its archive is {job['archive_status']}"
    return None
