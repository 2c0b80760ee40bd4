"""`endpoints`, `deliveries` and `webhooks secret` against a real server."""

from tests.cli.conftest import as_json
from tests.cli.test_jobs import Verb, app, parts, served, verb
from tests.served import Served
from tests.web.test_endpoints import URL, canceled

__all__ = ["app", "parts", "served", "verb"]


def test_an_endpoint_from_made_to_removed(verb: Verb) -> None:
    done = verb("endpoints", "create", URL, "--event", "job.failed", "--description", "the shop")
    endpoint_id, secret = done.stdout.split()
    assert secret.startswith("whsec_")
    assert "not shown again" in done.stderr
    listed = verb("endpoints", "list").stdout
    assert endpoint_id in listed
    assert "job.failed" in listed
    assert f"url: {URL}" in verb("endpoints", "get", endpoint_id).stdout
    changed = as_json(
        verb("endpoints", "change", endpoint_id, "--to", URL + "/new", "--default-events", "--output", "json")
    )
    assert (changed["url"], changed["events"], changed["description"]) == (URL + "/new", None, "the shop")
    assert verb("endpoints", "rotate-secret", endpoint_id, "--overlap", "60").stdout.startswith("whsec_")
    assert verb("endpoints", "enable", endpoint_id).exit_code == 0
    assert verb("endpoints", "recover", endpoint_id, "--since", "2026-01-01").exit_code == 0
    delivery_id = verb("endpoints", "test", endpoint_id).stdout.strip()
    assert "type: endpoint.test" in verb("deliveries", "get", delivery_id).stdout
    assert verb("endpoints", "delete", endpoint_id).exit_code == 0
    assert verb("endpoints", "get", endpoint_id).exit_code == 3


def test_a_url_that_cannot_be_is_one_line(verb: Verb) -> None:
    done = verb("endpoints", "create", "http://127.0.0.1/")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_deliveries_are_listed_and_sent_again(verb: Verb, served: Served) -> None:
    verb("endpoints", "create", URL)
    tracks = [canceled(served.api) for _ in range(2)]
    assert len(verb("deliveries", "list").stdout.splitlines()) == 3
    (found,) = as_json(verb("deliveries", "list", "--track-id", tracks[0], "--output", "json"))["data"]
    assert verb("deliveries", "retry", found["delivery_id"]).stdout == f"{found['delivery_id']} pending\n"
    assert verb("deliveries", "list", "--status", "failed").stdout.splitlines()[1:] == []


def test_the_secret_for_the_webhooks_of_jobs(verb: Verb) -> None:
    first = verb("webhooks", "secret", "show").stdout
    assert first.startswith("whsec_")
    assert verb("webhooks", "secret", "rotate").stdout != first
    assert verb("webhooks", "secret", "show").stdout != first
