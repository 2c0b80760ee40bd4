"""Where the pictures are made, or so it looks: queue, GPUs, jobs and their callbacks. Knows no HTTP route."""

import heapq
import itertools
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from webhook_app.emulator import bodies, refusals
from webhook_app.emulator.behaviour import Fate, decide
from webhook_app.emulator.callbacks import CallbackSender
from webhook_app.emulator.job import PICTURE_NAME, Job, JobState
from webhook_app.emulator.ledger import Ledger
from webhook_app.emulator.options import CallbackHabit, EmulatorOptions, Ending, SubmitForm
from webhook_app.emulator.submission import Submission
from webhook_app.emulator.timer import Timer

LONGEST_HOLD_S = 60.0
AT_ONCE_FORMS = frozenset({SubmitForm.SUCCESS, SubmitForm.SUCCESS_NULL_ID, SubmitForm.SUCCESS_INT_ID})
CALLBACKS = {CallbackHabit.NEVER: 0, CallbackHabit.ONCE: 1, CallbackHabit.TWICE: 2}


class Studio:
    """Thread-safe. Ids are fresh in every run (they start at a number taken from the clock), fates and seeds repeat."""

    def __init__(self, options: EmulatorOptions) -> None:
        self.options = options
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

    def reset(self) -> None:
        """Forget jobs, repeat counts and the ledger, so that a run can be repeated. Jobs under way end in silence."""
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
        """Take a job into the queue, its fate decided. Raises Refusal for a full queue or a fate that is one."""
        with self._lock:
            self._check_queue()
            fate = self._fate(asked)
            if fate.submit_form is SubmitForm.FAILED:
                raise refusals.failed_at_once()
            if fate.submit_form is SubmitForm.ERROR:
                raise refusals.server_error()
            job = self._enqueue(asked, fate, base, fetch_path)
        self.timer.at(job.done_at, lambda: self._end(job))
        return job

    def _check_queue(self) -> None:
        limit = self.options.max_queued
        if limit and len(self._open) >= limit:
            raise refusals.queue_full(limit, self.options.retry_after_s)

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
        job = Job(next(self._ids), str(uuid.uuid4()), base, fetch_path, asked, fate, seed, starts_at, done_at)
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
        """The submit's answer. Holds the request: until the job is done for a form that must show success, for `wait_s`
        where the caller did not ask for an instant response, else not at all."""
        form = job.fate.submit_form
        if form in AT_ONCE_FORMS:
            job.ended.wait(LONGEST_HOLD_S)
        elif form is SubmitForm.AUTO and not job.submission.instant_response:
            job.ended.wait(self.options.wait_s)
        if form is SubmitForm.PROCESSING or (form is SubmitForm.AUTO and job.submission.instant_response):
            return self._show(job, SubmitForm.PROCESSING)
        match job.state:
            case JobState.SUCCESS:
                return self._show(job, SubmitForm.SUCCESS if form is SubmitForm.AUTO else form)
            case JobState.FAILED:
                return self._show(job, SubmitForm.FAILED)
            case JobState.PROCESSING:
                return self._show(job, SubmitForm.PROCESSING)

    def _show(self, job: Job, form: SubmitForm) -> dict[str, Any]:
        job.shown_form = form
        if form is SubmitForm.PROCESSING:
            return bodies.processing(job, self.timer.now())
        return bodies.failed(job) if form is SubmitForm.FAILED else bodies.success(job, form)

    def answered(self, job: Job) -> None:
        """To be called when the submit's answer has left: callbacks that overtake it are misbehaviour, not the rule."""
        with self._lock:
            job.answered = True
        self._release_callback(job)

    def _release_callback(self, job: Job) -> None:
        with self._lock:
            if not job.answered or job.state is JobState.PROCESSING or job.called_back:
                return
            job.called_back = True
        if job.submission.webhook and CALLBACKS[job.fate.callback]:
            when = self.timer.now() + job.fate.callback_delay_s
            self.timer.at(when, lambda: self._sender.submit(lambda: self._call_back(job)))

    def _call_back(self, job: Job) -> None:
        body = bodies.php_json(bodies.callback(job))
        for turn in range(1, CALLBACKS[job.fate.callback] + 1):
            sent_at = time.time()
            reply = self._sender.post(job.submission.webhook or "", body)
            self.record(
                "callback",
                job,
                turn=turn,
                sent_at=round(sent_at, 6),
                webhook=job.submission.webhook,
                body=body,
                http_status=reply.http_status,
                error=reply.error,
            )

    def record(self, kind: str, job: Job | None, **facts: Any) -> None:
        """Write to the ledger, about a job if there is one."""
        about = {} if job is None else {"track_id": job.submission.track_id, "id": job.id}
        self.ledger.record(kind, at=time.time(), **about, **facts)

    def record_accepted(self, job: Job, facts: dict[str, Any]) -> None:
        """The submit's entry: written before the answer, so that it stands even if the answer never arrives."""
        self.record("submit", job, refused=None, fate=asdict(job.fate), seed=job.seed, prefix=job.prefix, **facts)

    def find(self, job_id: int) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def picture(self, name: str, path: str) -> tuple[Job, int] | None:
        """The job and index of a finished picture, or None: unknown, unfinished, or one of the first k reads."""
        parts = PICTURE_NAME.fullmatch(name)
        if parts is None:
            return None
        with self._lock:
            job = self._by_prefix.get(parts["prefix"])
            if job is None or job.state is not JobState.SUCCESS or not _ends_one_of(path, job.picture_urls()):
                return None
            job.reads[name] = job.reads.get(name, 0) + 1
            return None if job.reads[name] <= job.fate.picture_404_first_k else (job, int(parts["index"]))


def _ends_one_of(path: str, urls: Iterable[str]) -> bool:
    return any(url.endswith(path) for url in urls)
