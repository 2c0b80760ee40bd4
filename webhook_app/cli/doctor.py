"""`doctor`: is this installation sound? Each check answers in one line; any failure makes the exit code 1."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import click

from webhook_app.cli.exits import Exit, Stop, explained
from webhook_app.cli.output import emit, output_option, table
from webhook_app.cli.start import database_fits
from webhook_app.domain.errors import ProblemError, StorageError
from webhook_app.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from webhook_app.wiring import Parts

LEAST_SECRET = 32
MOST_SKEW_S = 5.0
TIMEOUT_S = 10
NONCE_PATH = "/.well-known/webhook-app/nonce"


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    verdict: Verdict
    detail: str


@click.command()
@click.pass_context
@output_option
def doctor(ctx: click.Context, output: str) -> None:
    """Check settings, database, archive, spool, clock, and that PUBLIC_URL leads to this installation."""
    findings = list(examine())
    rows = [(finding.check, finding.verdict.value, finding.detail) for finding in findings]
    sound = all(finding.verdict is not Verdict.FAILED for finding in findings)
    result = {"sound": sound, "checks": [asdict(finding) for finding in findings]}
    emit(output, result, table(("check", "verdict", "detail"), rows))
    ctx.exit(int(_exit_code(findings)))


def _exit_code(findings: list[Finding]) -> Exit:
    failed = [finding for finding in findings if finding.verdict is Verdict.FAILED]
    if any(finding.check == "database" and finding.detail.startswith("no database") for finding in failed):
        return Exit.NOT_FOUND
    return Exit.FAILED if failed else Exit.OK


def examine() -> Iterator[Finding]:
    """Every check in turn; those that need what failed before are left out."""
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Finding("settings", Verdict.FAILED, str(error))
        return
    yield _secret(settings)
    yield _provider(settings)
    yield _callbacks(settings)
    path = settings.sqlite_path
    if path is not None and not path.is_file():
        yield Finding("database", Verdict.FAILED, f"no database at {path}")
        return
    yield from _of_parts(settings)


def _of_parts(settings: Settings) -> Iterator[Finding]:
    from webhook_app.wiring import build

    parts = build(settings)
    if settings.is_sqlite:
        yield _sqlite()
    yield _database(settings)
    yield _tried("archive", lambda: _archive(parts))
    yield _spool(parts)
    yield _tried("clock", lambda: _clock(parts))
    yield _reached("public URL", settings.public_url, parts)
    if settings.callback_base_url != settings.public_url:
        yield _reached("callback URL", settings.callback_base_url, parts)


def _tried(check: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding(check, Verdict.OK, ask())
    except ProblemError as error:
        return Finding(check, Verdict.FAILED, error.detail)
    except (StorageError, ValueError) as error:
        return Finding(check, Verdict.FAILED, str(error))


def _secret(settings: Settings) -> Finding:
    keys = settings.secret_keys
    if not keys:
        return Finding("settings", Verdict.WARNING, "SECRET_KEY is not made yet; serve and db upgrade make it")
    if min(map(len, keys)) < LEAST_SECRET:
        return Finding("settings", Verdict.WARNING, f"SECRET_KEY: fewer than {LEAST_SECRET} characters can be guessed")
    return Finding("settings", Verdict.OK, "all can be used")


def _provider(settings: Settings) -> Finding:
    where = f"modelslab at {settings.modelslab_url}"
    if settings.modelslab_api_key is None:
        return Finding("provider", Verdict.WARNING, f"{where}: paused, MODELSLAB_API_KEY is not set")
    return Finding("provider", Verdict.OK, f"{where}, key …{settings.modelslab_api_key[-4:]}")


def _callbacks(settings: Settings) -> Finding:
    base = settings.callback_base_url
    if not settings.callbacks_possible:
        return Finding("callbacks", Verdict.FAILED, f"{base} is not https: the provider is polled alone")
    return Finding("callbacks", Verdict.OK, base)


def _sqlite() -> Finding:
    from webhook_app.store.engine import sqlite_is_safe, sqlite_module

    version = sqlite_module().sqlite_version
    if sqlite_is_safe():
        return Finding("SQLite", Verdict.OK, version)
    return Finding("SQLite", Verdict.WARNING, f"{version} can lose a commit in rare cases; 3.51.3 and newer cannot")


def _database(settings: Settings) -> Finding:
    try:
        revision = database_fits(settings)
    except Stop as error:
        return Finding("database", Verdict.FAILED, str(error))
    except ProblemError as error:
        return Finding("database", Verdict.FAILED, explained(error))
    return Finding("database", Verdict.OK, f"at revision {revision}")


def _archive(parts: "Parts") -> str:
    parts.storage.check()
    return parts.storage.describe()


def _spool(parts: "Parts") -> Finding:
    try:
        parts.spool.check()
        waiting, unreadable = parts.spool.entries(), parts.spool.unreadable()
    except StorageError as error:
        return Finding("spool", Verdict.FAILED, str(error))
    found = [f"{waiting} callbacks wait, {unreadable} are unreadable in {parts.settings.spool_dir}"]
    if waiting:
        found.append("web and worker bring those that wait back")
    if unreadable:
        found.append("look at its .unreadable files")
    return Finding("spool", Verdict.WARNING if waiting or unreadable else Verdict.OK, "; ".join(found))


def _clock(parts: "Parts") -> str:
    from webhook_app.store.clock import database_now

    with parts.store.reading() as connection:
        skew = abs((database_now(connection) - datetime.now(UTC)).total_seconds())
    if skew > MOST_SKEW_S:
        raise ValueError(f"{skew:.0f} s between this machine and the database")
    return f"within {MOST_SKEW_S:.0f} s of the database"


def _reached(check: str, base: str, parts: "Parts") -> Finding:
    """A nonce sent there must come back with this installation's signature: DNS, proxy, TLS and process are right."""
    import requests

    nonce = secrets.token_urlsafe(16)
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(base + NONCE_PATH, params={"nonce": nonce}, timeout=TIMEOUT_S, allow_redirects=False)
            told = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError) as error:
            return Finding(check, Verdict.FAILED, f"{base} does not answer ({type(error).__name__}); is web running?")
    if not isinstance(told, dict) or told.get("nonce") != nonce:
        return Finding(check, Verdict.FAILED, f"{base} answers {answer.status_code}, and not as webhook-app does")
    if not parts.tokens.check("doctor", nonce, str(told.get("signature", ""))):
        return Finding(check, Verdict.FAILED, f"{base} leads to an installation with another SECRET_KEY")
    return Finding(check, Verdict.OK, base)
