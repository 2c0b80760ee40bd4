"""The provider's ways to say no, in both styles: documented text with a real code, observed text with HTTP 200.

A submit that gets no answer at all, or a proxy's page, is refused here too: what matters is that there is no job."""

from typing import Any

from webhook_app.emulator import pages
from webhook_app.emulator.shaping import worded
from webhook_app.emulator.words import ErrorStyle, MessageForm, SubmitFault

Body = dict[str, Any] | str | None
FAILED_BODY = {"status": "failed", "id": "", "messege": "Failed, Try Again", "output": ""}


class Refusal(Exception):
    """A submit or call that gets no job. `documented` goes out with `http_status`, `observed` with 200.

    A dict goes out as JSON, a string as the HTML page of somebody in between, which knows no styles; None is no answer:
    the connection is reset. `text` is what is said in words, None when nobody comes to speak. `fault` names the
    misbehaviour that was ordered, if it is one.
    """

    def __init__(
        self,
        http_status: int | None,
        documented: Body,
        observed: Body,
        *,
        fault: SubmitFault | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"refused with {http_status}")
        self.http_status = http_status
        self.documented = documented
        self.observed = observed
        self.fault = fault
        self.retry_after_s = retry_after_s
        self.text = documented.get("message", documented["status"]) if isinstance(documented, dict) else None

    def worded(self, form: MessageForm) -> "Refusal":
        """The same, with its message in another form."""
        documented, observed = (
            worded(body, form) if isinstance(body, dict) else body for body in (self.documented, self.observed)
        )
        other = Refusal(self.http_status, documented, observed, fault=self.fault, retry_after_s=self.retry_after_s)
        other.text = self.text
        return other

    def answer(self, style: str) -> tuple[Body, int | None, dict[str, str]]:
        """Body, HTTP status and further headers in the given error style."""
        if style == ErrorStyle.LEGACY and isinstance(self.observed, dict):
            return self.observed, 200, {}
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return self.documented, self.http_status, headers


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


def rate_limited(limit: int, retry_after_s: int, fault: SubmitFault | None = None) -> Refusal:
    """The queue of `limit` jobs is full, or is said to be."""
    text = f"Rate limit exceeded. Maximum {limit} queued requests allowed."
    tips = "You have repeated requests too quickly, wait about 30 seconds"
    return Refusal(
        429,
        _error(text, retry_after=retry_after_s),
        _messege("Rate limit exceeded", tips=tips, retry_after=retry_after_s),
        fault=fault,
        retry_after_s=retry_after_s,
    )


def server_error() -> Refusal:
    return Refusal(500, _error("Internal server error. Please try again."), _messege("try again"))


def failed_at_once() -> Refusal:
    """Not an error: a generation that failed is HTTP 200 in both styles."""
    return Refusal(200, FAILED_BODY, FAILED_BODY)


def overloaded() -> Refusal:
    text = "Service temporarily unavailable. Please try again later."
    return Refusal(503, _error(text), _messege(text), fault=SubmitFault.JSON_503)


def bad_gateway() -> Refusal:
    return Refusal(502, pages.BAD_GATEWAY, pages.BAD_GATEWAY, fault=SubmitFault.HTML_502)


def connection_reset() -> Refusal:
    return Refusal(None, None, None, fault=SubmitFault.RESET_BEFORE_READ)


def ordered(fate_fault: SubmitFault, *, limit: int, retry_after_s: int) -> Refusal | None:
    """The refusal that a fault is, or None for a fault of the answer alone. Here: the job is not taken."""
    match fate_fault:
        case SubmitFault.RESET_BEFORE_READ:
            return connection_reset()
        case SubmitFault.HTML_502:
            return bad_gateway()
        case SubmitFault.JSON_503:
            return overloaded()
        case SubmitFault.RATE_LIMITED:
            return rate_limited(limit, retry_after_s, SubmitFault.RATE_LIMITED)
        case _:
            return None
