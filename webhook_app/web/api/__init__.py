"""The client routes under `/v1`, one file for each page of them."""

from flask import Flask

from webhook_app.web.api import (
    batches,
    callbacks,
    cancel,
    deliveries,
    endpoints,
    erasures,
    events,
    explain,
    export,
    history,
    images,
    keys,
    listing,
    providers,
    rerun,
    resolve,
    stats,
    status,
    submit,
    waits,
    webhooks,
)
from webhook_app.web.registry import Registry
from webhook_app.wiring import Parts


def register(app: Flask, parts: Parts, registry: Registry) -> None:
    """All of them."""
    for page in (
        submit,
        status,
        waits,
        cancel,
        rerun,
        explain,
        batches,
        erasures,
        resolve,
        listing,
        export,
        history,
        events,
        callbacks,
        images,
        keys,
        providers,
        stats,
        endpoints,
        deliveries,
        webhooks,
    ):
        page.register(app, parts, registry)
