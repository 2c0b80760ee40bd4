"""One HTTP call to a server: the key goes along, and whatever goes wrong becomes one kind of error."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import requests
from requests.auth import AuthBase

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0
PIECE = 1 << 16
NO_CONTENT = 204
UNREACHABLE = "unreachable"
NOT_UNDERSTOOD = "not_understood"
Piece = TypeVar("Piece")


class ApiError(Exception):
    """A call failed. `status` is the HTTP status, None where there was no answer; `code` is the server's word for it
    (`/docs/errors`), or `unreachable` or `not_understood`; `errors` point at the fields to blame; `request_id` finds it
    in the server's log."""

    def __init__(
        self,
        status: int | None,
        code: str,
        detail: str,
        *,
        request_id: str | None = None,
        errors: tuple[Mapping[str, str], ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.errors = errors
        self.retry_after_s = retry_after_s


class Bearer(AuthBase):
    """The API key in each request. As a header of the session a `~/.netrc` would replace it."""

    def __init__(self, api_key: str) -> None:
        if not (api_key.isascii() and api_key.isprintable() and api_key and " " not in api_key):
            raise ValueError("An API key is printable ASCII without spaces.")
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class Calls:
    """Calls to one server with one key. Raises `ValueError` for a URL or a key that cannot be one."""

    def __init__(self, url: str, api_key: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("A server's URL begins with http:// or https://.")
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = Bearer(api_key)

    def close(self) -> None:
        self._session.close()

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
    ) -> tuple[Any, requests.Response]:
        """The JSON that the server answers, and the answer. It may take `wait_s` longer than usual. Raises
        `ApiError`."""
        answer = self._answer(method, path, params=params, json=body, headers=headers, wait_s=wait_s)
        return _read(answer), answer

    def pages(self, path: str, asked: Mapping[str, Any]) -> Iterator[Any]:
        """Everything in a list, page after page. Raises `ApiError`."""
        params = dict(asked)
        while True:
            page, _ = self.json("GET", path, params=params)
            yield from page["data"]
            if not page["has_more"]:
                return
            params["cursor"] = page["next_cursor"]

    def nothing(self, method: str, path: str) -> None:
        """A call that is answered without a body. Raises `ApiError`."""
        answer = self._answer(method, path)
        if answer.status_code != NO_CONTENT:
            _read(answer)

    def pieces(self, path: str, *, params: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """What the server sends, as it comes. Raises `ApiError`, in the middle too: then it is not whole."""
        with self._answer("GET", path, params=params, stream=True) as answer:
            if answer.status_code != 200:
                _read(answer)
            yield from self._to_its_end(answer.iter_content(PIECE))

    def lines(
        self, path: str, *, params: Mapping[str, Any], headers: Mapping[str, str], wait_s: float = 0.0
    ) -> Iterator[str]:
        """The lines of an answer that is still being written, as they come. The server may be silent for `wait_s`
        longer than usual. Raises `ApiError`, in the middle too."""
        with self._answer("GET", path, params=params, headers=headers, stream=True, wait_s=wait_s) as answer:
            if answer.status_code != 200:
                _read(answer)
            # Byte by byte: what has arrived must not wait for more. The layers below read ahead.
            yield from self._to_its_end(answer.iter_lines(chunk_size=1, decode_unicode=True))

    def _to_its_end(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        try:
            yield from pieces
        except requests.RequestException as error:
            detail = f"{self.url} ended in the middle: {type(error).__name__}"
            raise ApiError(None, UNREACHABLE, detail) from error

    def _answer(self, method: str, path: str, *, wait_s: float = 0.0, **request: Any) -> requests.Response:
        timeout = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S + wait_s)
        try:
            # The key is for this server and for no other: no redirects.
            return self._session.request(method, self.url + path, timeout=timeout, allow_redirects=False, **request)
        except requests.RequestException as error:
            detail = f"{self.url} cannot be reached: {type(error).__name__}"
            raise ApiError(None, UNREACHABLE, detail) from error


def retry_after_s(answer: requests.Response) -> int | None:
    """How many seconds the server asks to wait, None where it does not."""
    text = answer.headers.get("Retry-After", "")
    return int(text) if text.isdecimal() and len(text) < 9 else None


def _read(answer: requests.Response) -> Any:
    try:
        said = answer.json()
    except requests.JSONDecodeError:
        said = None
    if 200 <= answer.status_code < 300 and said is not None:
        return said
    problem = said if isinstance(said, dict) and "code" in said else {}
    detail = f"{answer.url.partition('?')[0]} answers {answer.status_code}, and not as webhook-app does."
    raise ApiError(
        answer.status_code,
        str(problem.get("code", NOT_UNDERSTOOD)),
        str(problem.get("detail", detail)),
        request_id=problem.get("request_id") or answer.headers.get("X-Request-Id"),
        errors=tuple(problem.get("errors", ())),
        retry_after_s=retry_after_s(answer),
    )
