"""Where the pictures are made, or so it looks: queue, GPUs, jobs and their callbacks. Knows no HTTP route."""

import heapq
import itertools
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from webhook_app.emulator import bodies, refusals
from webhook_app.emulator.behaviour import Fate, decide
from webhook_app.emulator.callbacks import CallbackSender
from webhook_app.emulator.job import PICTURE_NAME, Job, JobState
from webhook_app.emulator.ledger import Ledger
from webhook_app.emulator.options import EmulatorOptions, changed
from webhook_app.emulator.postings import Posting, excerpt, postings
from webhook_app.emulator.shaping import shaped
from webhook_app.emulator.submission import Submission
from webhook_app.emulator.timer import Timer
from webhook_app.emulator.words import CallbackHabit, Ending, PictureFault, SubmitFault, SubmitForm

LONGEST_HOLD_S = 60.0
AT_ONCE_FORMS = frozenset({SubmitForm.SUCCESS, SubmitForm.SUCCESS_NULL_ID, SubmitForm.SUCCESS_INT_ID})
SAID_LIMIT = 5  # What a 429 names when there is no limit: the smallest public plan's.


class Reading(NamedTuple):
    """One read of a picture: which, and what goes wrong with it. `job` None: there is no such picture."""

    job: Job | None
    number: int
    fault: PictureFault


NO_PICTURE = Reading(None, 0, PictureFault.NOT_FOUND)


class Studio:
    """Thread-safe. Ids are fresh in every run (they start at a number taken from the clock), fates and seeds repeat."""

    def __init__(self, options: EmulatorOptions, stopping: threading.Event) -> None:
        self.options = options
        self._stopping = stopping
        self.ledger = Ledger(options.remember)
        self.timer = Timer()
        self._sender = CallbackSender()
        self._lock = threading.RLock()
        self._ids = itertools.count(100_000_000 + int(time.time() * 10) % 800_000_000)
        self._forget()

    def _forget(self) -> None:
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._by_prefix: dict[str, Job] = {}
        self._repeats: OrderedDict[str, int] = OrderedDict()
        self._open: dict[int, Job] = {}
        self._gpus: list[float] = []
        self._burst_place = 0

    def reconfigure(self, changes: Mapping[str, Any]) -> None:
        """Change the options for jobs that come from now on. Other bursts begin anew. Raises OptionError."""
        with self._lock:
            before, self.options = self.options, changed(self.options, changes)
            if (before.burst_every, before.burst_length) != (self.options.burst_every, self.options.burst_length):
                self._burst_place = 0

    def reset(self) -> None:
        """Forget jobs, repeat and burst counts and the ledger: a run can be repeated. Jobs under way end in silence."""
        with self._lock:
            self._forget()
            self.ledger.clear()

    def clear_queue(self) -> None:
        """Every unfinished job stays "processing" for ever: no picture, no callback."""
        with self._lock:
            self._open = {}
            self._gpus = []

    def backlog_s(self) -> int:
        """Whole seconds until the last queued job is done."""
        with self._lock:
            last = max((job.done_at for job in self._open.values()), default=0.0)
        return max(0, int(last - self.timer.now()))

    def place(self, asked: Submission, *, base: str, fetch_path: str) -> Job:
        """Take a job into the queue, its fate decided. Raises Refusal for a full queue, a burst or a fate that is one.

        The first two do not count as a coming of the input: they are about the emulator, not about the input.
        """
        with self._lock:
            self._check_queue()
            self._check_burst()
            fate = self._fate(asked)
            self._check_fate(fate)
            self._burst_place += 1
            job = self._enqueue(asked, fate, base, fetch_path)
        self.timer.at(job.done_at, lambda: self._end(job))
        return job

    def _check_queue(self) -> None:
        limit = self.options.max_queued
        if limit and len(self._open) >= limit:
            raise refusals.rate_limited(limit, self.options.retry_after_s)

    def _check_burst(self) -> None:
        """`burst_every` accepted, `burst_length` refused, and so on."""
        every, length = self.options.burst_every, self.options.burst_length
        if not every or not length or self._burst_place < every:
            return
        self._burst_place = (self._burst_place + 1) % (every + length)
        raise refusals.rate_limited(self.options.max_queued or SAID_LIMIT, self.options.retry_after_s)

    def _check_fate(self, fate: Fate) -> None:
        limit = self.options.max_queued or SAID_LIMIT
        refusal = refusals.ordered(fate.submit_fault, limit=limit, retry_after_s=self.options.retry_after_s)
        if refusal is None and fate.submit_form is SubmitForm.FAILED:
            refusal = refusals.failed_at_once()
        if refusal is None and fate.submit_form is SubmitForm.ERROR:
            refusal = refusals.server_error()
        if refusal is not None:
            raise refusal.worded(fate.shape.message)

    def _fate(self, asked: Submission) -> Fate:
        digest = asked.digest()
        repeat = self._repeats.pop(digest, 0)
        self._repeats[digest] = repeat + 1
        while len(self._repeats) > self.options.remember:
            self._repeats.popitem(last=False)
        return decide(self.options, digest=digest, repeat=repeat)

    def _enqueue(self, asked: Submission, fate: Fate, base: str, fetch_path: str) -> Job:
        """A GPU is a number: the time at which it is free. The earliest one takes the job."""
        now = free = self.timer.now()
        while len(self._gpus) >= self.options.parallel:
            free = heapq.heappop(self._gpus)
        starts_at = max(now, free)
        done_at = starts_at + self.options.delay_s
        heapq.heappush(self._gpus, done_at)
        seed = fate.drawn_seed if asked.seed is None else asked.seed
        job = Job(next(self._ids), str(uuid.uuid4()), base, fetch_path, asked, fate, seed, starts_at, done_at, now)
        self._jobs[job.id] = self._by_prefix[job.prefix] = self._open[job.id] = job
        while len(self._jobs) > self.options.remember:
            _, oldest = self._jobs.popitem(last=False)
            self._by_prefix.pop(oldest.prefix, None)
        return job

    def _end(self, job: Job) -> None:
        with self._lock:
            if self._open.pop(job.id, None) is None:
                return  # The queue was cleared in the meantime.
            job.state = JobState.SUCCESS if job.fate.ending is Ending.SUCCESS else JobState.FAILED
        job.ended.set()
        self._release_callback(job)

    def first_answer(self, job: Job) -> dict[str, Any]:
        """The submit's answer. Holds the request as `_form` says, and then until an early callback was answered."""
        job.shown_form = self._form(job)
        if job.fate.callback is CallbackHabit.EARLY:
            job.ended.wait(LONGEST_HOLD_S)
            if self._claim_callback(job):
                self._call_back(job)
        return shaped(bodies.submitted(job, job.shown_form, self.timer.now()), job.fate.shape)

    def _form(self, job: Job) -> SubmitForm:
        """Holds the request: until the job is done for a form that must show success, for `wait_s` where the caller
        did not ask for an instant response, else not at all."""
        form = job.fate.submit_form
        if form in AT_ONCE_FORMS:
            job.ended.wait(LONGEST_HOLD_S)
        elif form is SubmitForm.AUTO and not job.submission.instant_response:
            job.ended.wait(self.options.wait_s)
        if form is SubmitForm.PROCESSING or (form is SubmitForm.AUTO and job.submission.instant_response):
            return SubmitForm.PROCESSING
        match job.state:
            case JobState.SUCCESS:
                return SubmitForm.SUCCESS if form is SubmitForm.AUTO else form
            case JobState.FAILED:
                return SubmitForm.FAILED
            case JobState.PROCESSING:
                return SubmitForm.PROCESSING

    def hold(self, job: Job, seconds: float) -> bool:
        """Keep the request waiting, but not the callback. True: the emulator is stopping, there is no time left."""
        self.answered(job)
        return self._stopping.wait(seconds)

    def pause(self, seconds: float) -> bool:
        """Keep a picture waiting. True: the emulator is stopping."""
        return self._stopping.wait(seconds)

    def answered(self, job: Job) -> None:
        """To be called when the submit's answer has left: callbacks that overtake it are misbehaviour, not the rule."""
        with self._lock:
            job.answered = True
        self._release_callback(job)

    def _release_callback(self, job: Job) -> None:
        if job.answered and self._claim_callback(job):
            when = self.timer.now() + job.fate.callback_delay_s
            self.timer.at(when, lambda: self._sender.submit(lambda: self._call_back(job)))

    def _claim_callback(self, job: Job) -> bool:
        """True once for each job that is done."""
        with self._lock:
            if job.state is JobState.PROCESSING or job.called_back:
                return False
            job.called_back = True
            return True

    def _call_back(self, job: Job) -> None:
        for turn, posting in enumerate(postings(job), 1):
            self._post(job, turn, posting)

    def _post(self, job: Job, turn: int, posting: Posting) -> None:
        sent_at = time.time()
        reply = self._sender.post(posting)
        self.record(
            "callback",
            job,
            turn=turn,
            says=posting.says,
            sent_at=round(sent_at, 6),
            webhook=posting.url,
            body=excerpt(posting.body),
            http_status=reply.http_status,
            error=reply.error,
        )

    def record(self, kind: str, job: Job | None, **facts: Any) -> None:
        """Write to the ledger, about a job if there is one."""
        about = {} if job is None else {"track_id": job.submission.track_id, "id": job.id}
        self.ledger.record(kind, at=time.time(), **about, **facts)

    def record_accepted(self, job: Job, facts: dict[str, Any]) -> None:
        """The submit's entry: written before the answer, so that it stands even if the answer never arrives."""
        fault = job.fate.submit_fault
        verdict = {"taken": True, "refused": None, "fault": None if fault is SubmitFault.NONE else fault}
        self.record("submit", job, **verdict, fate=asdict(job.fate), seed=job.seed, prefix=job.prefix, **facts)

    def find(self, job_id: int) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def another(self, job: Job) -> Job:
        """The newest finished job that is not the given one; an invented one when there is none."""
        with self._lock:
            others = (other for other in reversed(self._jobs.values()) if other is not job)
            found = next((other for other in others if other.state is JobState.SUCCESS), None)
            return found or replace(job, id=next(self._ids), prefix=str(uuid.uuid4()), state=JobState.SUCCESS)

    def delete(self, job: Job) -> bool:
        """Remove the pictures of a job. False when it has none, or none any more."""
        with self._lock:
            deleted = job.state is JobState.SUCCESS and not job.deleted
            job.deleted = job.deleted or deleted
            return deleted

    def picture(self, name: str, path: str) -> Reading:
        """What a read of a picture gives; unknown and unfinished ones are not found."""
        parts = PICTURE_NAME.fullmatch(name)
        if parts is None:
            return NO_PICTURE
        with self._lock:
            job = self._by_prefix.get(parts["prefix"])
            shown = job is not None and job.state is JobState.SUCCESS and not job.deleted
            if job is None or not shown or not _ends_one_of(path, job.picture_urls()):
                return NO_PICTURE
            if self.timer.now() >= job.placed_at + job.fate.lifetime_s:
                return Reading(job, int(parts["index"]), PictureFault.NOT_FOUND)
            job.reads[name] = job.reads.get(name, 0) + 1
            return Reading(job, int(parts["index"]), _picture_fault(job.fate, job.reads[name]))


def _picture_fault(fate: Fate, read: int) -> PictureFault:
    """Of the `read`-th read, from 1. The 404s that are told as a number hold beside the mix."""
    if read <= fate.picture_fault_first_k and fate.picture_fault is not PictureFault.NONE:
        return fate.picture_fault
    return PictureFault.NOT_FOUND if read <= fate.picture_404_first_k else PictureFault.NONE


def _ends_one_of(path: str, urls: Iterable[str]) -> bool:
    return any(url.endswith(path) for url in urls)
