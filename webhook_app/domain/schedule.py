"""When things are due: first polls, back-off, deadlines. Spans are timedeltas; `jitter` is a number in [0, 1) from the
door."""

from datetime import timedelta

CLAIM_LEASE = timedelta(seconds=30)
LEASE_RENEWAL = timedelta(seconds=10)
# A submit begins only with this much of its lease left, so that nobody else can take the job meanwhile.
LEASE_MARGIN = timedelta(seconds=10)
SUBMIT_TIMEOUT = timedelta(seconds=75)

PICTURE_LIFETIME = timedelta(hours=24)
AT_RISK = timedelta(hours=4)

FIRST_POLL_LEAST = timedelta(seconds=2)
FIRST_POLL_MOST = timedelta(seconds=60)
POLL_MOST = timedelta(seconds=30)
# After a time-out the provider may still finish: every attempt with an id is asked again at these ages.
LATE_LOOKS = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6))

# A job that was accepted without an id cannot be asked about: its callback has this long, or twice its eta.
SILENCE_LEAST = timedelta(seconds=60)
OVERDUE_LEAST = timedelta(seconds=60)
CONFIRM_MOST = timedelta(hours=1)

LAST_LOOK_AGAIN = timedelta(minutes=5)
LAST_LOOK_WITHIN = LATE_LOOKS[-1] + timedelta(hours=1)

PAUSE_DEFAULT = timedelta(seconds=30)
PAUSE_REFUSED = timedelta(seconds=60)
PAUSE_MOST = timedelta(hours=1)
# How long one job may be out to see whether the provider takes jobs again.
PROBE_PATIENCE = SUBMIT_TIMEOUT + CLAIM_LEASE
SLOT_HELD = timedelta(seconds=120)


def first_poll_after(eta_s: float | None) -> timedelta:
    """`min(max(eta, 2), 60)` seconds: what was learned, or the provider's own advice, within sane bounds."""
    eta = timedelta(seconds=_sane(eta_s))
    return min(max(eta, FIRST_POLL_LEAST), FIRST_POLL_MOST)


def next_poll_after(polls: int) -> timedelta:
    """3 s growing by half each time up to 30 s, after `polls` looks that told nothing new."""
    return min(timedelta(seconds=3 * 1.5 ** min(polls, 20)), POLL_MOST)


def silent_after(eta_s: float | None) -> timedelta:
    """How long a running job without an id may be silent: twice its eta, and a minute at least."""
    return max(timedelta(seconds=2 * _sane(eta_s)), SILENCE_LEAST)


def overdue_after(late_s: float) -> timedelta:
    """When a job that was sent is overdue: after twice what nine of ten of its kind take, and a minute at least."""
    return max(timedelta(seconds=2 * _sane(late_s)), OVERDUE_LEAST)


def confirm_wait(least: timedelta, *, largest_eta_s: float | None, usual_s: float | None) -> timedelta:
    """How long an unconfirmed submit waits for evidence: `least` (`SUBMIT_CONFIRM_S`), or twice what the provider's
    jobs take now by its largest eta or by the 95th percentile `usual_s`; beyond `least` an hour at most."""
    expected = timedelta(seconds=2 * max(_sane(largest_eta_s), _sane(usual_s)))
    return max(least, min(expected, CONFIRM_MOST))


def refused_pause(refusals: int) -> timedelta:
    """How long a provider that refuses every job is left alone: a minute, doubled with each refusal in a row up to an
    hour."""
    return min(PAUSE_REFUSED * (1 << min(refusals, 10)), PAUSE_MOST)


def late_look_after(age: timedelta) -> timedelta | None:
    """How old an attempt must be for the next look after a time-out; None when all looks are done."""
    return next((look for look in LATE_LOOKS if look > age), None)


def backoff(tries: int, *, jitter: float, first_s: float = 1.0, most_s: float = 60.0) -> timedelta:
    """Exponential with full jitter on the upper half: between half and all of `first_s * 2**tries`, at most
    `most_s`."""
    span = min(first_s * 2 ** min(tries, 20), most_s)
    return timedelta(seconds=span * (0.5 + jitter / 2))


def slot_held_for(eta_s: float | None) -> timedelta:
    """A slot comes free by itself after 120 s, or twice the eta when that is longer."""
    return max(SLOT_HELD, timedelta(seconds=2 * _sane(eta_s)))


def _sane(eta_s: float | None) -> float:
    """The provider's word within a day; 0 where it is none or no number."""
    return 0.0 if eta_s is None or eta_s != eta_s else min(max(eta_s, 0.0), 86_400.0)


def fetch_backoff(fetches: int, *, jitter: float) -> timedelta:
    """Fresh picture URLs fail in three of ten cases and come good within seconds: quick at first, then up to 10
    minutes."""
    return backoff(fetches, jitter=jitter, first_s=2.0, most_s=600.0)


def decode_backoff(fetches: int, *, jitter: float) -> timedelta:
    """A picture that ended its decoder may do so each time, which takes minutes: a minute at first, then up to two
    hours, so some twenty tries until it is gone at the provider."""
    return backoff(fetches - 1, jitter=jitter, first_s=60.0, most_s=7200.0)
