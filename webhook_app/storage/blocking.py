"""What blocks outside Python's sockets. Under gevent that would stop every request of the process, so it goes through
gevent's pool of real threads there; elsewhere the calling thread may as well wait itself."""

import sys
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def blocking(call: Callable[[], Answer]) -> Answer:
    """The call's answer, or what it raises."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return call()
    import gevent

    answer: Answer = gevent.get_hub().threadpool.apply(call)
    return answer
