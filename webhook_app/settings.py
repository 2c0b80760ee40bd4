"""The environment, read once into one frozen value. What cannot be used stops the start with a line that names the
variable."""

import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from webhook_app.domain.job import OnUnconfirmed
from webhook_app.domain.tokens import derive
from webhook_app.net.proxy import proxy_at
from webhook_app.storage.location import Bucket, Folder, location

LONGEST_CALLBACK_URL = 191
# "/callbacks/modelslab/" + track_id + "/" + attempt (3 digits) + "." + 128 bits in base64url
CALLBACK_PATH_LENGTH = len("/callbacks/modelslab/") + 36 + 1 + 3 + 1 + 22
SECRET_FILE = "secret-key"  # noqa: S105 - the name of a file
SIGNING_FILE = "audit-signing-key"
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound
THREADS_BESIDE_WAITERS = 64


class SettingsError(Exception):
    """A variable has a value that cannot be used; the text is one line, `NAME: reason`, and never shows a secret."""


def _comma_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("must have neither query nor fragment nor user")
    _ = parts.port  # Raises ValueError when it is not a port.
    return value.rstrip("/")


def _database_url(value: str) -> str:
    scheme = value.partition("://")[0]
    if scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
        return value
    if scheme != "sqlite":
        raise ValueError("must begin with sqlite:///, postgresql:// or postgres://")
    if not value.startswith("sqlite:///") or not sqlite_file(value):
        raise ValueError("must name a file: sqlite:///relative/path or sqlite:////absolute/path")
    return value


def sqlite_file(url: str) -> str:
    """The file of a `sqlite:///` URL, empty for a database in memory."""
    path = unquote(url.removeprefix("sqlite:///").partition("?")[0])
    return "" if path == ":memory:" else path


def _archive_url(value: str) -> str:
    location(value)
    return value


def _proxy_url(value: str) -> str:
    proxy_at(value)
    return value


def _host_and_port(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("must be a comma-separated list of host:port")
    return values


def _signing_key(value: str | None) -> str | None:
    if value is not None and re.fullmatch(r"[0-9a-fA-F]{64}", value) is None:
        raise ValueError("must be 64 hexadecimal digits (openssl rand -hex 32 makes them)")
    return value


def _addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*":
            ipaddress.ip_network(value)
    return values


Commas = BeforeValidator(_comma_list)
Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[str | None, Field(repr=False)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Whole = Annotated[int, Field(ge=1)]
Directory = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseModel):
    """One attribute for each variable of the public contract, in lower case; its meaning stands there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: Annotated[str, AfterValidator(_database_url), Field(repr=False)]
    database_listen_url: Annotated[str | None, Field(repr=False)] = None
    data_dir: Directory
    spool_dir: Directory
    archive_url: Annotated[str, AfterValidator(_archive_url)]
    host: Text = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    public_url: HttpUrl
    callback_base_url: HttpUrl
    forwarded_allow_ips: Annotated[tuple[str, ...], Commas, AfterValidator(_addresses)] = ("127.0.0.1",)
    secret_key: Annotated[tuple[str, ...], Commas, Field(repr=False)] = ()
    bootstrap_api_key: Secret = None
    modelslab_api_key: Secret = None
    modelslab_url: HttpUrl = "https://modelslab.com/api/v1/enterprise"
    modelslab_max_in_flight: Annotated[int, Field(ge=1, le=10_000)] = 5
    modelslab_output_hosts: Annotated[tuple[str, ...], Commas] = ()
    private_output_hosts: Annotated[tuple[str, ...], Commas, AfterValidator(_host_and_port)] = ()
    private_webhook_hosts: Annotated[tuple[str, ...], Commas, AfterValidator(_host_and_port)] = ()
    egress_proxy: Annotated[str | None, AfterValidator(_proxy_url), Field(repr=False)] = None
    max_queued: Whole = 100_000
    image_access: Literal["public", "signed", "key"] = "public"
    image_url_ttl_s: Annotated[int, Field(ge=1, le=31_536_000)] = 86_400
    job_timeout_s: Whole = 900
    submit_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    submit_confirm_s: Whole = 120
    on_unconfirmed: OnUnconfirmed = OnUnconfirmed.REPEAT
    repeats_per_hour: Annotated[int, Field(ge=0)] = 100
    wait_max_s: Annotated[int, Field(ge=0, le=3600)] = 60
    max_waiters: Annotated[int, Field(ge=0)]
    metrics_public: bool = False
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    shutdown_grace_s: Annotated[int, Field(ge=1, le=3600)] = 25
    web_concurrency: Whole
    web_threads: Whole = 576
    web_worker_class: Literal["gthread", "gevent"]
    worker_threads: Annotated[int, Field(ge=1, le=1000)] = 8
    audit_signing_key: Annotated[str | None, AfterValidator(_signing_key), Field(repr=False)] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = "info"
    log_format: Literal["text", "json"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Defaults that follow from other variables."""
        host = ANY_ADDRESS.get(str(given.get("host", "127.0.0.1")), str(given.get("host", "127.0.0.1")))
        authority = f"[{host}]" if ":" in host else host
        data_dir = Path(given.get("data_dir", "data")).expanduser().absolute()
        derived = {
            "data_dir": data_dir,
            "database_url": f"sqlite:///{data_dir / 'webhook-app.db'}",
            "spool_dir": data_dir / "spool",
            "archive_url": (data_dir / "archive").as_uri(),
            "public_url": f"http://{authority}:{given.get('port', 8000)}",
        }
        filled = derived | given
        sqlite = str(filled["database_url"]).startswith("sqlite")
        filled.setdefault("callback_base_url", filled["public_url"])
        filled.setdefault("web_worker_class", "gthread" if sqlite else "gevent")
        filled.setdefault("web_concurrency", 1 if sqlite else 2)
        filled.setdefault("max_waiters", _waiters(filled))
        return filled

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, None on PostgreSQL."""
        return Path(sqlite_file(self.database_url)).absolute() if self.is_sqlite else None

    @property
    def archive(self) -> Folder | Bucket:
        return location(self.archive_url)

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The secrets, the signing one first: the variable's, else the file's in `DATA_DIR`; none before it is made."""
        return self.secret_key or tuple(_read_secret(self.data_dir / SECRET_FILE))

    @property
    def signing_seed(self) -> bytes:
        """Of the key that signs the log's heads: the variable's, else the one made beside the secret in `DATA_DIR`;
        where the secret is a variable, one that is made from it. Raises `SettingsError`."""
        if self.audit_signing_key is not None:
            return bytes.fromhex(self.audit_signing_key)
        if self.secret_key:
            return derive(self.secret_key[0], SIGNING_FILE)
        path = self.data_dir / SIGNING_FILE
        made = _read_secret(path)
        try:
            return bytes.fromhex(_signing_key(made[0]) or "")
        except (IndexError, ValueError) as error:
            raise SettingsError(f"AUDIT_SIGNING_KEY: {path} holds no key") from error

    @property
    def provider_is_local(self) -> bool:
        """Whether the provider is on this machine or its network, so that it reaches us without https."""
        host = urlsplit(self.modelslab_url).hostname or ""
        with suppress(ValueError):
            return ipaddress.ip_address(host).is_private
        return host == "localhost" or host.endswith(".localhost")

    @property
    def callbacks_possible(self) -> bool:
        """Whether the provider is given a webhook at all; it demands https unless it is local. Else polling alone."""
        return self.provider_is_local or self.callback_base_url.startswith("https://")

    def retained_from(self, now: datetime) -> datetime | None:
        """Jobs that ended before this instant are erased; None: never."""
        return None if self.retention_days is None else now - timedelta(days=self.retention_days)

    def secrets(self) -> tuple[str, ...]:
        """Every secret text, for the logs to hide."""
        urls = ("" if self.is_sqlite else self.database_url, self.egress_proxy or "")
        passwords = [urlsplit(url).password or "" for url in urls]
        keys = (*self.secret_keys, self.audit_signing_key, *_read_secret(self.data_dir / SIGNING_FILE))
        known = (*keys, self.bootstrap_api_key, self.modelslab_api_key, *passwords, *map(unquote, passwords))
        return tuple(secret for secret in known if secret)


VARIABLES = tuple(name.upper() for name in Settings.model_fields)


def load_settings(env: Mapping[str, str] | None = None) -> Settings:
    """The settings of this environment; empty variables count as absent. Raises `SettingsError`. Writes nothing."""
    env = os.environ if env is None else env
    given = {name.lower(): env[name].strip() for name in VARIABLES if env.get(name, "").strip()}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(_first_line(error)) from None  # The cause would show the values.
    _check_together(settings, given)
    return settings


def _first_line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(first["loc"][0]).upper() if first["loc"] else "environment"
    reason = first["msg"].removeprefix("Value error, ")
    return f"{name}: {reason[:1].lower()}{reason[1:]}"


def _check_together(settings: Settings, given: Mapping[str, str]) -> None:
    if len(settings.callback_base_url) + CALLBACK_PATH_LENGTH > LONGEST_CALLBACK_URL:
        name = "CALLBACK_BASE_URL" if "callback_base_url" in given else "PUBLIC_URL"
        most = LONGEST_CALLBACK_URL - CALLBACK_PATH_LENGTH
        raise SettingsError(
            f"{name}: too long, the provider takes callback URLs of {LONGEST_CALLBACK_URL} (so {most} here)"
        )
    if settings.web_worker_class == "gthread" and settings.max_waiters >= settings.web_threads:
        raise SettingsError(
            f"MAX_WAITERS: must be less than WEB_THREADS ({settings.web_threads}), so that callbacks find a thread"
        )
    if settings.is_sqlite:
        return
    if not settings.secret_key:
        raise SettingsError("SECRET_KEY: required with PostgreSQL (openssl rand -hex 32 makes one)")
    if "archive_url" not in given and "data_dir" not in given:
        raise SettingsError("ARCHIVE_URL: required with PostgreSQL, unless DATA_DIR is set")


def _waiters(filled: Mapping[str, Any]) -> int:
    """Waits below the thread count, so that callbacks and submits always find a thread; greenlets are cheap."""
    if filled["web_worker_class"] == "gevent":
        return 10_000
    threads = str(filled.get("web_threads", 576))
    if not threads.isdigit():
        return 1
    return max(int(threads) - THREADS_BESIDE_WAITERS, min(int(threads) - 1, 1))


def _read_secret(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().split() if line]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"SECRET_KEY: {path} cannot be read ({error.strerror})") from error


def make_secret(settings: Settings) -> None:
    """On SQLite, make the installation's secret and signing key once, readable by their owner only; later calls do
    nothing."""
    if not settings.secret_keys:
        keep_secret(settings.data_dir / SECRET_FILE, lambda: secrets.token_urlsafe(32), name="DATA_DIR")
    if not settings.secret_key and not settings.audit_signing_key and not (settings.data_dir / SIGNING_FILE).exists():
        keep_secret(settings.data_dir / SIGNING_FILE, lambda: secrets.token_hex(32), name="DATA_DIR")


def keep_secret(path: Path, make: Callable[[], str], *, name: str) -> bool:
    """Write a secret file that appears whole or not at all. False when it was there already: the first one wins."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(make() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            temporary.unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise SettingsError(f"{name}: {path} cannot be written ({error.strerror})") from error
    return True
