"""What `/openapi.json` allows, and what it forbids, is answered as it says: requests made from the document itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from tests.web.conftest import BOOTSTRAP_KEY, Api
from webhook_app.settings import load_settings
from webhook_app.store.engine import Store
from webhook_app.web.app import create_app
from webhook_app.wiring import build

SEED = 20261125
# They never end by themselves.
STREAMS = ("/v1/events/stream",)
CHECKS = [not_a_server_error, response_schema_conformance]


@pytest.fixture
def patient_app(store: Store, tmp_path: Path) -> Iterator[Flask]:
    """An application in which nobody waits, and a client of it with a job."""
    env = {"DATA_DIR": str(tmp_path), "BOOTSTRAP_API_KEY": BOOTSTRAP_KEY, "WAIT_MAX_S": "0"}
    made = create_app(replace(build(load_settings(env)), store=store))
    yield made
    assert made.extensions["batcher"].finish(30)
    made.extensions["wakeups"].stop()
    made.extensions["drainer"].stop()


def known_ids(app: Flask, store: Store) -> dict[str, str]:
    """What there is, by the names that paths use; a request may as well hit something."""
    api = Api(app.test_client(), None, BOOTSTRAP_KEY)  # type: ignore[arg-type] # calls alone
    job = api.get(f"/v1/jobs/{api.submit(tags=['a'], metadata={'a': 1})}").json
    batch = api.post("/v1/batches", {"jobs": [{"input": {"prompt": "x"}}]}).json
    endpoint = api.post("/v1/endpoints", {"url": "https://client.example/hooks"}).json
    delivery = api.post(f"/v1/endpoints/{endpoint['endpoint_id']}/test").json
    return {
        "endpoint_id": endpoint["endpoint_id"],
        "delivery_id": delivery["delivery_id"],
        "batch_id": batch["batch_id"],
        "track_id": job["track_id"],
        "image_id": job["images"][0]["image_id"],
        "ext": "png",
        "name": "modelslab",
    }


def fuzz(app: Flask, store: Store, examples: int) -> int:
    """Call every operation with this many requests; returns how many operations there were."""
    document = schemathesis.openapi.from_wsgi("/openapi.json", app)
    ids, count = known_ids(app, store), 0
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.path not in STREAMS:
            fuzz_one(operation, ids, examples)
            count += 1
    return count


def fuzz_one(operation: Any, ids: dict[str, str], examples: int) -> None:
    @seed(SEED)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)), hit=st.booleans())
    def call(case: Any, hit: bool) -> None:
        if hit and case.path_parameters:
            case.path_parameters |= {name: ids[name] for name in case.path_parameters if name in ids}
        response = case.call(headers={"Authorization": f"Bearer {BOOTSTRAP_KEY}"})
        case.validate_response(response, checks=CHECKS)

    call()


def test_every_operation_answers_as_the_document_says(patient_app: Flask, store: Store) -> None:
    assert fuzz(patient_app, store, 8) > 20


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_every_operation_answers_as_the_document_says_again_and_again(patient_app: Flask, store: Store) -> None:
    assert fuzz(patient_app, store, 150) > 20
