"""The shapes that one body is seen in: members renamed, retyped, emptied or left out, by the job's fate. Pure."""

from typing import Any

from webhook_app.emulator.behaviour import Shape
from webhook_app.emulator.words import EtaForm, IdForm, MessageForm, ProxyLinksForm, StatusForm, TrackIdForm

Body = dict[str, Any]
MESSAGES = ("message", "messege")
ODD = {"success": "ready", "processing": "queued"}


def shaped(body: Body, shape: Shape) -> Body:
    """A body as `shape` has it. Members that it lacks are not added; the pictures and what was said stay."""
    body = worded(body, shape.message)
    body = _with_id(body, shape.id)
    body = _with_links(body, shape.proxy_links)
    body = _tracked(body, shape.track_id)
    if "meta" in body:
        body["meta"] = _tracked(body["meta"], shape.track_id)
    if shape.status is StatusForm.ODD:
        body["status"] = ODD.get(body["status"], body["status"])
    if shape.eta is EtaForm.FRACTION and "eta" in body:
        body["eta"] += 0.067986918399999
    return body


def worded(body: Body, form: MessageForm) -> Body:
    """A copy with its message, whatever the member is called, in the given form."""
    text = next((body[name] for name in MESSAGES if name in body), None)
    if text is None or form is MessageForm.MESSAGE:
        return dict(body)
    rest = {name: value for name, value in body.items() if name not in MESSAGES}
    match form:
        case MessageForm.MESSEGE:
            return rest | {"messege": text}
        case MessageForm.BAG:
            return rest | {"message": {"error": [text]}}
        case MessageForm.EMPTY:
            return rest | {"message": ""}


def _with_id(body: Body, form: IdForm) -> Body:
    """Only an id that is there and a number is retyped or left out."""
    if not isinstance(body.get("id"), int):
        return body
    match form:
        case IdForm.NUMBER:
            return body
        case IdForm.TEXT:
            return body | {"id": str(body["id"])}
        case IdForm.NULL:
            return body | {"id": None}
        case IdForm.ABSENT:
            return _without(body, "id")


def _with_links(body: Body, form: ProxyLinksForm) -> Body:
    if "proxy_links" not in body:
        return body
    links = body["proxy_links"]
    match form:
        case ProxyLinksForm.LIST:
            return body
        case ProxyLinksForm.EMPTY_LIST:
            return body | {"proxy_links": []}
        case ProxyLinksForm.EMPTY_TEXT:
            return body | {"proxy_links": ""}
        case ProxyLinksForm.NULL:
            return body | {"proxy_links": None}
        case ProxyLinksForm.TEXT:
            return body | {"proxy_links": links[0] if links else ""}
        case ProxyLinksForm.OBJECT:
            return body | {"proxy_links": {str(place): link for place, link in enumerate(links)}}
        case ProxyLinksForm.ABSENT:
            return _without(body, "proxy_links")


def _tracked(body: Body, form: TrackIdForm) -> Body:
    track_id = body.get("track_id")
    if form is TrackIdForm.ABSENT:
        return _without(body, "track_id")
    if form is TrackIdForm.NUMBER and isinstance(track_id, str) and track_id.isascii() and track_id.isdigit():
        return body | {"track_id": int(track_id)}
    return body


def _without(body: Body, name: str) -> Body:
    return {key: value for key, value in body.items() if key != name}
