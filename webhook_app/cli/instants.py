"""Instants on the command line, always in UTC, and spans: how they are read and how they are written."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click


class _Instant(click.DateTime):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        found: datetime = super().convert(value, param, ctx)
        return found.replace(tzinfo=UTC)


INSTANT = _Instant(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"])


UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def span(value: str) -> timedelta:
    """A span of time such as 90m, 24h or 7d."""
    found = re.fullmatch(r"(\d{1,5})([mhd])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a span such as 90m, 24h or 7d")
    return int(found[1]) * UNITS[found[2]]


def instant_text(value: datetime) -> str:
    """To the second, as people and programs read it."""
    return value.isoformat(timespec="seconds").replace("+00:00", "Z")
