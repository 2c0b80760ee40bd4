"""Settings in, parts out: the only file that names concrete adapters."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from webhook_app.domain.links import Links
from webhook_app.domain.tokens import Tokens
from webhook_app.domain.vault import Vault
from webhook_app.flows.expect import Expectations, Outlook
from webhook_app.flows.policy import Policy
from webhook_app.flows.show import Addresses
from webhook_app.net.fetch import GuardedFetcher
from webhook_app.net.port import Fetcher, Sender
from webhook_app.net.post import GuardedSender
from webhook_app.net.proxy import proxy_at
from webhook_app.pictures.inspect import PictureInspector
from webhook_app.pictures.port import Inspector
from webhook_app.provider.modelslab.client import ModelsLab
from webhook_app.provider.port import Provider
from webhook_app.settings import Settings, make_secret
from webhook_app.signing.port import Signer
from webhook_app.storage.bundle import directory_bundle, stream_bundle, tar_bundle
from webhook_app.storage.local import LocalStorage
from webhook_app.storage.location import Bucket
from webhook_app.storage.port import Bundle, Spool, Storage
from webhook_app.storage.s3 import S3Storage
from webhook_app.storage.spool import FileSpool
from webhook_app.store.engine import Store

MODELSLAB = "modelslab"
LARGEST_PICTURE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the doors work with. Nothing in it has opened a connection or a process yet: build it before or
    after a fork."""

    settings: Settings
    store: Store
    tokens: Tokens
    providers: Mapping[str, Provider]
    fetcher: Fetcher
    sender: Sender
    vault: Vault
    storage: Storage
    inspector: Inspector
    spool: Spool
    expectations: Expectations = field(default_factory=Expectations)


def build(settings: Settings) -> Parts:
    """The parts of this installation; makes `DATA_DIR`'s secret where it is missing."""
    make_secret(settings)
    proxy = None if settings.egress_proxy is None else proxy_at(settings.egress_proxy)
    provider = ModelsLab(
        key=settings.modelslab_api_key or "",
        base_url=settings.modelslab_url,
        extra_output_hosts=frozenset(settings.modelslab_output_hosts),
        proxy=proxy,
    )
    private = frozenset((*settings.private_output_hosts, host_and_port(settings.modelslab_url)))
    return Parts(
        settings=settings,
        store=Store(settings.database_url, listen_url=settings.database_listen_url),
        tokens=Tokens(settings.secret_keys),
        providers={MODELSLAB: provider},
        fetcher=GuardedFetcher(provider.output_hosts, private, max_bytes=LARGEST_PICTURE, proxy=proxy),
        sender=GuardedSender(frozenset(settings.private_webhook_hosts), proxy=proxy),
        vault=Vault(settings.secret_keys),
        storage=storage_of(settings),
        inspector=PictureInspector(LARGEST_PICTURE),
        spool=FileSpool(settings.spool_dir),
    )


def storage_of(settings: Settings) -> Storage:
    """The archive of this installation, not yet opened."""
    place = settings.archive
    return S3Storage(place) if isinstance(place, Bucket) else LocalStorage(place.path)


def signer_of(settings: Settings) -> Signer:
    """Whoever signs the log's heads."""
    from webhook_app.signing.ed25519 import Ed25519Signer  # Most processes never sign.

    return Ed25519Signer(settings.signing_seed)


def policy(parts: Parts) -> Policy:
    """The rules of this installation, for the flows."""
    settings = parts.settings
    return Policy(
        attempts_allowed=settings.submit_attempts,
        confirm_after=timedelta(seconds=settings.submit_confirm_s),
        on_unconfirmed=settings.on_unconfirmed,
        repeats_per_hour=settings.repeats_per_hour,
        max_in_flight=settings.modelslab_max_in_flight,
        host_known=parts.fetcher.host_known,
        expect=outlook(parts).of,
    )


def outlook(parts: Parts) -> Outlook:
    """How long jobs take, as far as this process knows."""
    return Outlook(partial(parts.expectations.history, parts.store), parts.settings.modelslab_max_in_flight)


def callback_url(parts: Parts, track_id: str, attempt: int) -> str | None:
    """Where the provider reports this attempt; None where it could not: then the job is found by polling alone."""
    if not parts.settings.callbacks_possible:
        return None
    token = parts.tokens.callback(MODELSLAB, track_id, attempt)
    return f"{parts.settings.callback_base_url}/callbacks/{MODELSLAB}/{track_id}/{token}"


def links(parts: Parts) -> Links | None:
    """How the addresses of pictures are signed; None where `IMAGE_ACCESS` does not ask for it."""
    settings = parts.settings
    signed = settings.image_access == "signed"
    return Links(parts.tokens, timedelta(seconds=settings.image_url_ttl_s)) if signed else None


def image_url(parts: Parts, image_id: str, now: datetime) -> str:
    """The picture's lasting address. The extension is decoration: it is chosen at submit, before anybody knows the
    type. A signed one ends, and lasts in that the job always tells a good one."""
    lasting, signs = f"{parts.settings.public_url}/images/{image_id}.png", links(parts)
    return lasting if signs is None else f"{lasting}?{signs.query(image_id, now)}"


def addresses(parts: Parts) -> Addresses:
    """Where clients find jobs and pictures of this installation, and when."""
    return Addresses(parts.settings.public_url, partial(image_url, parts), outlook(parts))


def bundle_at(target: str, *, overwrite: bool) -> AbstractContextManager[Bundle]:
    """Where an export goes: `-` is a tar on stdout, what ends in `.tar` a tar file, anything else a directory."""
    if target == "-":
        return stream_bundle(sys.stdout.buffer)
    make = tar_bundle if target.endswith(".tar") else directory_bundle
    return make(Path(target), overwrite=overwrite)


def host_and_port(url: str) -> str:
    """`host:port` of an http(s) URL, with the scheme's own port where it names none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
