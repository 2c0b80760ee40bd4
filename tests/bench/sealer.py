"""The worker's sealing alone, as a process of its own: the benchmark counts its CPU, and pictures are not fetched. It
prints a line when it has sealed for the first time."""

import threading
from collections.abc import Callable

from webhook_app import wiring
from webhook_app.settings import load_settings
from webhook_app.store.listen import Wakeups
from webhook_app.worker.loop import run
from webhook_app.worker.ticks import SEAL_REST_S, SWEEP_S, Ticking, Ticks


class FirstTold:
    """A tick that says so on the standard output when it first had something to do."""

    def __init__(self, tick: Callable[[], int]) -> None:
        self._tick, self._told = tick, False

    def __call__(self) -> int:
        done = self._tick()
        if done and not self._told:
            self._told = True
            print("sealed", flush=True)
        return done


if __name__ == "__main__":
    ticks = Ticks(wiring.build(load_settings()), owner="bench")
    wakeups = Wakeups(ticks.parts.store)
    wakeups.subscribe(ticks.wake)
    wakeups.start()
    sealing = Ticking("seal", FirstTold(ticks.seal), SWEEP_S, rest_s=SEAL_REST_S, wake=ticks.seal_wake)
    run(sealing, threading.Event())
