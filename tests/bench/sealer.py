"""The worker's sealing alone, as a process of its own: the benchmark counts its CPU, and pictures are not fetched."""

import os
import sys
import time

from webhook_app.flows.seal import seal
from webhook_app.store.engine import Store

if __name__ == "__main__":
    store = Store(os.environ["DATABASE_URL"])
    print("sealing", flush=True)
    while sys.stdin is not None:
        if seal(store) == 0:
            time.sleep(0.03)
