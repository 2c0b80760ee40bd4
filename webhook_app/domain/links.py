"""Addresses of pictures that end (`IMAGE_ACCESS=signed`): an expiry and a signature in the query. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from webhook_app.domain.tokens import Tokens

DAY_S = 86_400
PURPOSE = "picture link"


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and checks them. Good for `ttl` at least."""

    tokens: Tokens
    ttl: timedelta

    def ends(self, now: datetime) -> int:
        """When an address that is given out now ends, in seconds since 1970: rounded up to the day, so that it stays
        the same for a day and caches work."""
        return -int(-(now + self.ttl).timestamp() // DAY_S) * DAY_S

    def query(self, image_id: str, now: datetime) -> str:
        ends = self.ends(now)
        return f"expires={ends}&signature={self.tokens.sign(PURPOSE, _message(image_id, ends))}"

    def signed(self, image_id: str, expires: str, signature: str) -> int | None:
        """When the address ends, also when that is over; None when it is not one of ours."""
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return None
        ends = int(expires)
        return ends if self.tokens.check(PURPOSE, _message(image_id, ends), signature) else None


def _message(image_id: str, ends: int) -> str:
    return f"{image_id}\n{ends}"
