"""Everything that can be seen of an installation after a run: rows, files, the emulator's ledger, the client's book."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select

from tests.crash.journal import Journal
from tests.e2e.installation import PROVIDER_KEY, SECRET, Installation
from webhook_app.flows.receive import without_secrets
from webhook_app.provider.modelslab.client import ModelsLab
from webhook_app.store.engine import Store
from webhook_app.store.tables import Base

Row = dict[str, Any]
CALLBACK_URL = re.compile(r"/callbacks/modelslab/([0-9a-f-]{36})/(\d+)\.([A-Za-z0-9_-]+)$")


@dataclass(frozen=True)
class Observation:
    """`tables` by name; `entries` is the ledger, oldest first; `objects` maps the archive's files to their SHA-256;
    `texts` is everything that was written anywhere, by place; `earlier_events` the log as it was during the run."""

    tables: dict[str, list[Row]]
    entries: list[Row]
    journal: Journal
    objects: dict[str, str]
    texts: dict[str, str]
    canaries: tuple[str, ...]
    earlier_events: list[Row]

    @property
    def jobs(self) -> dict[str, Row]:
        return {row["track_id"]: row for row in self.tables["jobs"]}

    @property
    def events(self) -> list[Row]:
        """In the order of insertion."""
        return sorted(self.tables["events"], key=lambda row: row["position"])

    def by_job(self, table: str) -> dict[str, list[Row]]:
        """The rows of a table, in their order, by job."""
        rows = self.events if table == "events" else self.tables[table]
        return grouped(rows)

    def ledger(self, kind: str) -> list[Row]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    def ledger_by_job(self, kind: str) -> dict[str, list[Row]]:
        return grouped(self.ledger(kind))


def grouped(rows: list[Row]) -> dict[str, list[Row]]:
    """By `track_id`, in their order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["track_id"]].append(row)
    return found


def rows_of(database_url: str, *names: str) -> dict[str, list[Row]]:
    """All rows of these tables (of all tables when none is named)."""
    store = Store(database_url)
    try:
        with store.reading() as connection:
            tables = [table for name, table in Base.metadata.tables.items() if not names or name in names]
            return {t.name: [dict(row._mapping) for row in connection.execute(select(t))] for t in tables}
    finally:
        store.dispose()


def observe(app: Installation, journal: Journal, *, earlier_events: list[Row] | None = None) -> Observation:
    """Look at everything, once it is quiet."""
    # First what the provider did: of that nothing may be missing in what we look at later.
    entries = requests.get(f"{app.emulator_url}/_emulator/ledger", timeout=60).json()["entries"]
    tables = rows_of(app.env["DATABASE_URL"])
    data = Path(app.env["DATA_DIR"])
    adapter = ModelsLab(key=PROVIDER_KEY, base_url=app.env["MODELSLAB_URL"], extra_output_hosts=frozenset())
    tokens = set()
    for entry in entries:
        called = CALLBACK_URL.search(str(entry.get("webhook")))
        if called is None:
            continue
        tokens.add(called[3])
        entry |= {"called_track_id": called[1], "called_attempt": int(called[2])}
        if entry["kind"] == "callback":
            kept = without_secrets(entry["body"].encode(), adapter)
            entry["kept_sha256"] = hashlib.sha256(kept).hexdigest()
    ours = [process for process in app.processes if not process.name.startswith("emulator")]
    texts = {process.name: process.log.read_text(errors="replace") for process in ours}
    texts |= {f"file {path.relative_to(data)}": text for path, text in _files(data)}
    texts |= {f"table {name}": "\n".join(map(str, rows)) for name, rows in tables.items()}
    return Observation(
        tables=tables,
        entries=entries,
        journal=journal,
        objects=_objects(data / "archive"),
        texts=texts,
        canaries=(PROVIDER_KEY, SECRET, app.key, *sorted(tokens)),
        earlier_events=earlier_events or [],
    )


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in {"api-key", "secret-key"}:
            yield path, path.read_bytes().decode("latin-1")


def _objects(archive: Path) -> dict[str, str]:
    """Pictures alone: thumbnails are made from them."""
    found = [path for path in (archive / "blobs").rglob("*") if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
