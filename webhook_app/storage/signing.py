"""Signed addresses that say how the bucket has to answer (AWS Signature Version 4, "Authenticating Requests: Using
Query Parameters"). obstore cannot say it; its address is taken, and signed anew where the keys are at hand."""

import hashlib
import hmac
import os
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

CREDENTIAL, SIGNATURE, DATE = "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date"
ALGORITHM, NOT_SIGNED = "AWS4-HMAC-SHA256", "UNSIGNED-PAYLOAD"


def answering(url: str, overrides: Mapping[str, str]) -> str:
    """A signed GET address, made to be answered with these (`response-content-type`, `response-content-disposition`).
    As it was where it is signed with other keys than those in the environment: a role's are known to obstore alone."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.pop(SIGNATURE, None)
    key_id, _, scope = query.get(CREDENTIAL, "").partition("/")
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY", "").strip()
    if not secret or key_id != os.environ.get("AWS_ACCESS_KEY_ID", "").strip():
        return url
    canonical = "&".join(sorted(f"{_coded(name)}={_coded(value)}" for name, value in {**query, **overrides}.items()))
    signature = _signature(secret, scope, query[DATE], _request(parts, canonical))
    return parts._replace(query=f"{canonical}&{SIGNATURE}={signature}").geturl()


def _coded(text: str) -> str:
    return quote(text, safe="-_.~")


def _request(parts: SplitResult, canonical_query: str) -> str:
    """The canonical request, whose only header is the host."""
    return "\n".join(("GET", parts.path, canonical_query, f"host:{parts.netloc}", "", "host", NOT_SIGNED))


def _signature(secret: str, scope: str, date: str, request: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join((ALGORITHM, date, scope, hashlib.sha256(request.encode()).hexdigest()))
    return hmac.digest(key, text.encode(), "sha256").hex()
