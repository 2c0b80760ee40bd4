"""What a benchmark hands over: a figure for each target, with its rounds, its limit and its verdict; and the tables."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

START, END = "<!-- figures -->", "<!-- /figures -->"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing. `limit` is performance.md's, the most allowed or with `at_least` the least; None has no
    target. `unit` stands behind the number: "ms", "/s", or "" for a ratio."""

    what: str
    database: str
    rounds: Sequence[float]
    unit: str = ""
    limit: float | None = None
    at_least: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def verdict(self) -> str:
        """The median decides: the machine is shared, and one round may be somebody else's."""
        if self.limit is None:
            return ""
        good = self.median >= self.limit if self.at_least else self.median <= self.limit
        return "ok" if good else "TOO SLOW"

    @property
    def target(self) -> str:
        """The limit as a person reads it."""
        sign = "≥" if self.at_least else "≤"
        return "" if self.limit is None else f"{sign} {self.limit:g}{self._behind}"

    @property
    def spread(self) -> str:
        """Min, median and max of the rounds."""
        shown = (min(self.rounds), self.median, max(self.rounds))
        return " / ".join(f"{value:.0f}" if value >= 100 else f"{value:.2f}" for value in shown) + self._behind

    @property
    def _behind(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"median": self.median, "verdict": self.verdict}


def line(figure: Figure) -> str:
    """A figure for a terminal."""
    return f"{figure.what:<70} {figure.database:<11} {figure.spread:<28} {figure.target:<10} {figure.verdict}".rstrip()


def markdown(figures: Sequence[Figure]) -> str:
    """The README's table."""
    head = "| what | database | min / median / max | target | |\n|---|---|---|---|---|\n"
    cells = [(each.what, each.database, each.spread, each.target, each.verdict) for each in figures]
    return head + "".join(f"| {' | '.join(row)} |\n" for row in cells)


def rewrite(readme: Path, figures: Sequence[Figure]) -> None:
    """Put the table between the README's two marks. Raises ValueError when they are not there."""
    before, start, rest = readme.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{readme} lacks {START} or {END}")
    readme.write_text(f"{before}{START}\n{markdown(figures)}{END}{after}")
