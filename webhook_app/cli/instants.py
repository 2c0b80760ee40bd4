"""Instants on the command line, always in UTC: how they are read and how they are written."""

from datetime import UTC, datetime
from typing import Any

import click


class _Instant(click.DateTime):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        found: datetime = super().convert(value, param, ctx)
        return found.replace(tzinfo=UTC)


INSTANT = _Instant(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"])


def instant_text(value: datetime) -> str:
    """To the second, as people and programs read it."""
    return value.isoformat(timespec="seconds").replace("+00:00", "Z")
