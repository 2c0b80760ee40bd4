"""A world whose network is acted and whose archive is real: pictures on their way into it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from PIL import Image as Picture

from tests.flows.world import World
from webhook_app.domain.outcome import Finished
from webhook_app.domain.outcome import Picture as Named
from webhook_app.flows import archive
from webhook_app.net.port import Fetched
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.storage.port import Storage

ONE, TWO = "https://known.example/0.png", "https://known.example/copy/0.png"


def png(colour: str = "red", size: tuple[int, int] = (64, 48)) -> bytes:
    """Two halves, so that there is something to see."""
    out, picture = BytesIO(), Picture.new("RGB", size, colour)
    picture.paste("navy", (0, 0, size[0] // 2, size[1]))
    picture.save(out, "PNG")
    return out.getvalue()


@dataclass
class Web:
    """The network, acted: what each URL answers, in turn; the last answer stays."""

    answers: dict[str, deque[bytes | Exception]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    during: Callable[[], None] | None = None

    def serve(self, url: str, *answers: bytes | Exception) -> None:
        self.answers[url] = deque(answers)

    def host_known(self, url: str) -> bool:
        return True

    def fetch(self, url: str, sink: BinaryIO) -> Fetched:
        self.asked.append(url)
        if self.during is not None:
            self.during()
        waiting = self.answers[url]
        answer = waiting.popleft() if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        sink.write(answer)
        return Fetched(len(answer), "text/html", url)


class Keeper:
    """A world with an archive."""

    def __init__(self, world: World, storage: Storage, inspector: PictureInspector) -> None:
        self.world, self.web = world, Web()
        self.storage = storage
        self.inspector = inspector

    def succeeded(self, *sources: str, samples: int = 1) -> str:
        track_id = self.world.submit(samples=samples)
        pictures = tuple(Named(index, sources or (ONE,)) for index in range(samples))
        self.world.send(Finished(pictures, "1"))
        return track_id

    def claim(self, owner: str = "w1") -> list[archive.ImageClaim]:
        world = self.world
        return archive.claim_images(world.store, owner=owner, limit=10, policy=world.policy, now=world.at)

    def copy(self, claim: archive.ImageClaim) -> None:
        archive.archive_one(
            self.world.store,
            fetcher=self.web,
            inspector=self.inspector,
            storage=self.storage,
            claim=claim,
            clock=self.world.now,
        )

    def tick(self) -> int:
        claims = self.claim()
        for claim in claims:
            self.copy(claim)
        return len(claims)
