"""Asking the provider to delete its copies of an erased job: when, for what, how often, and what is on record of it."""

import pytest

from tests.flows.erasing import Eraser
from tests.flows.world import success
from webhook_app.domain.advance import Verdict
from webhook_app.domain.erasure import ProviderCopy
from webhook_app.domain.outcome import Failed, Outcome, Running, Unconfirmed, Unread
from webhook_app.provider.port import Submission
from webhook_app.store.tables import Erasure

JOB_OF_FIVE_SECONDS = Running("7", 5.0)


def running(eraser: Eraser, answer: object = JOB_OF_FIVE_SECONDS) -> tuple[str, str]:
    """A job that the provider has in hand, and its erasure."""
    track_id = eraser.world.submit()
    eraser.world.send(answer)
    return track_id, eraser.ask(track_id)


def look(eraser: Eraser, *polls: object, **later: float) -> list[str]:
    """Go on after that time, with these answers to looks; returns what the provider was asked to delete by then."""
    eraser.world.later(**later)
    eraser.world.script.polls.extend(polls)
    eraser.go_on()
    return eraser.world.script.asked_to_delete


def test_a_running_job_is_canceled_and_what_it_holds_goes_at_once(eraser: Eraser) -> None:
    track_id, erasure_id = running(eraser)
    assert eraser.world.events(track_id)[-2:] == ["job.canceled", "job.erased"]
    assert look(eraser, Running("7")) == []
    assert eraser.world.job(track_id).input == {}
    assert eraser.erasure(erasure_id).status == "running"


@pytest.mark.parametrize("end", [success(), Failed("no", retryable=True)])
def test_the_provider_is_asked_when_it_is_done_with_the_job_however_long_that_takes(
    eraser: Eraser, end: Outcome
) -> None:
    _, erasure_id = running(eraser)
    for _ in range(30):
        assert look(eraser, Running("7"), minutes=20) == []
    assert look(eraser, end, minutes=20) == ["7"]
    assert eraser.erasure(erasure_id).provider_copy == "deleted"
    assert eraser.world.poll() == 0, "nobody else asks about an erased job"


def test_a_callback_that_tells_the_end_saves_the_looks(eraser: Eraser) -> None:
    world = eraser.world
    track_id, erasure_id = running(eraser)
    assert world.hear(track_id, success()) is Verdict.ERASED
    assert (look(eraser), world.script.polled) == (["7"], [])
    assert eraser.erasure(erasure_id).provider_copy == "deleted"
    assert (world.job(track_id).status, world.callbacks()[0].body) == ("canceled", None)


def test_the_provider_is_asked_before_its_pictures_end_whatever_it_is_doing(eraser: Eraser) -> None:
    _, erasure_id = running(eraser)
    look(eraser, Running("7"))
    assert look(eraser, Running("7"), hours=22, minutes=55) == []
    assert look(eraser, minutes=6) == ["7"]
    assert eraser.erasure(erasure_id).status == "done"


def test_looks_in_vain_end_and_then_the_provider_is_asked_all_the_same(eraser: Eraser) -> None:
    _, erasure_id = running(eraser)
    eraser.world.script.polls.extend([Unread("HTML")] * 100)
    eraser.finish()
    assert (len(eraser.world.script.polled), eraser.world.script.asked_to_delete) == (12, ["7"])
    assert eraser.erasure(erasure_id).provider_copy == "deleted"


def test_each_attempt_that_has_an_id_is_asked_about_once(eraser: Eraser) -> None:
    """What was deleted is not asked about again: the provider would not know it any more, and that is no refusal."""
    world = eraser.world
    track_id = world.submit()
    world.send(Failed("Try Again", retryable=True, provider_job_id="1"))
    world.later(seconds=60)
    world.send(success(provider_job_id="2"))
    erasure_id = eraser.ask(track_id)
    world.script.deletions.extend([ProviderCopy.DELETED, None, ProviderCopy.DELETED])
    eraser.go_on()
    assert (eraser.erasure(erasure_id).copies, eraser.erasure(erasure_id).status) == ({"1": "deleted"}, "running")
    assert [row.provider_job_id for row in world.attempts(track_id)] == [None, "2"]
    eraser.finish()
    assert world.script.asked_to_delete == ["1", "2", "2"]
    assert eraser.erasure(erasure_id).provider_copy == "deleted"
    assert [row.provider_job_id for row in world.attempts(track_id)] == [None, None]


@pytest.mark.parametrize("answer", [Running("9", 5.0), success(provider_job_id="9"), Unconfirmed("reset")])
def test_a_job_that_is_erased_while_it_is_sent_is_deleted_there_too(eraser: Eraser, answer: object) -> None:
    world = eraser.world
    track_id = world.submit()

    def meanwhile(_: Submission) -> None:
        eraser.ask(track_id)
        eraser.go_on()

    world.script.during = meanwhile
    world.send(answer)
    world.script.polls.append(success())
    eraser.finish()
    named = not isinstance(answer, Unconfirmed)
    assert world.script.asked_to_delete == ["9"] * named
    assert [row.provider_copy for row in world.rows(Erasure)] == ["deleted" if named else "unnamed"]
    job = world.job(track_id)
    assert (job.status, job.provider_meta, world.images(track_id)[0].sources) == ("canceled", {}, [])


def test_a_callback_may_name_what_the_submit_did_not(eraser: Eraser) -> None:
    world = eraser.world
    track_id, erasure_id = running(eraser, Unconfirmed("reset"))
    look(eraser, minutes=30)
    assert eraser.erasure(erasure_id).status == "running"
    world.hear(track_id, success(provider_job_id="9"))
    assert look(eraser, minutes=10) == ["9"]
    assert eraser.erasure(erasure_id).provider_copy == "deleted"


def test_an_id_that_comes_when_all_is_done_is_not_kept(eraser: Eraser) -> None:
    world = eraser.world
    track_id, erasure_id = running(eraser, Unconfirmed("reset"))
    eraser.finish()
    assert eraser.erasure(erasure_id).provider_copy == "unnamed"
    world.hear(track_id, success(provider_job_id="9"))
    assert [row.provider_job_id for row in world.attempts(track_id)] == [None]


@pytest.mark.parametrize(("said", "word"), [(ProviderCopy.REFUSED, "refused"), (None, "unanswered")])
def test_the_provider_s_answer_is_on_record_and_silence_is_asked_again(
    eraser: Eraser, said: ProviderCopy | None, word: str
) -> None:
    erasure_id = eraser.ask(eraser.archived())
    eraser.world.script.deletions.extend([said] * 100)
    eraser.finish()
    assert eraser.erasure(erasure_id).provider_copy == word
    assert len(eraser.world.script.asked_to_delete) == (1 if said else 12)
    assert eraser.world.attempts(eraser.erasure(erasure_id).track_id)[0].provider_job_id is None


def test_what_the_provider_keeps_no_more_it_is_not_asked_about(eraser: Eraser) -> None:
    track_id = eraser.archived()
    eraser.world.later(hours=24)
    erasure_id = eraser.ask(track_id)
    eraser.finish()
    assert (eraser.erasure(erasure_id).provider_copy, eraser.world.script.asked_to_delete) == ("expired", [])
