"""The garbage collector, kept away from what lives as long as the process: a quarter of a start is spent on modules
that are just being made, and every full collection later would stop all requests to look through them."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Whatever is made within the block is never looked through."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
