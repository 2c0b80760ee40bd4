"""Batches, reruns, explanations and exports, by the client."""

import json
import socket
import threading
from typing import Any, get_type_hints

import pytest

from tests.served import Served
from webhook_app.client import ApiError, Batch, Client, NewBatch, is_complete
from webhook_app.client.shapes import Explanation, Step
from webhook_app.web import answers

CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}\r\n\r\n"
JOBS = [{"input": {"prompt": f"picture {n}"}, "reference": str(n)} for n in range(3)]


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        (Batch, answers.BatchAnswer),
        (NewBatch, answers.NewBatchAnswer),
        (Explanation, answers.ExplanationAnswer),
        (Step, answers.Step),
    ],
)
def test_the_shapes_are_those_of_the_server(shape: type[Any], answer: type[Any]) -> None:
    assert get_type_hints(shape).keys() == answer.model_fields.keys()


def test_a_batch_is_submitted_once_for_its_key_shown_and_listed(client: Client) -> None:
    made = client.submit_batch(JOBS, idempotency_key="k")
    assert client.submit_batch(iter(JOBS), idempotency_key="k") == made
    batch = client.batch(made["batch_id"])
    assert (batch["jobs"], batch["counts"]["queued"], is_complete(batch)) == (3, 3, False)
    other = client.submit_batch(JOBS[:1])
    assert [each["batch_id"] for each in client.batches(limit=1)] == [other["batch_id"], made["batch_id"]]
    assert [job["reference"] for job in client.jobs(batch_id=made["batch_id"], order="created_at")] == list("012")


def test_a_batch_is_waited_for_and_canceled(client: Client, served: Served) -> None:
    made = client.submit_batch(JOBS)
    assert not is_complete(client.wait_for_batch(made["batch_id"], timeout_s=0))
    threading.Timer(0.5, lambda: served.api.post(f"/v1/batches/{made['batch_id']}/cancel")).start()
    batch = client.wait_for_batch(made["batch_id"], timeout_s=20)
    assert (is_complete(batch, "archived"), batch["counts"]["canceled"]) == (True, 3)
    assert client.cancel_batch(made["batch_id"]) == batch
    assert not is_complete(batch | {"archiving": 1}, "archived")  # type: ignore[arg-type] # a batch still


def test_a_job_is_run_again_and_explained(client: Client) -> None:
    job = client.submit({"prompt": "a lighthouse", "seed": 5})
    again = client.rerun(job["track_id"], seed="new", input={"width": 256}, idempotency_key="k")
    assert (again["parent_track_id"], again["input"]["width"]) == (job["track_id"], 256)
    assert (
        client.rerun(job["track_id"], seed="new", input={"width": 256}, idempotency_key="k")["number"]
        == (again["number"])
    )
    assert client.rerun(job["track_id"])["seed"] == 5
    assert client.explain(job["track_id"])["waiting_for"] == "provider_slot"


def test_jobs_are_exported(client: Client) -> None:
    client.submit_batch(JOBS)
    text = b"".join(client.export(reference="1")).decode()
    assert [json.loads(line)["reference"] for line in text.splitlines()] == ["1"]
    assert b"".join(client.export(format="csv")).count(b"\r\n") == 4
    with pytest.raises(ApiError) as refused:
        list(client.export(status="done"))
    assert (refused.value.status, refused.value.code) == (422, "invalid_field")


def test_an_export_that_is_cut_off_is_not_whole() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(CUT_OFF)

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"http://127.0.0.1:{server.getsockname()[1]}", "k") as client, pytest.raises(ApiError) as cut:
            list(client.export())
        thread.join()
    assert (cut.value.status, cut.value.code) == (None, "unreachable")
