"""The typed Python client: a server of ours, spoken to over HTTP. It needs requests and the standard library alone."""

from webhook_app.client.calls import ApiError
from webhook_app.client.client import Client, is_over
from webhook_app.client.shapes import Fault, Image, Job, Until, Waited

__all__ = ["ApiError", "Client", "Fault", "Image", "Job", "Until", "Waited", "is_over"]
