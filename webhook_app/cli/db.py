"""`db`: make the database, move it between versions, ask where it stands."""

import click

from webhook_app.cli.exits import Exit, Stop
from webhook_app.cli.output import emit, output_option, say
from webhook_app.cli.start import database_exists, database_fits, settings_and_logs


@click.group()
def db() -> None:
    """Make and move the database."""


@db.command()
@click.argument("revision", default="head")
@output_option
def upgrade(revision: str, output: str) -> None:
    """Make the database where it is missing, and bring it up to REVISION (the newest unless given)."""
    from webhook_app.settings import make_secret
    from webhook_app.store import migrations

    settings = settings_and_logs()
    path = settings.sqlite_path
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_secret(settings)
    migrations.upgrade(settings.database_url, revision)
    _tell(output, settings.database_url)


@db.command()
@click.argument("revision")
@output_option
def downgrade(revision: str, output: str) -> None:
    """Take the database back to REVISION; `base` empties it."""
    from webhook_app.store import migrations

    settings = settings_and_logs()
    database_exists(settings)
    migrations.downgrade(settings.database_url, revision)
    _tell(output, settings.database_url)


@db.command()
@output_option
def current(output: str) -> None:
    """Print the revision at which the database stands."""
    settings = settings_and_logs()
    database_exists(settings)
    _tell(output, settings.database_url)


@db.command()
@output_option
def check(output: str) -> None:
    """Succeed when this program can work with the database: it is as the program has it, or ahead."""
    from webhook_app.store import migrations

    settings = settings_and_logs()
    revision, head = database_fits(settings), migrations.head()
    differences = migrations.check(settings.database_url) if revision == head else []
    emit(output, {"revision": revision, "head": head, "differences": differences}, "\n".join(differences))
    if differences:
        raise Stop(Exit.FAILED, "the database differs from the program's tables")
    say(f"the database fits, at {revision}")


def _tell(output: str, url: str) -> None:
    from webhook_app.store import migrations

    revision, head = migrations.current(url), migrations.head()
    emit(output, {"revision": revision, "head": head}, revision or "empty")
