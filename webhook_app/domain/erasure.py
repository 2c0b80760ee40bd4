"""Words of erasing: how far it is, and what became of the provider's copy."""

from collections.abc import Iterable
from enum import StrEnum


class ErasureStatus(StrEnum):
    """There is no failure: an erasure is tried until it is done."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"


class ProviderCopy(StrEnum):
    """What became of the provider's copy, from the best to the worst: it never had any; said that it deleted it; lets
    it expire by its own rule; said no, or that it knows nothing of it (any more); gave no id to ask by; gave no answer,
    however often it was asked."""

    NONE = "none"
    DELETED = "deleted"
    EXPIRED = "expired"
    REFUSED = "refused"
    UNNAMED = "unnamed"
    UNANSWERED = "unanswered"


def worst(copies: Iterable[ProviderCopy]) -> ProviderCopy:
    """What to say of several copies together; `none` of no copy."""
    ranks = list(ProviderCopy)
    return max(copies, key=ranks.index, default=ProviderCopy.NONE)
