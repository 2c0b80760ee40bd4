"""What an auditor finds wrong, and where: on a small log with its heads."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from webhook_app.domain.audit import Auditor, Record, Report, SeenHead, Where
from webhook_app.domain.chain import GENESIS, hash_of
from webhook_app.domain.heads import Head, PublicKey, Statement, encoded, head_key, read_head, read_key

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY, OTHER = PublicKey(encoded(b"k" * 32)), PublicKey(encoded(b"o" * 32))
LOG = "log_a"


def signature_of(key: PublicKey, text: bytes) -> bytes:
    """A stand-in for arithmetic that is tested elsewhere."""
    return key.raw + text


def verify(key: PublicKey, message: bytes, signature: bytes) -> bool:
    return signature == signature_of(key, message)


def events(count: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for seq in range(1, count + 1):
        told = {"event_id": f"evt_{seq}", "seq": seq, "type": "job.queued", "track_id": None, "client_id": "cli_a"}
        told |= {"batch_id": None, "actor": "worker", "created_at": AT, "data": {"n": seq}}
        told |= {"previous_hash": made[-1]["hash"] if made else GENESIS}
        made.append(told | {"hash": hash_of(told)})
    return made


def head(event: dict[str, Any], key: PublicKey = KEY, **said: Any) -> Head:
    statement = replace(Statement(LOG, event["seq"], event["hash"], AT, key.kid), **said)
    return Head(statement, encoded(signature_of(key, statement.text)))


def log_of(count: int, *headed: int) -> list[Any]:
    """A log, and behind these events their heads as the database and the archive have them."""
    found: list[Any] = []
    for event in events(count):
        found.append(event)
        if event["seq"] in headed:
            found.append(SeenHead(event["seq"], Where.DATABASE, head(event), has_copy=True))
            found.append(SeenHead(event["seq"], Where.ARCHIVE, head(event)))
    return found


def audited(records: list[Record], *, is_part: bool = False) -> Report:
    auditor = Auditor(LOG, [KEY], verify, is_part=is_part)
    for record in records:
        auditor.look(record)
    return auditor.end()


def test_a_log_that_is_what_it_was_is_whole() -> None:
    report = audited(log_of(9, 4, 9))
    assert (report.events, report.last_seq, report.problems, report.first_bad_seq) == (9, 9, [], None)
    assert report.heads == {Where.DATABASE: 2, Where.ARCHIVE: 2}
    assert report.last_hash == events(9)[-1]["hash"]
    assert audited([]).problems == []


def rechained(records: list[Any], seq: int) -> list[Any]:
    """As somebody who can write the database would do it: from there on all hashes are right again."""
    previous, done = "", []
    for record in records:
        if not isinstance(record, SeenHead):
            if record["seq"] == seq:
                record = record | {"data": {"n": "other"}}
            if record["seq"] > seq:
                record = record | {"previous_hash": previous}
            record = record | {"hash": hash_of(record)}
            previous = record["hash"]
        done.append(record)
    return done


def changed(records: list[Any], seq: int, **values: Any) -> list[Any]:
    return [each if isinstance(each, SeenHead) or each["seq"] != seq else each | values for each in records]


def without(records: list[Any], wrong: Callable[[Any], bool]) -> list[Any]:
    return [each for each in records if not wrong(each)]


def is_event(record: Any, *seqs: int) -> bool:
    return not isinstance(record, SeenHead) and record["seq"] in seqs


def is_head(record: Any, where: Where, seq: int) -> bool:
    return isinstance(record, SeenHead) and (record.where, record.seq) == (where, seq)


def put_head(records: list[Any], where: Where, seq: int, new: Head | None) -> list[Any]:
    return [replace(each, head=new) if is_head(each, where, seq) else each for each in records]


BOTH = log_of(9, 4, 9)
FOURTH = events(9)[3]
TAMPERED: list[tuple[str, list[Any], int, str]] = [
    ("an altered event", changed(BOTH, 5, data={"n": 0}), 5, "not the one that was sealed"),
    ("an altered instant", changed(BOTH, 5, created_at=AT.replace(year=2025)), 5, "not the one that was sealed"),
    ("another hash", changed(BOTH, 5, hash="ab" * 32), 5, "not the one that was sealed"),
    ("no hash", changed(BOTH, 5, hash=None), 5, "has no hash"),
    ("a removed event", without(BOTH, lambda each: is_event(each, 6)), 6, "missing"),
    ("a removed beginning", without(BOTH, lambda each: is_event(each, 1, 2)), 1, "missing"),
    ("a removed end", without(BOTH, lambda each: is_event(each, 7, 8, 9)), 7, "names 9"),
    ("a chain made again", rechained(BOTH, 2), 4, "another hash than the head in the database"),
    ("a chain made again from the end", rechained(BOTH, 9), 9, "another hash than the head in the archive"),
    ("a removed copy", without(BOTH, lambda each: is_head(each, Where.ARCHIVE, 9)), 9, "not in the archive"),
    ("a removed copy before", without(BOTH, lambda each: is_head(each, Where.ARCHIVE, 4)), 4, "not in the archive"),
    ("a removed head", without(BOTH, lambda each: is_head(each, Where.DATABASE, 4)), 4, "has lost a head"),
    ("an unknown key", put_head(BOTH, Where.ARCHIVE, 4, head(FOURTH, OTHER)), 4, "unknown key"),
    ("a wrong signature", put_head(BOTH, Where.ARCHIVE, 4, head(FOURTH, OTHER, kid=KEY.kid)), 4, "wrong signature"),
    ("another log's", put_head(BOTH, Where.DATABASE, 4, head(FOURTH, log_id="log_b")), 4, "belongs elsewhere"),
    ("another place's", put_head(BOTH, Where.ARCHIVE, 4, head(FOURTH, seq=3)), 4, "belongs elsewhere"),
    ("rubbish", put_head(BOTH, Where.ARCHIVE, 9, None), 9, "cannot be read"),
]


@pytest.mark.parametrize(("name", "records", "seq", "problem"), TAMPERED, ids=[each[0] for each in TAMPERED])
def test_what_was_changed_is_found_where_it_begins(name: str, records: list[Any], seq: int, problem: str) -> None:
    report = audited(records)
    assert report.first_bad_seq == seq
    assert any(problem in found.problem for found in report.problems if found.seq == seq), report.problems


def test_many_problems_are_counted_and_the_first_are_named() -> None:
    records = [event | {"data": {}} for event in events(250)]
    report = audited(records)
    assert (report.problem_count, len(report.problems), report.first_bad_seq) == (250, 100, 1)


def test_a_part_of_a_log_begins_where_it_begins() -> None:
    part = [each for each in BOTH if (each.seq if isinstance(each, SeenHead) else each["seq"]) > 4]
    assert audited(part, is_part=True).problems == []
    assert audited(part).first_bad_seq == 1
    assert audited(changed(part, 7, actor="x"), is_part=True).first_bad_seq == 7


def test_a_head_is_read_as_it_was_written() -> None:
    made = head(events(3)[2])
    assert read_head(made.document) == made
    assert head_key(LOG, 3) == "heads/log_a/000000000000/000000000000000003.json"
    assert head_key(LOG, 10**6) > head_key(LOG, 10**6 - 1)


@pytest.mark.parametrize(
    "document",
    [b"", b"\xff", b"[]", b"{}", b'{"seq": 1}', b"null"]
    + [
        head(events(1)[0]).document.replace(old, new)
        for old, new in [
            (b'"seq": 1', b'"seq": "1"'),
            (b'"seq": 1', b'"seq": true'),
            (b'"signature": "', b'"signature": "*'),
            (b"2026-03-01T12:00:00Z", b"2026-03-01T12:00:00"),
            (b"2026-03-01T12:00:00Z", b"2026-03-01T13:00:00+01:00"),
            (b'"hash": "', b'"hash": "x'),
        ]
    ],
)
def test_what_is_no_head_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_head(document)


@pytest.mark.parametrize("change", [{"kty": "RSA"}, {"crv": "X25519"}, {"x": "AA"}, {"x": "*"}, {"x": None}])
def test_another_kind_of_key_is_refused(change: dict[str, Any]) -> None:
    assert read_key(KEY.jwk) == KEY
    with pytest.raises(ValueError, match="Ed25519"):
        read_key(KEY.jwk | change)
