"""Submits into the database, many to a commit, and every request waits for its own."""

from collections.abc import Hashable

import structlog
from flask import Flask

from webhook_app.domain.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    IdempotencyInProgress,
    Internal,
    ProblemError,
    Unstorable,
)
from webhook_app.flows.accept import Accepted, Submission, accept_all
from webhook_app.flows.room import QueueRoom
from webhook_app.store.engine import Store
from webhook_app.web.asking import room_of
from webhook_app.web.grouping import Group, Handed
from webhook_app.wiring import Parts

SUBMITTER = "submitter"
# Longer than SQLite waits for somebody else's write lock.
GIVE_UP_AFTER_S = 15.0
RETRY_AFTER_S = 5
MOST_WAITING = 10_000

log = structlog.get_logger(__name__)


class Submitter:
    """One for each process: what was asked while the last jobs were committed is the next transaction."""

    def __init__(self, store: Store, room: QueueRoom, *, give_up_after_s: float = GIVE_UP_AFTER_S) -> None:
        self._store, self._room, self._give_up_after_s = store, room, give_up_after_s
        self._group: Group[Submission] = Group(
            "submitter", self._write, self._interrupted, key=_key, most_weight=MOST_WAITING
        )

    def accept(self, asked: Submission) -> Accepted:
        """As `flows.accept.accept`, and it raises the same."""
        handed = Handed(asked)
        if not self._group.hand_over(handed):
            raise DatabaseUnavailable("Too many jobs are waiting for the database.", retry_after_s=RETRY_AFTER_S)
        if not handed.settled.wait(self._give_up_after_s):
            handed.abandoned = True
            detail = (
                "not stored" if self._group.take_back(handed) else "perhaps stored: repeat it with its Idempotency-Key"
            )
            raise DatabaseUnavailable(f"The database takes too long; the job is {detail}.", retry_after_s=RETRY_AFTER_S)
        if isinstance(handed.error, DatabaseUnavailable):
            # One of its own: many that raise the same one would keep each other's frames alive.
            raise type(handed.error)(handed.error.detail, retry_after_s=handed.error.retry_after_s) from handed.error
        if handed.error is not None:
            raise handed.error
        accepted: Accepted = handed.result
        return accepted

    def _write(self, batch: list[Handed[Submission]]) -> None:
        try:
            answers = accept_all(self._store, [handed.item for handed in batch], room=self._room)
        except (DatabaseBusy, IdempotencyInProgress, Unstorable) as error:
            self._one_by_one(batch, error)
        except DatabaseUnavailable as error:
            for handed in batch:
                handed.settle(error)
        else:
            for handed, answer in zip(batch, answers, strict=True):
                refused = answer if isinstance(answer, ProblemError) else None
                handed.settle(refused, answer)

    def _one_by_one(self, batch: list[Handed[Submission]], error: Exception) -> None:
        """Something in the batch cannot be stored now: find it, so that the others do not suffer for it."""
        if len(batch) == 1:
            batch[0].settle(error)
            return
        log.warning("submit.batch_failed", size=len(batch), error=f"{type(error).__name__}: {error}")
        for handed in batch:
            if not handed.abandoned:
                self._write([handed])

    def _interrupted(self, waiting: list[Handed[Submission]]) -> None:
        """By what nobody foresaw: it is in the log, with its traceback."""
        for handed in waiting:
            handed.settle(Internal("The job's transaction was interrupted."))


def submitter_of(app: Flask, parts: Parts) -> Submitter:
    """The application's one, made when first asked for."""
    if SUBMITTER not in app.extensions:
        app.extensions[SUBMITTER] = Submitter(parts.store, room_of(app, parts))
    found: Submitter = app.extensions[SUBMITTER]
    return found


def _key(asked: Submission) -> Hashable:
    """Two with one key never share a transaction: the second is answered by what the first made."""
    return asked if asked.idempotency_key is None else (asked.client_id, asked.idempotency_key.key)
