"""`python -m tests.migrate`: take an empty database of each kind up, down and up, and compare it with the tables."""

import sys
import tempfile
from pathlib import Path

from tests import databases
from webhook_app.store import migrations


def there_and_back(url: str) -> list[str]:
    """What differs afterwards; empty when nothing does."""
    migrations.upgrade(url)
    migrations.downgrade(url, "base")
    if migrations.current(url) is not None:
        return ["the way down ends above the ground"]
    migrations.upgrade(url)
    return migrations.check(url)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        differences = {"SQLite": there_and_back(f"sqlite:///{folder / 'database.db'}")}
        with databases.server(folder) as server, databases.postgresql_database(server) as url:
            differences["PostgreSQL"] = there_and_back(url)
    for kind, found in differences.items():
        print(f"{kind}: {'; '.join(found) or f'at {migrations.head()}, equal to the tables'}")
    return 1 if any(differences.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
