"""`events` and `listen`: what happens on a server, from anywhere."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from webhook_app.cli.output import output_option, say
from webhook_app.cli.remote import talks_to_a_server
from webhook_app.domain.events import EventType

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhook_app.client import Client, Event

FORWARD_TIMEOUT_S = 15.0
TYPES = [kind.value for kind in EventType]
Command = Any


def _place(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value != "now" and not value.isdecimal():
        raise click.BadParameter("is neither a seq nor now")
    return value


def filters(command: "Callable[..., None]") -> "Callable[..., None]":
    """What of the log is wanted."""
    command = click.option("--type", "types", multiple=True, type=click.Choice(TYPES), help="Repeatable.")(command)
    return click.option("--track-id", help="One job's events.")(command)


@click.command()
@click.option("--after", callback=_place, default="0", show_default=True, help="A seq, or now for the end.")
@click.option("--follow", "-f", is_flag=True, help="Go on as events come, until Ctrl-C.")
@filters
@output_option
@talks_to_a_server
def events(
    client: "Client", after: str, follow: bool, types: tuple[str, ...], track_id: str | None, output: str
) -> None:
    """Print events in the order of the log, a line each; with --output json a JSON object in each line."""
    read = client.stream if follow else client.events
    _print(read(after=after, types=types, track_id=track_id), output)


def _print(found: "Iterable[Event]", output: str) -> None:
    try:
        for event in found:
            click.echo(json.dumps(event, ensure_ascii=False) if output == "json" else _line(event))
    except KeyboardInterrupt:
        return


def _line(event: "Event") -> str:
    data = json.dumps(event["data"], ensure_ascii=False)
    return f"{event['seq']} {event['created_at']} {event['type']} {event['track_id'] or '-'} {data}"


@click.command()
@click.option("--forward", metavar="URL", help="POST each event there, in the form of our webhooks.")
@filters
@output_option
@talks_to_a_server
def listen(client: "Client", forward: str | None, types: tuple[str, ...], track_id: str | None, output: str) -> None:
    """Print events as they come, from now on, until Ctrl-C.

    With --forward a program on this machine gets them as if a webhook reached it. They are sent once, whatever it
    answers, and without a signature: nothing but this machine is between.
    """
    if forward is not None and not forward.startswith(("http://", "https://")):
        raise click.BadParameter("begins with http:// or https://", param_hint="--forward")
    say(f"listening to {client.url}")
    found = client.stream(after="now", types=types, track_id=track_id)
    _print(found if forward is None else _forwarded(client, found, forward), output)


def _forwarded(client: "Client", found: "Iterable[Event]", url: str) -> "Iterable[Event]":
    for event in found:
        say(f"{event['event_id']} {event['type']}: {_post(client, event, url)}")
        yield event


def _post(client: "Client", event: "Event", url: str) -> str:
    """What became of it, in a word."""
    import requests

    told = {
        "type": event["type"],
        "timestamp": event["created_at"],
        "data": {"job": _job(client, event), "event": event},
    }
    headers = {"webhook-id": event["event_id"], "webhook-timestamp": str(int(datetime.now(UTC).timestamp()))}
    try:
        answer = requests.post(url, json=told, headers=headers, timeout=FORWARD_TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        return type(error).__name__
    return str(answer.status_code)


def _job(client: "Client", event: "Event") -> Any:
    """The job as it is now; None for an event of none, or of one that is gone."""
    from webhook_app.client import ApiError

    if event["track_id"] is None:
        return None
    try:
        return client.get(event["track_id"])
    except ApiError as error:
        if error.status in (404, 410):
            return None
        raise
