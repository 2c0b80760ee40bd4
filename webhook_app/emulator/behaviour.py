"""What becomes of a job: one pure function of the emulator's seed, the input, its repeat count and the options.

Further misbehaviour belongs here: a member of Fate, an option with its mix, and one line in `decide`."""

import hashlib
from dataclasses import dataclass

from webhook_app.emulator.options import MIXES, CallbackHabit, EmulatorOptions, Ending, SubmitForm, parse_mix

SEED_SPACE = 2**32


@dataclass(frozen=True, slots=True)
class Fate:
    """Everything about a job that the emulator may choose. Decided once, at the submit."""

    submit_form: SubmitForm
    ending: Ending
    callback: CallbackHabit
    callback_delay_s: float
    picture_404_first_k: int
    drawn_seed: int


def decide(options: EmulatorOptions, *, digest: str, repeat: int) -> Fate:
    """The fate of the `repeat`-th (from 0) coming of the input with this `digest`. Same arguments, same fate."""

    def pick(name: str) -> str:
        return _pick(options, name, _roll(options.seed, name, digest, repeat))

    return Fate(
        submit_form=SubmitForm(pick("submit_form")),
        ending=Ending(pick("ending")),
        callback=CallbackHabit(pick("callback")),
        callback_delay_s=options.callback_delay_s,
        picture_404_first_k=options.picture_404s,
        drawn_seed=int(_roll(options.seed, "drawn_seed", digest, repeat) * SEED_SPACE),
    )


def _pick(options: EmulatorOptions, name: str, roll: float) -> str:
    """The word of the mix `name` under `roll`; the last one also takes what rounding leaves."""
    mix = parse_mix(name, getattr(options, name), MIXES[name])
    for word, share in mix:
        if roll < share:
            return word
        roll -= share
    return mix[-1][0]


def _roll(seed: int, aspect: str, digest: str, repeat: int) -> float:
    """A number in [0, 1). Each aspect rolls its own die, so that a new aspect moves no old one."""
    text = f"{seed}|{aspect}|{digest}|{repeat}"
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11) / 2**53
