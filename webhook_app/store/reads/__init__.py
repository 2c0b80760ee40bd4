"""Every question that the doors ask the database. Nothing here writes; rows come back as plain dicts of columns."""

from webhook_app.store.reads.batches import BatchRow, batch, batch_is_over, batches, track_ids_of_batch
from webhook_app.store.reads.callbacks import CallbackFilter, callback, callbacks
from webhook_app.store.reads.counters import (
    Totals,
    generation_percentile,
    repeats,
    totals,
    totals_ever,
    window_begins_at,
)
from webhook_app.store.reads.erasures import erasure, past_retention
from webhook_app.store.reads.feed import LogEnd, log_end, sealed_events
from webhook_app.store.reads.history import attempts_of, callbacks_of, events_of, tail
from webhook_app.store.reads.installation import database_revision, is_upgraded
from webhook_app.store.reads.jobs import (
    JobFilter,
    JobWithImages,
    Position,
    State,
    count_jobs,
    job,
    job_with_images,
    jobs,
    jobs_of,
    next_action_at,
    states_of,
)
from webhook_app.store.reads.keys import KeyRow, client_by_name, clients, key, key_by_sha256, keys
from webhook_app.store.reads.pictures import WITHOUT_BLOB, blob, image, images_of
from webhook_app.store.reads.providers import paused_providers, provider_state, providers
from webhook_app.store.reads.queue import queue_positions
from webhook_app.store.reads.standing import (
    Waiting,
    give_up_after,
    oldest_queued,
    pictures,
    unapplied,
    unconfirmed,
    unfinished,
    unsealed,
)

__all__ = [
    "WITHOUT_BLOB",
    "BatchRow",
    "CallbackFilter",
    "JobFilter",
    "JobWithImages",
    "KeyRow",
    "LogEnd",
    "Position",
    "State",
    "Totals",
    "Waiting",
    "attempts_of",
    "batch",
    "batch_is_over",
    "batches",
    "blob",
    "callback",
    "callbacks",
    "callbacks_of",
    "client_by_name",
    "clients",
    "count_jobs",
    "database_revision",
    "erasure",
    "events_of",
    "generation_percentile",
    "give_up_after",
    "image",
    "images_of",
    "is_upgraded",
    "job",
    "job_with_images",
    "jobs",
    "jobs_of",
    "key",
    "key_by_sha256",
    "keys",
    "log_end",
    "next_action_at",
    "oldest_queued",
    "past_retention",
    "paused_providers",
    "pictures",
    "provider_state",
    "providers",
    "queue_positions",
    "repeats",
    "sealed_events",
    "states_of",
    "tail",
    "totals",
    "totals_ever",
    "track_ids_of_batch",
    "unapplied",
    "unconfirmed",
    "unfinished",
    "unsealed",
    "window_begins_at",
]
