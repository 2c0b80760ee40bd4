"""What the database refuses by itself, whoever asks (design.md, section 4)."""

from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from tests.store import rows
from webhook_app.domain.errors import Unstorable
from webhook_app.domain.ids import new_id, new_track_id
from webhook_app.store.engine import Store
from webhook_app.store.tables import (
    ApiKey,
    Attempt,
    Base,
    Blob,
    Callback,
    Client,
    EventRow,
    IdempotencyKey,
    Image,
    Job,
    Slot,
)

CHANGES: list[tuple[type[Base], dict[str, Any], str]] = [
    (Job, {"status": "done"}, "ck_jobs_status"),
    (Job, {"archive_status": "gone"}, "ck_jobs_archive_status"),
    (Job, {"status": "succeeded"}, "ck_jobs_completed_when_terminal"),
    (Job, {"completed_at": rows.NOW}, "ck_jobs_completed_when_terminal"),
    (Job, {"priority": 101}, "ck_jobs_priority"),
    (Job, {"attempt": -1}, "ck_jobs_attempts"),
    (Job, {"spent": -1}, "ck_jobs_attempts"),
    (Job, {"client_id": "cli_nobody"}, "fk_jobs_client_id"),
    (Attempt, {"evidence": "maybe"}, "ck_attempts_evidence"),
    (Attempt, {"track_id": new_track_id()}, "fk_attempts_track_id"),
    (Image, {"status": "there"}, "ck_images_status"),
    (Image, {"status": "archived"}, "ck_images_archived_has_blob"),
    (Image, {"sha256": "00" * 32}, "fk_images_sha256"),
    (Image, {"track_id": new_track_id()}, "fk_images_track_id"),
]


def refused(store: Store, statement: Any, constraint: str) -> None:
    with pytest.raises(Unstorable) as caught, store.writing() as connection:
        connection.execute(statement)
    if not store.is_sqlite:
        error = caught.value.__cause__
        assert isinstance(error, IntegrityError)
        assert error.orig.diag.constraint_name == constraint  # type: ignore[union-attr]


@pytest.mark.parametrize(("table", "change", "constraint"), CHANGES)
def test_a_row_that_breaks_a_promise_is_refused(
    store: Store, table: type[Base], change: dict[str, Any], constraint: str
) -> None:
    rows.make_job(store)
    refused(store, update(table).values(**change), constraint)


def test_what_is_once_is_once(store: Store) -> None:
    track_id = rows.make_job(store)
    with store.writing() as connection:
        rows.add(connection, Blob, rows.blob())
        client_id = connection.scalar(select(Client.client_id)) or ""
        key = {"client_id": client_id, "key": "k", "request_sha256": "s", "status_code": 202, "location": "/"}
        rows.add(connection, IdempotencyKey, key | {"created_at": rows.NOW})
        told = {"event_id": "evt_1", "type": "job.queued", "actor": "worker", "data": {}}
        rows.add(connection, EventRow, told | {"created_at": rows.NOW})
        rows.add(connection, Slot, {"provider": "modelslab", "n": 0})
        api_key = {"key_id": "key_1", "client_id": client_id, "name": "n", "sha256": "s", "scopes": []}
        rows.add(connection, ApiKey, api_key | {"created_at": rows.NOW})
    doubles: list[tuple[type[Base], dict[str, Any], str]] = [
        (Job, rows.job(client_id, track_id=track_id), "uq_jobs_track_id"),
        (Client, {"client_id": new_id("cli"), "name": "acme", "created_at": rows.NOW}, "uq_clients_name"),
        (Attempt, rows.attempt(track_id), "pk_attempts"),
        (Image, rows.image(track_id), "uq_images_track_id_index"),
        (Callback, rows.callback(track_id), "uq_callbacks_track_id_attempt_sha256"),
        (Blob, rows.blob(), "pk_blobs"),
        (IdempotencyKey, key | {"created_at": rows.NOW}, "pk_idempotency"),
        (EventRow, told | {"created_at": rows.NOW}, "uq_events_event_id"),
        (Slot, {"provider": "modelslab", "n": 0}, "pk_slots"),
        (ApiKey, api_key | {"created_at": rows.NOW, "key_id": "key_2"}, "uq_api_keys_sha256"),
    ]
    for table, row, constraint in doubles:
        refused(store, insert(table).values([row]), constraint)


def test_blobs_are_counted_and_their_state_is_known(store: Store) -> None:
    with store.writing() as connection:
        rows.add(connection, Blob, rows.blob())
    refused(store, update(Blob).values(reference_count=-1), "ck_blobs_reference_count")
    refused(store, update(Blob).values(state="somewhere"), "ck_blobs_state")
