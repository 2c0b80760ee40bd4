"""What is sent to a server in a measurement."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent, in order; a path and a body for each request. `answer` is the only status that is good."""

    method: str
    paths: Sequence[str]
    bodies: Sequence[str]
    headers: dict[str, str] = field(default_factory=dict)
    answer: int = 200

    def part(self, start: int, end: int) -> "Requests":
        """Some of them."""
        return Requests(self.method, self.paths[start:end], self.bodies[start:end], self.headers, self.answer)
