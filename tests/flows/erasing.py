"""A world with an archive and a spool, and short ways to erase in it."""

from pathlib import Path
from typing import Any

from sqlalchemy import Row

from tests.flows.keeper import ONE, Keeper, png
from webhook_app.flows.erase import Asked, Wanted, erase_job, erase_many
from webhook_app.flows.forget import forget_due
from webhook_app.storage.spool import FileSpool
from webhook_app.store.engine import Store
from webhook_app.store.tables import Erasure


class Eraser:
    """`storage` is the archive as whoever erases sees it."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        self.keeper, self.world, self.storage = keeper, keeper.world, keeper.storage
        self.spool = FileSpool(folder / "spool")

    def archived(self, *, colour: str = "red", samples: int = 1) -> str:
        """A job whose pictures of this colour are in the archive."""
        track_id = self.keeper.succeeded(samples=samples)
        self.keeper.web.serve(ONE, png(colour))
        self.keeper.tick()
        return track_id

    def ask(self, track_id: str, by: str = "key:k") -> str:
        return erase_job(self.world.store, track_id, by=by, now=self.world.at)

    def ask_many(self, *, dry_run: bool = False, **conditions: Any) -> Asked:
        wanted = Wanted(**({"client_id": self.world.client_id} | conditions))
        return erase_many(self.world.store, wanted, by="key:k", dry_run=dry_run, now=self.world.at)

    def go_on(self, store: Store | None = None) -> int:
        return forget_due(
            store or self.world.store,
            self.world.providers,
            storage=self.storage,
            kept=self.spool,
            limit=20,
            clock=self.world.now,
        )

    def finish(self) -> None:
        """Until nothing is due any more, however long it takes."""
        for _ in range(100):
            self.go_on()
            due = [row.due_at for row in self.world.rows(Erasure) if row.due_at is not None]
            if not due:
                return
            self.world.later(seconds=60)
            self.world.at = max(self.world.at, min(due))
        raise AssertionError("erasing does not end")

    def erasure(self, erasure_id: str) -> Row[Any]:
        return self.world.rows(Erasure, Erasure.erasure_id == erasure_id)[0]
