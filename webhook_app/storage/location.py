"""Where the archive is, as `ARCHIVE_URL` says: a directory or a bucket. Pure; nothing is opened here."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
PREFIX_PART = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*")
REGION = re.compile(r"[A-Za-z0-9-]{1,64}")


class Serve(StrEnum):
    """How clients get pictures out of a bucket: through us, or from a signed address of the bucket's own."""

    STREAM = "stream"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Folder:
    path: Path

    def describe(self) -> str:
        return f"directory {self.path}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """`prefix` is empty or `a/b`. `endpoint_url` and `region` None: as the environment says, else AWS and us-east-1."""

    name: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    serve: Serve = Serve.STREAM

    @property
    def is_plain(self) -> bool:
        """Whether the bucket is reached without TLS."""
        return (self.endpoint_url or "").startswith("http://")

    def describe(self) -> str:
        place = f"{self.name}/{self.prefix}" if self.prefix else self.name
        return f"bucket {place}" + (f" at {self.endpoint_url}" if self.endpoint_url else "")


def location(url: str) -> Folder | Bucket:
    """`file:///dir` or `s3://bucket/prefix?endpoint_url=…&region=…&serve=…`. Raises `ValueError` with a reason that
    shows nothing of the URL."""
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _bucket(parts)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not unquote(parts.path).strip("/"):
        raise ValueError("must be file:///dir or s3://bucket/prefix")
    return Folder(Path(unquote(parts.path)))


def _bucket(parts: SplitResult) -> Bucket:
    if "@" in parts.netloc:
        raise ValueError("must hold no credentials; they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not BUCKET_NAME.fullmatch(parts.netloc) or parts.fragment:
        raise ValueError("must name a bucket: s3://bucket/prefix")
    prefix = parts.path.strip("/")
    if prefix and not all(PREFIX_PART.fullmatch(part) for part in prefix.split("/")):
        raise ValueError("the prefix may have letters, digits, and - _ = . / in it")
    options = _options(parts.query)
    serve = options.get("serve", Serve.STREAM.value)
    if serve not in set(Serve):
        raise ValueError("serve must be stream or redirect")
    endpoint, region = options.get("endpoint_url"), options.get("region")
    if region is not None and not REGION.fullmatch(region):
        raise ValueError("region must be a word")
    return Bucket(parts.netloc, prefix, None if endpoint is None else _endpoint(endpoint), region, Serve(serve))


def _options(query: str) -> dict[str, str]:
    given = parse_qsl(query, keep_blank_values=True)
    options = dict(given)
    if len(options) != len(given) or not options.keys() <= {"endpoint_url", "region", "serve"}:
        raise ValueError("takes the options endpoint_url, region and serve, each once")
    return options


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("endpoint_url must be an http:// or https:// URL with a host and no user")
    if parts.query or parts.fragment:
        raise ValueError("endpoint_url must have neither query nor fragment")
    _ = parts.port  # Raises ValueError when it is not a port.
    return url.rstrip("/")
