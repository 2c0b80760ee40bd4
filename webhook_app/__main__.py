"""`python -m webhook_app`: the same command line as `webhook-app`."""

from webhook_app.cli import main

main(prog_name="webhook-app")
