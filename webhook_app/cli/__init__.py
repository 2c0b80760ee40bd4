"""The command line. A verb's module is imported when the verb is used: starting up costs what is needed, no more."""

from importlib import import_module
from typing import Any

import click

from webhook_app import __version__
from webhook_app.cli.exits import said
from webhook_app.cli.supervise import end_with_supervisor

# verb -> module, name of its click command
VERBS = {
    "demo": ("webhook_app.cli.demo", "demo"),
    "serve": ("webhook_app.cli.serve", "serve"),
    "web": ("webhook_app.cli.web", "web"),
    "worker": ("webhook_app.cli.worker", "worker"),
    "emulator": ("webhook_app.emulator.command", "emulator"),
    "db": ("webhook_app.cli.db", "db"),
    "keys": ("webhook_app.cli.keys", "keys"),
    "callbacks": ("webhook_app.cli.callbacks", "callbacks"),
    "providers": ("webhook_app.cli.providers", "providers"),
    "archive": ("webhook_app.cli.archive", "archive"),
    "audit": ("webhook_app.cli.audit", "audit"),
    "retention": ("webhook_app.cli.retention", "retention"),
    "submit": ("webhook_app.cli.jobs", "submit"),
    "wait": ("webhook_app.cli.wait", "wait"),
    "jobs": ("webhook_app.cli.jobs", "jobs"),
    "batches": ("webhook_app.cli.batches", "batches"),
    "events": ("webhook_app.cli.events", "events"),
    "listen": ("webhook_app.cli.events", "listen"),
    "endpoints": ("webhook_app.cli.webhooks", "endpoints"),
    "deliveries": ("webhook_app.cli.webhooks", "deliveries"),
    "webhooks": ("webhook_app.cli.webhooks", "webhooks"),
    "doctor": ("webhook_app.cli.doctor", "doctor"),
    "version": ("webhook_app.cli.version", "version"),
}


class Verbs(click.Group):
    """A group whose commands are imported on use, and whose errors become one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, attribute = VERBS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        end_with_supervisor()
        with said():
            return super().invoke(ctx)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="webhook-app %(version)s")
def main() -> None:
    """Take image jobs, send them to the provider, hear its callbacks, keep the pictures.

    \b
    Begin here:   webhook-app demo        everything on this machine, with an acted provider
    Then:         webhook-app serve       web and worker together
                  webhook-app doctor      is this installation sound?

    Settings come from the environment. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not allowed,
    5 conflict, 6 provider or job failed, 7 timed out, 8 the wait elapsed.
    """
