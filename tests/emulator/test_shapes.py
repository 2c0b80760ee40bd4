"""The shapes of one body: each as a client gets it from a submit, a fetch and a callback."""

from collections.abc import Callable
from typing import Any

import pytest

Body = dict[str, Any]


def bodies(emulator, receiver, **members) -> tuple[Body, Body, Body]:
    """The processing answer, the fetch and the callback of one job."""
    answer = emulator.submit(webhook=receiver.url, width=256, height=256, **members).json()
    callback = receiver.next()
    (job,) = emulator.ledger(kind="submit")[-1:]
    return answer, emulator.fetch(job["id"]), callback


def start_waiting(start, **options):
    """An emulator that answers 'processing' first."""
    return start(submit_form="processing", **options)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("number", lambda number: {"id": number}),
        ("text", lambda number: {"id": str(number)}),
        ("null", lambda number: {"id": None}),
        ("absent", lambda number: {}),
    ],
)
def test_an_id_comes_as_number_text_null_or_not_at_all(start, receiver, form, expected: Callable[[int], Body]):
    emulator = start_waiting(start, id_form=form)
    for body in bodies(emulator, receiver):
        assert {name: body[name] for name in body if name == "id"} == expected(emulator.ledger(kind="submit")[0]["id"])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("list", lambda urls: {"proxy_links": urls}),
        ("empty_list", lambda urls: {"proxy_links": []}),
        ("empty_text", lambda urls: {"proxy_links": ""}),
        ("null", lambda urls: {"proxy_links": None}),
        ("text", lambda urls: {"proxy_links": urls[0]}),
        ("object", lambda urls: {"proxy_links": {"0": urls[0], "1": urls[1]}}),
        ("absent", lambda urls: {}),
    ],
)
def test_proxy_links_have_seven_forms(start, receiver, form, expected: Callable[[list[str]], Body]):
    _, fetched, callback = bodies(start_waiting(start, proxy_links_form=form), receiver, samples=2)
    for body in (fetched, callback):
        assert {name: body[name] for name in body if name == "proxy_links"} == expected(body["output"])


def test_a_track_id_of_digits_can_come_back_as_a_number_and_any_can_be_missing(start, receiver):
    emulator = start_waiting(start, track_id_form="number")
    answer, _, callback = bodies(emulator, receiver, track_id="3422")
    assert answer["meta"]["track_id"] == callback["track_id"] == callback["meta"]["track_id"] == 3422
    assert bodies(emulator, receiver, track_id="job-1")[2]["track_id"] == "job-1"
    emulator.post("/_emulator/config", {"track_id_form": "absent"})
    answer, _, callback = bodies(emulator, receiver, track_id="3422")
    assert not [body for body in (answer["meta"], callback, callback["meta"]) if "track_id" in body]


def test_a_status_can_be_odd_and_an_eta_have_decimals(start, receiver):
    emulator = start_waiting(start, status_form="odd", eta_form="fraction", delay_s=0.05)
    answer, fetched, callback = bodies(emulator, receiver)
    assert (answer["status"], fetched["status"], callback["status"]) == ("queued", "ready", "ready")
    assert answer["eta"] % 1


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("message", lambda text: {"message": text}),
        ("messege", lambda text: {"messege": text}),
        ("bag", lambda text: {"message": {"error": [text]}}),
        ("empty", lambda text: {"message": ""}),
    ],
)
def test_a_message_comes_misspelt_as_a_bag_or_empty(start, receiver, form, expected: Callable[[str], Body]):
    emulator = start_waiting(start, ending="failed", message_form=form)

    def message_of(body: Body) -> Body:
        return {name: body[name] for name in body if name in {"message", "messege"}}

    answer, fetched, callback = bodies(emulator, receiver)
    assert message_of(answer) == expected("Try to fetch request after seconds estimated")
    assert message_of(fetched) == message_of(callback) == expected("Failed, Try Again")
    emulator.post("/_emulator/config", {"submit_fault": "json_503"})
    text = "Service temporarily unavailable. Please try again later."
    assert message_of(emulator.submit().json()) == expected(text)
    assert emulator.ledger(kind="submit")[-1]["refused"] == text


def test_shapes_do_not_touch_what_a_body_lacks(start):
    emulator = start(id_form="text", proxy_links_form="null", track_id_form="absent", message_form="bag")
    assert set(emulator.submit().json()) == {"status", "generationTime", "output", "meta"}
