"""The worker's sealing alone, as a process of its own: the benchmark counts its CPU, and pictures are not fetched. It
prints a line when it is at work."""

import threading
from collections.abc import Callable

from webhook_app import wiring
from webhook_app.settings import load_settings
from webhook_app.store.listen import Wakeups
from webhook_app.worker.loop import run
from webhook_app.worker.ticks import SEAL_REST_S, SWEEP_S, Ticking, Ticks


def told_once(tick: Callable[[], int]) -> Callable[[], int]:
    """The tick; it says so on the standard output when it has run for the first time."""
    first = iter(["at work"])

    def run_and_tell() -> int:
        done = tick()
        for word in first:
            print(word, flush=True)
        return done

    return run_and_tell


if __name__ == "__main__":
    ticks = Ticks(wiring.build(load_settings()), owner="bench")
    wakeups = Wakeups(ticks.parts.store)
    wakeups.subscribe(ticks.wake)
    wakeups.start()
    sealing = Ticking("seal", told_once(ticks.seal), SWEEP_S, rest_s=SEAL_REST_S, wake=ticks.seal_wake)
    run(sealing, threading.Event())
