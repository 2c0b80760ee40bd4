"""`endpoints`, `deliveries` and `webhooks secret`: what a server sends by itself, from anywhere."""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from webhook_app.cli.instants import INSTANT
from webhook_app.cli.output import emit, output_option, say, table
from webhook_app.cli.remote import talks_to_a_server
from webhook_app.domain.events import EventType
from webhook_app.domain.webhooks import DeliveryStatus

if TYPE_CHECKING:
    from webhook_app.client import Client

DAY_S = 86_400
ENDPOINT_HEAD = ("endpoint_id", "state", "events", "url", "description")
DELIVERY_HEAD = ("delivery_id", "status", "attempts", "type", "track_id", "next_attempt", "url")
EVENT = click.Choice([event.value for event in EventType])
event_option = click.option("--event", "events", multiple=True, type=EVENT, help="Repeatable. [default: the ends]")
overlap_option = click.option(
    "--overlap", type=click.IntRange(0), default=DAY_S, show_default=True, help="Seconds that the old one signs too."
)


@click.group()
def endpoints() -> None:
    """Standing URLs that are told what happens to your jobs."""


@endpoints.command("list")
@output_option
@talks_to_a_server
def list_endpoints(client: "Client", output: str) -> None:
    """List them, oldest first."""
    found = list(client.endpoints())
    emit(output, {"data": found}, table(ENDPOINT_HEAD, [_endpoint_line(each) for each in found]))


def _endpoint_line(endpoint: Mapping[str, Any]) -> list[str]:
    state = "active" if endpoint["disabled_at"] is None else f"disabled: {endpoint['disabled_reason']}"
    events = "defaults" if endpoint["events"] is None else ",".join(endpoint["events"])
    return [endpoint["endpoint_id"], state, events, endpoint["url"], endpoint["description"] or ""]


@endpoints.command()
@click.argument("endpoint_url", metavar="URL")
@event_option
@click.option("--description")
@output_option
@talks_to_a_server
def create(client: "Client", endpoint_url: str, events: tuple[str, ...], description: str | None, output: str) -> None:
    """Make one. Prints its id and its secret, which is shown this once."""
    made = client.create_endpoint(endpoint_url, events=list(events) or None, description=description)
    say(f"endpoint {made['endpoint_id']}; keep the secret, it is not shown again")
    emit(output, made, f"{made['endpoint_id']} {made['secret']}")


@endpoints.command()
@click.argument("endpoint_id")
@output_option
@talks_to_a_server
def get(client: "Client", endpoint_id: str, output: str) -> None:
    """Show one."""
    _emit_facts(client.endpoint(endpoint_id), output)


@endpoints.command()
@click.argument("endpoint_id")
@click.option("--to", "new_url", metavar="URL", help="Another URL.")
@event_option
@click.option("--default-events", is_flag=True, help="Take the choice of events back.")
@click.option("--description")
@output_option
@talks_to_a_server
def change(
    client: "Client",
    endpoint_id: str,
    new_url: str | None,
    events: tuple[str, ...],
    default_events: bool,
    output: str,
    description: str | None,
) -> None:
    """Change one; what is not given stays."""
    said: dict[str, Any] = {} if description is None else {"description": description}
    if events or default_events:
        said["events"] = list(events) or None
    _emit_facts(client.change_endpoint(endpoint_id, url=new_url, **said), output)


@endpoints.command()
@click.argument("endpoint_id")
@talks_to_a_server
def delete(client: "Client", endpoint_id: str) -> None:
    """Remove one."""
    client.remove_endpoint(endpoint_id)


@endpoints.command("rotate-secret")
@click.argument("endpoint_id")
@overlap_option
@output_option
@talks_to_a_server
def rotate_secret(client: "Client", endpoint_id: str, overlap: int, output: str) -> None:
    """Give one a new secret. Prints it, this once."""
    rotated = client.rotate_endpoint_secret(endpoint_id, overlap_s=overlap)
    emit(output, rotated, rotated["secret"])


@endpoints.command()
@click.argument("endpoint_id")
@output_option
@talks_to_a_server
def test(client: "Client", endpoint_id: str, output: str) -> None:
    """Have one test sent. Prints the delivery's id: `deliveries get` tells what came of it."""
    delivery = client.test_endpoint(endpoint_id)
    emit(output, delivery, delivery["delivery_id"])


@endpoints.command()
@click.argument("endpoint_id")
@output_option
@talks_to_a_server
def enable(client: "Client", endpoint_id: str, output: str) -> None:
    """Send to a disabled one again."""
    _emit_facts(client.enable_endpoint(endpoint_id), output)


@endpoints.command()
@click.argument("endpoint_id")
@click.option("--since", type=INSTANT, required=True, help="UTC, inclusive.")
@output_option
@talks_to_a_server
def recover(client: "Client", endpoint_id: str, since: datetime, output: str) -> None:
    """Have everything sent that one has missed since a date."""
    recovering = client.recover_endpoint(endpoint_id, since)
    emit(output, recovering, f"{endpoint_id} recovers since {recovering['since']}")


@click.group()
def deliveries() -> None:
    """The log of what was sent, and sending one again."""


@deliveries.command("list")
@click.option("--track-id")
@click.option("--endpoint-id")
@click.option("--status", multiple=True, type=click.Choice([each.value for each in DeliveryStatus]), help="Repeatable.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@output_option
@talks_to_a_server
def list_deliveries(client: "Client", limit: int, output: str, **filters: Any) -> None:
    """List them, newest first."""
    found = list(islice(client.deliveries(**filters, limit=min(limit, 200)), limit))
    emit(output, {"data": found}, table(DELIVERY_HEAD, [_delivery_line(each) for each in found]))


def _delivery_line(delivery: Mapping[str, Any]) -> list[str]:
    status = delivery["status"] + (f" ({delivery['reason']})" if delivery["reason"] else "")
    about = [delivery["type"], delivery["track_id"] or "", delivery["next_attempt_at"] or "", delivery["url"] or ""]
    return [delivery["delivery_id"], status, str(delivery["attempt_count"]), *about]


@deliveries.command("get")
@click.argument("delivery_id")
@output_option
@talks_to_a_server
def get_delivery(client: "Client", delivery_id: str, output: str) -> None:
    """Show one, with every try."""
    delivery = client.delivery(delivery_id)
    facts = {name: value for name, value in delivery.items() if name not in ("body", "attempts")}
    lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
    emit(output, delivery, "\n".join(lines + [_attempt_line(each) for each in delivery["attempts"]]))


def _attempt_line(attempt: Mapping[str, Any]) -> str:
    said = attempt["error"] if attempt["status_code"] is None else attempt["status_code"]
    excerpt = " ".join((attempt["excerpt"] or "").split())[:200]
    return (
        f"attempt {attempt['attempt']}: {attempt['sent_at']} {said} in {attempt['duration_ms']} ms {excerpt}".rstrip()
    )


@deliveries.command()
@click.argument("delivery_id")
@output_option
@talks_to_a_server
def retry(client: "Client", delivery_id: str, output: str) -> None:
    """Send one again now, with the same id and body."""
    delivery = client.retry_delivery(delivery_id)
    emit(output, delivery, f"{delivery_id} {delivery['status']}")


@click.group()
def webhooks() -> None:
    """The webhooks that jobs name themselves."""


@webhooks.group()
def secret() -> None:
    """The secret that signs them, one for each client."""


@secret.command()
@output_option
@talks_to_a_server
def show(client: "Client", output: str) -> None:
    """Print it."""
    key = client.webhook_secret()
    emit(output, {"key": key}, key)


@secret.command()
@overlap_option
@output_option
@talks_to_a_server
def rotate(client: "Client", overlap: int, output: str) -> None:
    """Make a new one, and print it."""
    key = client.rotate_webhook_secret(overlap_s=overlap)
    emit(output, {"key": key}, key)


def _emit_facts(facts: Mapping[str, Any], output: str) -> None:
    lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
    emit(output, facts, "\n".join(lines))
