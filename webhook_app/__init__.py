"""webhook-app: a webhook receiver and job tracker for asynchronous image generation."""

__version__ = "0.1.0"
