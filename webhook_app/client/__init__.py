"""The typed Python client: a server of ours, spoken to over HTTP. It needs requests and the standard library alone."""

from webhook_app.client.calls import ApiError
from webhook_app.client.client import Client, is_complete, is_over
from webhook_app.client.shapes import Batch, Event, Fault, Image, Job, NewBatch, Until, Waited

__all__ = [
    "ApiError",
    "Batch",
    "Client",
    "Event",
    "Fault",
    "Image",
    "Job",
    "NewBatch",
    "Until",
    "Waited",
    "is_complete",
    "is_over",
]
