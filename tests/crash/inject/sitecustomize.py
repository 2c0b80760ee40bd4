"""Named crash points, put into a process from outside: on PYTHONPATH and with `CRASH_AT` set, it dies there by SIGKILL.

`CRASH_AT` is `each:N` (die at the first N visits of every point) or a list `POINT:N,…` (die at the Nth visit of POINT).
`CRASH_NOTES` is a directory: a note `POINT:N` is left there before a death, and nobody dies where a note lies, so that
restarted processes go on to the next point. A point is `MODULE.FUNCTION:MOMENT`, the innermost function of
`webhook_app/flows` that is at work. The moments:

    before_commit, after_commit    of a transaction that has written something
    before_connect, before_send    of a call to a stranger
    before_link                    of an object's appearance in the archive
    after_call                     the stranger has answered, and no transaction has begun yet

Nothing here may import what gevent patches: SQLAlchemy is listened to once somebody else has imported it.
"""

import os
import re
import signal
import sys
from typing import Any

FLOWS = "/webhook_app/flows/"
OUTWARD = {"socket.connect": "before_connect", "http.client.send": "before_send", "os.link": "before_link"}
# A row locked FOR UPDATE is not written.
WRITES = re.compile(r"(?<!FOR )(?<!KEY )\b(INSERT INTO|UPDATE|DELETE FROM)\b")


class CrashPoints:
    """Counts the visits of this process, and ends it where the plan says so."""

    def __init__(self, plan: str, notes: str) -> None:
        self.notes = notes
        kind, _, times = plan.partition(":")
        self.each = int(times or 1) if kind == "each" else 0
        self.chosen = frozenset() if self.each else frozenset(plan.split(","))
        self.listening = self.watching = False
        self.wrote: set[int] = set()
        self.called: dict[int, str] = {}
        self.visits: dict[str, int] = {}

    def audit(self, event: str, _arguments: tuple[Any, ...]) -> None:
        """Every import may be the one after SQLAlchemy's; calls to strangers are points."""
        if event == "import":
            if not self.listening:
                self.listen()
            if not self.watching:
                self.watch()
        elif event in OUTWARD:
            place = at_work()
            if place is not None:
                self.called[thread()] = place
                self.visit(f"{place}:{OUTWARD[event]}")

    def listen(self) -> None:
        spec = getattr(sys.modules.get("sqlalchemy"), "__spec__", None)
        if spec is None or getattr(spec, "_initializing", False):
            return
        self.listening = True
        from sqlalchemy import Engine, Pool, event

        event.listen(Engine, "begin", self.begin)
        event.listen(Engine, "after_cursor_execute", self.executed)
        event.listen(Engine, "commit", self.before_commit)
        event.listen(Engine, "rollback", self.rolled_back)
        event.listen(Pool, "checkin", self.returned)

    def watch(self) -> None:
        """The statements that the driver runs without SQLAlchemy: it tells of none of them."""
        driven = sys.modules.get("webhook_app.store.driven")
        if driven is None or getattr(driven.__spec__, "_initializing", False):
            return
        self.watching = True
        plain = driven.Driven._answer

        def watched(statement: Any, connection: Any, given: Any) -> Any:
            cursor, found = plain(statement, connection, given)
            self.noted(connection, cursor, statement._text)
            return cursor, found

        driven.Driven._answer = watched

    def begin(self, connection: Any) -> None:
        place = self.called.pop(thread(), None)
        if place is not None:
            self.visit(f"{place}:after_call")
        self.wrote.discard(id(connection.connection.driver_connection))

    def executed(self, connection: Any, cursor: Any, statement: str, *_more: Any) -> None:
        self.noted(connection.connection.driver_connection, cursor, statement)

    def noted(self, driver: Any, cursor: Any, statement: str) -> None:
        if WRITES.search(statement) and (cursor.rowcount != 0 or "RETURNING" in statement):
            self.wrote.add(id(driver))

    def before_commit(self, connection: Any) -> None:
        place = at_work()
        if place is not None and id(connection.connection.driver_connection) in self.wrote:
            self.visit(f"{place}:before_commit")
            connection.info["crash_committing"] = place

    def rolled_back(self, connection: Any) -> None:
        connection.info.pop("crash_committing", None)

    def returned(self, _raw: Any, record: Any) -> None:
        """The pool has the connection back: what was to be committed is."""
        place = record.info.pop("crash_committing", None)
        if place is not None:
            self.visit(f"{place}:after_commit")

    def visit(self, point: str) -> None:
        count = self.visits[point] = self.visits.get(point, 0) + 1
        if self.each:
            for turn in range(1, self.each + 1):
                self.die_once(f"{point}:{turn}")
        elif f"{point}:{count}" in self.chosen:
            self.die_once(f"{point}:{count}")

    def die_once(self, note: str) -> None:
        try:
            os.close(os.open(os.path.join(self.notes, note), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def at_work() -> str | None:
    """The innermost function of the flows on this thread's stack; None when no flow is at work."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if FLOWS in code.co_filename and not code.co_name.startswith("<"):
            return f"{os.path.basename(code.co_filename).removesuffix('.py')}.{code.co_name}"
        frame = frame.f_back
    return None


def thread() -> int:
    """Under gevent a greenlet."""
    import _thread

    return _thread.get_ident()


if os.environ.get("CRASH_AT"):
    sys.addaudithook(CrashPoints(os.environ["CRASH_AT"], os.environ["CRASH_NOTES"]).audit)
