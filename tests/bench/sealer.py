"""The worker's sealing alone, as a process of its own: the benchmark counts its CPU, and pictures are not fetched."""

import threading

from webhook_app import wiring
from webhook_app.settings import load_settings
from webhook_app.store.listen import Wakeups
from webhook_app.worker.loop import run
from webhook_app.worker.ticks import SEAL_REST_S, SWEEP_S, Ticking, Ticks

if __name__ == "__main__":
    ticks = Ticks(wiring.build(load_settings()), owner="bench")
    wakeups = Wakeups(ticks.parts.store)
    wakeups.subscribe(ticks.wake)
    wakeups.start()
    sealing = Ticking("seal", ticks.seal, SWEEP_S, rest_s=SEAL_REST_S, wake=ticks.seal_wake)
    run(sealing, threading.Event())
