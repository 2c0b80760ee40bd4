"""The provider's ways to say no, in both styles: documented text with a real code, observed text with HTTP 200."""

from typing import Any

from webhook_app.emulator.options import ErrorStyle

FAILED_BODY = {"status": "failed", "id": "", "messege": "Failed, Try Again", "output": ""}


class Refusal(Exception):
    """A submit or call that gets no job. `documented` goes out with `http_status`, `observed` with 200."""

    def __init__(self, http_status: int, documented: dict[str, Any], observed: dict[str, Any]) -> None:
        super().__init__(documented.get("message", documented["status"]))
        self.http_status = http_status
        self.documented = documented
        self.observed = observed

    def answer(self, style: str) -> tuple[dict[str, Any], int]:
        """Body and HTTP status in the given error style."""
        return (self.observed, 200) if style == ErrorStyle.LEGACY else (self.documented, self.http_status)


def _error(message: object, **more: object) -> dict[str, Any]:
    return {"status": "error", "message": message, **more}


def _messege(text: str, **more: object) -> dict[str, Any]:
    return {"status": "error", "messege": text, **more}


def no_key() -> Refusal:
    return Refusal(401, _error("API key required"), _bad_key_observed())


def wrong_key() -> Refusal:
    return Refusal(401, _error("Invalid API key"), _bad_key_observed())


def _bad_key_observed() -> dict[str, Any]:
    return _messege("Invalid Api Key", tip="Get your api key from the dashboard")


def invalid(field: str, rule: str, observed: str) -> Refusal:
    """A parameter is wrong: `"width must be ..."` as documented, a bag of lists by field as observed."""
    bag = {field: [f"The {field.replace('_', ' ')} field {observed}."]}
    return Refusal(400, _error(f"{field} {rule}"), _error(bag))


def unfetchable_image() -> Refusal:
    text = "Unable to fetch image from provided URL"
    return Refusal(400, _error(text), _messege(text))


def queue_full(limit: int, retry_after_s: int) -> Refusal:
    text = f"Rate limit exceeded. Maximum {limit} queued requests allowed."
    tips = "You have repeated requests too quickly, wait about 30 seconds"
    return Refusal(429, _error(text, retry_after=retry_after_s), _messege("Rate limit exceeded", tips=tips))


def server_error() -> Refusal:
    return Refusal(500, _error("Internal server error. Please try again."), _messege("try again"))


def failed_at_once() -> Refusal:
    """Not an error: a generation that failed is HTTP 200 in both styles."""
    return Refusal(200, FAILED_BODY, FAILED_BODY)
