"""The storm: jobs under every fault of the provider, while processes of ours are killed and PostgreSQL is restarted."""

import contextlib
import json
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import databases
from tests.crash.fleet import Fleet, fleet
from tests.crash.invariants import INVARIANTS, nobody_knows
from tests.crash.journal import Journal
from tests.crash.observation import Observation, Row, observe, rows_of
from tests.e2e.installation import Installation, eventually, installation
from webhook_app.domain.job import ARCHIVE_SETTLED, TERMINAL, Status
from webhook_app.store import migrations

# 5 % of each; times are short, so that the faults and not the waiting fill the run.
FAULTS: dict[str, object] = {
    "delay_s": 0.2,
    "parallel": 50,
    "silence_s": 2,
    "slow_s": 2,
    "retry_after_s": 1,
    "callback_late_s": 3,
    "picture_fault_reads": 2,
    "burst_every": 40,
    "burst_length": 2,
    "submit_fault": "none=45,reset_before_read=5,reset_after_read=5,silent=5,headers_only=5,cut=5,slow=5,html_502=5,"
    "html_502_taken=5,garbage=5,json_503=5,rate_limited=5",
    "callback": "once=50,twice=5,never=5,late=5,early=5,reordered=5,untracked=5,malformed=5,huge=5,html=5,forged=5",
    "fetch_form": "thin=70,processing=5,unknown=5,other_job=5,html=5,missing_pictures=5,error=5",
    "picture_fault": "none=85,not_found=5,html=5,forbidden=5",
    "ending": "success=95,failed=5",
}
# PostgreSQL is stopped when these shares of the jobs are acknowledged.
RESTARTS = ((0.35, signal.SIGINT), (0.7, signal.SIGQUIT))
STARTED = re.compile(r'"event": "worker\.started"|Booting worker with pid')
DOUBLED = 0.1


@dataclass(frozen=True)
class Plan:
    """What is asked of a run; its dice are the seed's. `every_end`: also of a job of which the provider tells nobody
    the end is waited for, which is its time-out."""

    jobs: int
    seed: int
    least_kills: int = 20
    most_kills: int | None = None
    kill_every_s: float = 1.0
    job_timeout_s: int = 900
    every_end: bool = False
    patience_s: float = 240.0
    clients: int = 8
    in_flight: int = 20


@dataclass
class Storm:
    """One run over an installation, and its figures."""

    plan: Plan
    app: Installation
    own: databases.OwnServer | None
    journal: Journal = field(default_factory=Journal)
    kills: int = 0
    stops: list[str] = field(default_factory=list)
    earlier_events: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    reached: dict[str, float] = field(default_factory=dict)

    def run(self) -> Observation:
        """Everything until it is quiet, and a look at all of it."""
        self.app.provider(seed=self.plan.seed, **FAULTS)
        dice = random.Random(self.plan.seed)
        with fleet(self.app) as ours:
            clients = threading.Thread(target=self._submit, args=(random.Random(self.plan.seed),), daemon=True)
            clients.start()
            self._rage(ours, clients, dice)
            clients.join()
            eventually(self.is_quiet, "everything has ended", self.plan.patience_s)
            self._reach("all had ended")
            self.journal.repeat_some(self.app, dice)
            return observe(self.app, self.journal, earlier_events=self.earlier_events)

    def _submit(self, dice: random.Random) -> None:
        self.journal.submit_many(self.app, self.plan.jobs, at_once=self.plan.clients, doubled=DOUBLED, dice=dice)
        self._reach("all were acknowledged")

    def _reach(self, what: str) -> None:
        self.reached[what] = time.monotonic() - self.began

    def _rage(self, ours: Fleet, clients: threading.Thread, dice: random.Random) -> None:
        """Kill one process each second while there are clients, and until enough were killed."""
        stops = list(RESTARTS if self.own else ())
        until = time.monotonic() + self.plan.patience_s + 2.0 * self.plan.jobs
        while (clients.is_alive() or self.kills < self.plan.least_kills or stops) and time.monotonic() < until:
            time.sleep(self.plan.kill_every_s)
            if self.plan.most_kills is None or self.kills < self.plan.most_kills:
                self.kills += ours.kill_one(dice)
                self._reach("the last kill")
            if stops and len(self.journal.answers) >= stops[0][0] * self.plan.jobs:
                self._restart_database(stops.pop(0)[1])

    def _restart_database(self, how: signal.Signals) -> None:
        assert self.own is not None
        self.earlier_events = rows_of(self.app.env["DATABASE_URL"], "events")["events"]
        self.own.stop(how)
        time.sleep(1.0)
        self.own.start()
        self.stops.append(how.name)

    def is_quiet(self) -> bool:
        """Whether nothing is to be expected any more."""
        tables = rows_of(self.app.env["DATABASE_URL"], "jobs", "events", "callbacks")
        if any(row["seq"] is None for row in tables["events"]) or self._spooled_now():
            return False
        if any(row["applied_at"] is None for row in tables["callbacks"]):
            return False
        open_ones = [job for job in tables["jobs"] if not has_ended(job)]
        return len(open_ones) < self.plan.jobs / 4 and all(self._may_stay(job) for job in open_ones)

    def _may_stay(self, job: Row) -> bool:
        if self.plan.every_end or job["status"] != Status.PROCESSING:
            return False
        track_id = job["track_id"]
        return nobody_knows(self.app.ledger("submit", track_id), self.app.ledger("callback", track_id))

    def _spooled_now(self) -> bool:
        spool = Path(self.app.env["DATA_DIR"]) / "spool"
        return any(path.stat().st_size for path in spool.glob("*.spool"))

    def figures(self, seen: Observation) -> dict[str, object]:
        """For people."""
        submits, callbacks = seen.ledger("submit"), seen.ledger("callback")
        answered = Counter(str(entry["http_status"]) for entry in callbacks)
        started = sum(len(STARTED.findall(process.log.read_text(errors="replace"))) for process in self.app.processes)
        return {
            "jobs": len(seen.jobs),
            "answers to clients": f"{sum(map(len, self.journal.answers.values()))} of {self.journal.tries} requests",
            "kill -9": self.kills,
            "PostgreSQL stopped by": ", ".join(self.stops) or "-",
            "processes that came up": started,
            "ended": _shown(Counter(job["status"] for job in seen.jobs.values())),
            "submits": f"{len(submits)}, taken {sum(bool(entry['taken']) for entry in submits)}",
            "repeats after unconfirmed": sum(bool(row["repeats_unconfirmed"]) for row in seen.tables["attempts"]),
            "callbacks given": f"{len(callbacks)}, answered {_shown(answered)}",
            "callbacks kept": f"{len(seen.tables['callbacks'])}, through the spool {spooled(seen)}",
            "pictures archived": sum(image["status"] == "archived" for image in seen.tables["images"]),
            "events": len(seen.events),
            **{f"{what} after": f"{seconds:.0f} s" for what, seconds in self.reached.items()},
        }


def has_ended(job: Row) -> bool:
    """Terminal, and its pictures are settled."""
    settled = job["status"] != Status.SUCCEEDED or job["archive_status"] in ARCHIVE_SETTLED
    return job["status"] in TERMINAL and settled


def spooled(seen: Observation) -> int:
    """How many callbacks went into the spool, by the logs of web."""
    lines = [line for name, text in seen.texts.items() if name.startswith("web-") for line in text.splitlines()]
    told = [line for line in lines if '"callback.spooled"' in line and line.endswith("}")]
    return sum(json.loads(line)["count"] for line in told)


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())


def verdicts(seen: Observation) -> dict[str, list[str]]:
    """Each invariant with its violations."""
    return {name: check(seen) for name, check in INVARIANTS.items()}


@contextlib.contextmanager
def prepared(plan: Plan, kind: str, folder: Path, port: int) -> Iterator[Storm]:
    """An installation for the storm, on SQLite or on a PostgreSQL of its own."""
    with contextlib.ExitStack() as stack:
        own = None
        if kind == "postgresql":
            own = stack.enter_context(databases.own_server())
            url = stack.enter_context(databases.postgresql_database(own.url))
        else:
            url = f"sqlite:///{folder / 'database.db'}"
        migrations.upgrade(url)
        app = stack.enter_context(installation(url, folder, port))
        app.env |= {
            "SUBMIT_CONFIRM_S": "2",
            "SUBMIT_ATTEMPTS": "50",
            "REPEATS_PER_HOUR": "100000",
            "MODELSLAB_MAX_IN_FLIGHT": str(plan.in_flight),
            "JOB_TIMEOUT_S": str(plan.job_timeout_s),
            "WEB_CONCURRENCY": "1" if own is None else "2",
        }
        try:
            yield Storm(plan, app, own)
        finally:
            if own is not None and not databases.answers(own.url):
                own.start()
