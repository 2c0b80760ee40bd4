"""The invariants of reliability.md as pure functions of an observation: each returns its violations, with ids."""

from collections import Counter, defaultdict
from collections.abc import Callable

from tests.crash.observation import Observation, Row, grouped
from webhook_app.domain.job import MAY_ENTER, TERMINAL, Status

TELLING = frozenset({"once", "twice", "late", "early", "reordered", "untracked", "forged"})
ASKABLE = frozenset({"thin", "missing_pictures"})
MOVES = {
    "job.submitted": Status.SUBMITTING,
    "submit.retried": Status.QUEUED,
    "job.succeeded": Status.SUCCEEDED,
    "job.failed": Status.FAILED,
    "job.timed_out": Status.TIMED_OUT,
    "job.canceled": Status.CANCELED,
}
ANSWERED = frozenset({"declined", "running", "retryable", "permanent", "success"})
SPENDING = frozenset({"retryable", "unconfirmed"})


def acknowledged_jobs_exist_and_end_well(seen: Observation) -> list[str]:
    """I1. An end other than success, or no end yet, has its cause in the ledger: the provider told nobody."""
    wrong = [f"{track_id} was acknowledged and is gone" for track_id in seen.journal.track_ids - set(seen.jobs)]
    submits, calls = seen.ledger_by_job("submit"), seen.ledger_by_job("callback")
    served = {entry["track_id"] for entry in seen.ledger("picture") if entry.get("sha256")}
    for track_id, job in seen.jobs.items():
        mine, heard = submits[track_id], calls[track_id]
        if job["status"] == Status.SUCCEEDED:
            continue
        if track_id in served or any(_fate(e).get("ending") == "success" and _was_heard(e, heard) for e in mine):
            wrong.append(f"{track_id} is {job['status']} though the provider told of its success")
        elif job["status"] not in TERMINAL and not (nobody_knows(mine, heard) and job["deadline_at"]):
            wrong.append(f"{track_id} has not ended: {job['status']}, waiting for {job['waiting_for']}")
        elif job["status"] in TERMINAL and not any(_explains(entry, heard) for entry in mine):
            wrong.append(f"{track_id} is {job['status']} ({job['error']}), and nothing in the ledger explains it")
    return wrong


def nobody_knows(submits: list[Row], calls: list[Row]) -> bool:
    """Whether the provider has told and will tell nobody what became of these submits of a job."""
    return bool(submits) and all(_is_silent(entry, calls) for entry in submits)


def _is_silent(submit: Row, calls: list[Row]) -> bool:
    """No result was called back and answered, none is to come, and questions are in vain."""
    fate, sent = _fate(submit), {entry["id"] for entry in calls if entry["says"] == "result"}
    to_come = fate.get("callback") in TELLING and submit.get("id") not in sent
    askable = submit["taken"] and submit["fault"] is None and fate["fetch_form"] in ASKABLE
    return not (to_come or askable or _was_heard(submit, calls))


def _was_heard(submit: Row, calls: list[Row]) -> bool:
    mine = [entry for entry in calls if submit["taken"] and entry["id"] == submit["id"]]
    return any(entry["says"] == "result" and entry["http_status"] == 200 for entry in mine)


def _explains(submit: Row, calls: list[Row]) -> bool:
    return submit["refused"] is not None or _fate(submit).get("ending") == "failed" or _is_silent(submit, calls)


def _fate(submit: Row) -> Row:
    fate: Row = submit.get("fate") or {}
    return fate


def answered_callbacks_are_on_record_and_applied(seen: Observation) -> list[str]:
    """I2. Each 200 is a row; doubles are counted (a lost answer of ours may count one more)."""
    calls = [entry for entry in seen.ledger("callback") if entry["http_status"] == 200]
    given = Counter((e["called_track_id"], e["called_attempt"], e["kept_sha256"]) for e in calls)
    kept = {(row["track_id"], row["attempt"], row["sha256"]): row for row in seen.tables["callbacks"]}
    wrong = [f"callback {key} was answered 200 and is not on record" for key in given.keys() - kept.keys()]
    wrong += [
        f"callback {key} came {given[key]} times, on record {kept[key]['times_seen']}"
        for key in given.keys() & kept.keys()
        if kept[key]["times_seen"] < given[key]
    ]
    return wrong + [f"callback {key} was never applied" for key, row in kept.items() if row["applied_at"] is None]


def pictures_are_archived_once_and_whole(seen: Observation) -> list[str]:
    """I3. What a killed worker left half-copied has a temporary name and is no object."""
    served = defaultdict(set)
    for entry in seen.ledger("picture"):
        if entry.get("sha256"):
            served[entry["track_id"]].add(entry["sha256"])
    wrong = []
    archived = [image for image in seen.tables["images"] if image["status"] == "archived"]
    for image in archived:
        if image["sha256"] not in served[image["track_id"]]:
            wrong.append(f"{image['image_id']} has bytes that the provider did not serve for {image['track_id']}")
    for image in seen.tables["images"]:
        if seen.jobs[image["track_id"]]["status"] == Status.SUCCEEDED and image["status"] != "archived":
            wrong.append(f"{image['image_id']} of a succeeded job is {image['status']} ({image['reason']})")
    references = Counter(image["sha256"] for image in archived)
    counted = {blob["sha256"]: blob["reference_count"] for blob in seen.tables["blobs"]}
    wrong += [
        f"blob {sha256} has {counted.get(sha256)} references counted, and {references[sha256]} pictures"
        for sha256 in references | counted
        if counted.get(sha256) != references[sha256]
    ]
    objects = {name: sha256 for name, sha256 in seen.objects.items() if not name.startswith(".tmp-")}
    wrong += [f"object {name} has other bytes: {sha256}" for name, sha256 in objects.items() if name != sha256]
    wrong += [f"object {name} is missing" for name in references.keys() - objects.keys()]
    return wrong + [f"object {name} belongs to no picture" for name in objects.keys() - references.keys()]


def jobs_move_only_along_the_graph(seen: Observation) -> list[str]:
    """I4. The log is replayed. Entering `processing` has no event of its own: it may lie between any two."""
    wrong = []
    for track_id, events in seen.by_job("events").items():
        status = Status.QUEUED
        if track_id is None:
            continue
        if events[0]["type"] != "job.queued":
            wrong.append(f"{track_id} begins with {events[0]['type']}")
        for event in events:
            to = MOVES.get(event["type"])
            if to is not None and not _may_move(status, to):
                wrong.append(f"{track_id} went from {status} to {to}")
            status = to or status
        found = Status(seen.jobs[track_id]["status"])
        if found is not status and not (found is Status.PROCESSING and status in MAY_ENTER[found]):
            wrong.append(f"{track_id} is {found}, by its log {status}")
    return wrong


def _may_move(status: Status, to: Status) -> bool:
    through = status in MAY_ENTER[Status.PROCESSING] and Status.PROCESSING in MAY_ENTER[to]
    return status in MAY_ENTER[to] or through


def submits_match_attempts(seen: Observation) -> list[str]:
    """I5. The provider took an attempt at most once; every request that reached it is a send on record; every further
    attempt follows recorded evidence."""
    submits = [entry for entry in seen.ledger("submit") if "called_attempt" in entry]
    reached = Counter((entry["called_track_id"], entry["called_attempt"]) for entry in submits)
    taken = Counter((e["called_track_id"], e["called_attempt"]) for e in submits if e["taken"])
    rows = {(row["track_id"], row["n"]): row for row in seen.tables["attempts"]}
    wrong = [f"{key} reached the provider without an attempt's row" for key in reached.keys() - rows.keys()]
    wrong += [f"{key} was taken {count} times" for key, count in taken.items() if count > 1]
    for key, row in rows.items():
        if reached[key] > row["sends"]:
            wrong.append(f"{key} reached the provider {reached[key]} times and was sent {row['sends']} times")
        if row["evidence"] in ANSWERED and not reached[key]:
            wrong.append(f"{key} is {row['evidence']} and never reached the provider")
    for track_id, events in seen.by_job("events").items():
        wrong += _unfounded(track_id, events, [row for key, row in rows.items() if key[0] == track_id])
    return wrong


def _unfounded(track_id: str, events: list[Row], attempts: list[Row]) -> list[str]:
    """Sends of a job that nothing recorded before them allowed."""
    wrong, sent, reason = [], Counter[int](), None
    for event in events:
        if event["type"] == "submit.retried":
            reason = (event["data"]["attempt"], event["data"]["evidence"])
        if event["type"] != "job.submitted":
            continue
        n = event["data"]["attempt"]
        again = sent[n] > 0
        if again and (reason is None or reason[0] != n or reason[1] in SPENDING):
            wrong.append(f"{track_id}: attempt {n} was sent again after {reason}")
        if not again and n > 1 and (reason is None or reason[0] != n - 1 or reason[1] not in SPENDING):
            wrong.append(f"{track_id}: attempt {n} was made after {reason}")
        sent[n] += 1
        reason = None
    recorded = {row["n"]: row["sends"] for row in attempts}
    if recorded != dict(sent):
        wrong.append(f"{track_id}: sends {recorded} on record, {dict(sent)} in the log")
    return wrong


def equal_keys_get_equal_answers(seen: Observation) -> list[str]:
    """I7. And each key made one job, however often it was sent."""
    wrong = [f"the client was refused: {refusal}" for refusal in seen.journal.refused]
    for key, answers in seen.journal.answers.items():
        different = {(answer.status_code, answer.location, answer.track_id) for answer in answers}
        if len(different) > 1:
            wrong.append(f"key {key} was answered differently: {sorted(different)}")
    by_key = {row["key"]: row["track_id"] for row in seen.tables["idempotency"]}
    wrong += [f"key {key} is not on record" for key in seen.journal.answers.keys() - by_key.keys()]
    return wrong + [f"{track_id} was made without a key" for track_id in seen.jobs.keys() - set(by_key.values())]


def the_log_is_gapless_and_only_grows(seen: Observation) -> list[str]:
    """I8."""
    events = seen.events
    wrong = [f"event {event['event_id']} has no number" for event in events if event["seq"] is None]
    numbers = sorted(event["seq"] for event in events if event["seq"] is not None)
    if numbers != list(range(1, len(numbers) + 1)):
        wrong.append(f"{len(numbers)} numbers from {numbers[:1]} to {numbers[-1:]}, with gaps or doubles")
    now = {event["event_id"]: event for event in events}
    for before in seen.earlier_events:
        after = now.get(before["event_id"])
        given = {} if before["seq"] is not None else {"seq": after and after["seq"]}
        chain = {name: after and after[name] for name in ("hash", "previous_hash") if before[name] is None}
        if after != before | given | chain:
            wrong.append(f"event {before['event_id']} was changed or removed")
    return wrong


def nothing_is_finished_by_a_stale_lease(seen: Observation) -> list[str]:
    """I10. What two holders of one lease would leave: a picture or a job finished twice, a lease or a slot for ever."""
    wrong = []
    for track_id, events in seen.by_job("events").items():
        ends = Counter(event["type"] for event in events)
        for kind in ("job.succeeded", "job.failed", "job.timed_out", "job.archived"):
            if track_id is not None and ends[kind] > 1:
                wrong.append(f"{track_id} has {ends[kind]} times {kind}")
    for track_id, job in seen.jobs.items():
        if job["status"] in TERMINAL and job["lease_owner"] is not None:
            wrong.append(f"{track_id} has ended and is still leased to {job['lease_owner']}")
    for track_id, slots in grouped(seen.tables["slots"]).items():
        if track_id is not None and (len(slots) > 1 or seen.jobs[track_id]["status"] in TERMINAL):
            wrong.append(f"{track_id} ({seen.jobs[track_id]['status']}) has {len(slots)} slots")
    leased = [image for image in seen.tables["images"] if image["status"] == "archived" and image["lease_owner"]]
    return wrong + [f"{image['image_id']} is archived and still leased" for image in leased]


def secrets_stand_nowhere(seen: Observation) -> list[str]:
    """I11."""
    return [
        f"{canary[:6]}… stands in {place}"
        for place, text in seen.texts.items()
        for canary in seen.canaries
        if canary in text
    ]


INVARIANTS: dict[str, Callable[[Observation], list[str]]] = {
    "I1": acknowledged_jobs_exist_and_end_well,
    "I2": answered_callbacks_are_on_record_and_applied,
    "I3": pictures_are_archived_once_and_whole,
    "I4": jobs_move_only_along_the_graph,
    "I5": submits_match_attempts,
    "I7": equal_keys_get_equal_answers,
    "I8": the_log_is_gapless_and_only_grows,
    "I10": nothing_is_finished_by_a_stale_lease,
    "I11": secrets_stand_nowhere,
}


def violations(seen: Observation) -> dict[str, list[str]]:
    """What is broken, by invariant; empty when all of them hold."""
    found = {name: check(seen) for name, check in INVARIANTS.items()}
    return {name: wrong for name, wrong in found.items() if wrong}
