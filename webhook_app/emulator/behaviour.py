"""What becomes of a job: one pure function of the emulator's seed, the input, its repeat count and the options.

Further misbehaviour belongs here: words with their meaning, an option that is a mix of them, and a member of Fate."""

import hashlib
from dataclasses import dataclass

from webhook_app.emulator.options import MIXES, EmulatorOptions, parse_mix
from webhook_app.emulator.words import (
    CallbackHabit,
    Ending,
    EtaForm,
    FetchForm,
    IdForm,
    MessageForm,
    PictureFault,
    PictureKind,
    PictureTransfer,
    ProxyLinksForm,
    StatusForm,
    SubmitFault,
    SubmitForm,
    TrackIdForm,
)

SEED_SPACE = 2**32


@dataclass(frozen=True, slots=True)
class Shape:
    """How the members of a job's bodies are told."""

    message: MessageForm
    id: IdForm
    status: StatusForm
    eta: EtaForm
    proxy_links: ProxyLinksForm
    track_id: TrackIdForm


@dataclass(frozen=True, slots=True)
class Fate:
    """Everything about a job that the emulator may choose. Decided once, at the submit."""

    submit_form: SubmitForm
    submit_fault: SubmitFault
    ending: Ending
    callback: CallbackHabit
    callback_delay_s: float
    fetch_form: FetchForm
    picture_404_first_k: int
    picture_fault: PictureFault
    picture_fault_first_k: int
    picture_kind: PictureKind
    picture_transfer: PictureTransfer
    lifetime_s: float
    shape: Shape
    drawn_seed: int


def decide(options: EmulatorOptions, *, digest: str, repeat: int) -> Fate:
    """The fate of the `repeat`-th (from 0) coming of the input with this `digest`. Same arguments, same fate."""

    def pick(name: str) -> str:
        return _pick(options, name, _roll(options.seed, name, digest, repeat))

    callback = CallbackHabit(pick("callback"))
    late_s = options.callback_late_s if callback is CallbackHabit.LATE else 0.0
    return Fate(
        submit_form=SubmitForm(pick("submit_form")),
        submit_fault=SubmitFault(pick("submit_fault")),
        ending=Ending(pick("ending")),
        callback=callback,
        callback_delay_s=options.callback_delay_s + late_s,
        fetch_form=FetchForm(pick("fetch_form")),
        picture_404_first_k=options.picture_404s,
        picture_fault=PictureFault(pick("picture_fault")),
        picture_fault_first_k=options.picture_fault_reads,
        picture_kind=PictureKind(pick("picture_kind")),
        picture_transfer=PictureTransfer(pick("picture_transfer")),
        lifetime_s=options.lifetime_s,
        shape=Shape(
            message=MessageForm(pick("message_form")),
            id=IdForm(pick("id_form")),
            status=StatusForm(pick("status_form")),
            eta=EtaForm(pick("eta_form")),
            proxy_links=ProxyLinksForm(pick("proxy_links_form")),
            track_id=TrackIdForm(pick("track_id_form")),
        ),
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
