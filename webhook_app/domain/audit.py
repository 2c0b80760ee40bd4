"""Is a log what it was? Its chain is computed again and held against its signed heads, one record after the other."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from webhook_app.domain.chain import GENESIS, hash_of
from webhook_app.domain.heads import Head, PublicKey, decoded

REPORTED = 100
Verify = Callable[[PublicKey, bytes, bytes], bool]
Event = Mapping[str, Any]


class Where(StrEnum):
    """Where a head was seen."""

    DATABASE = "database"
    ARCHIVE = "archive"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A head, where it was seen, and for which `seq` it stands there. `head` None: what lies there is none.
    `has_copy`: the archive is said to have it, and is looked at."""

    seq: int
    where: Where
    head: Head | None
    has_copy: bool = False


Record = Event | SeenHead


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and at which `seq`."""

    seq: int
    problem: str


@dataclass(slots=True)
class Report:
    """What was found; of many problems the first are named."""

    log_id: str
    events: int = 0
    last_seq: int = 0
    last_hash: str | None = GENESIS
    heads: dict[Where, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    first_bad_seq: int | None = None

    def complain(self, seq: int, problem: str) -> None:
        self.problem_count += 1
        self.first_bad_seq = seq if self.first_bad_seq is None else min(seq, self.first_bad_seq)
        if len(self.problems) < REPORTED:
            self.problems.append(Problem(seq, problem))


class Auditor:
    """Looks at each record of a log in order: an event, and the heads that name it behind it. A part of a log, which
    does not begin with its first event, is taken to begin rightly. `report` grows meanwhile."""

    def __init__(self, log_id: str, keys: Iterable[PublicKey], verify: Verify, *, is_part: bool = False) -> None:
        self.report = Report(log_id)
        self._keys = {key.kid: key for key in keys}
        self._verify = verify
        self._is_part = is_part
        self._copy_due: int | None = None
        self._in_database: int | None = None
        self._told_missing: int | None = None

    def look(self, record: Record) -> None:
        """At the next record."""
        if not isinstance(record, SeenHead):
            self._copy_was_due()
            self._look_at_event(record)
        else:
            if (record.where, record.seq) == (Where.ARCHIVE, self._copy_due):
                self._copy_due = None
            self._copy_was_due()
            self._look_at_place(record)
            self._look_at_head(record)

    def end(self) -> Report:
        """There are no more records."""
        self._copy_was_due()
        return self.report

    def _copy_was_due(self) -> None:
        if self._copy_due is not None:
            self.report.complain(self._copy_due, "the head's copy is not in the archive")
            self._copy_due = None

    def _look_at_event(self, event: Event) -> None:
        report, seq = self.report, event["seq"]
        if self._is_part and report.events == 0:
            report.last_seq, report.last_hash = seq - 1, event["previous_hash"]
        if seq != report.last_seq + 1:
            report.complain(report.last_seq + 1, f"an event is missing: the next one is {seq}")
        elif event["hash"] is None:
            report.complain(seq, "the event has no hash")
        elif event["previous_hash"] != report.last_hash:
            report.complain(seq, "the event does not follow the one before")
        if event["hash"] is not None and hash_of(event) != event["hash"]:
            report.complain(seq, "the event is not the one that was sealed")
        report.events += 1
        report.last_seq, report.last_hash = seq, event["hash"]

    def _look_at_place(self, seen: SeenHead) -> None:
        self.report.heads[seen.where] = self.report.heads.get(seen.where, 0) + 1
        if seen.where is Where.DATABASE:
            self._in_database = seen.seq
            self._copy_due = seen.seq if seen.has_copy else None
        elif seen.where is Where.ARCHIVE and self._in_database != seen.seq:
            self.report.complain(seen.seq, "the database has lost a head that the archive has")

    def _look_at_head(self, seen: SeenHead) -> None:
        report, name = self.report, f"the head in the {seen.where}"
        if seen.head is None:
            report.complain(seen.seq, f"{name} cannot be read")
            return
        said = seen.head.statement
        key = self._keys.get(said.kid)
        if said.log_id != report.log_id or said.seq != seen.seq:
            report.complain(seen.seq, f"{name} belongs elsewhere")
        elif key is None:
            report.complain(seen.seq, f"{name} has the signature of an unknown key, {said.kid}")
        elif not self._verify(key, said.text, decoded(seen.head.signature)):
            report.complain(seen.seq, f"{name} has a wrong signature")
        elif said.seq > report.last_seq:
            if self._told_missing != report.last_seq:
                report.complain(report.last_seq + 1, f"an event is missing: {name} names {said.seq}")
            self._told_missing = report.last_seq
        elif said.seq == report.last_seq and said.hash != report.last_hash:
            report.complain(said.seq, f"the event has another hash than {name} says")
