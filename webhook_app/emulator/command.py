"""The command line of the emulator: `webhook-app emulator`. Options in, serve() out."""

from typing import Any

import click

from webhook_app.emulator.options import CallbackHabit, EmulatorOptions, Ending, ErrorStyle, OptionError, SubmitForm

MIX_HINT = "A mix is one word, or WORD=WEIGHT,..."
EPILOG = """\b
What it serves, below the URL that is printed on stdout (for MODELSLAB_URL):
  POST /flux/text2img  /flux/img2img  /flux/fetch/ID  /flux/system_details
  POST /flux/restart_server  update_server  clear_cache  clear_queue
and below the host:
  POST   /api/v6/images/text2img  img2img  fetch  fetch/ID
  GET    /generations/UUID-N.png
  GET    /_emulator/ledger     everything got and given; ?kind= ?track_id= ?after=
  DELETE /_emulator/ledger     forget it
  POST   /_emulator/reset      forget jobs and repeat counts too
  GET    /_emulator/config     the options now
  POST   /_emulator/config     {"delay_s": 0.5, "callback": "never"} from now on

\b
Try it:
  curl -s URL/flux/text2img -d '{"key":"x","prompt":"a lighthouse at dawn"}'
"""


@click.command("emulator", epilog=EPILOG, context_settings={"show_default": True, "max_content_width": 110})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, help="Port to listen on; 0 takes a free one.")
@click.option("--key", envvar="EMULATOR_KEY", show_default="any key will do", help="The only API key to accept.")
@click.option("--seed", default=0, help="What happens to a job follows from this, its input and its repetition.")
@click.option("--delay", "delay_s", default=2.0, help="Seconds that a picture takes.")
@click.option("--wait", "wait_s", default=1.0, help="Seconds that a submit waits for its picture before 'processing'.")
@click.option("--parallel", default=4, help="Pictures made at the same time; the others queue.")
@click.option("--max-queued", default=0, help="Unfinished jobs before 429; 0 is no limit. Public plans: 5, 10, 15.")
@click.option("--retry-after", "retry_after_s", default=30, help="Seconds told with a 429.")
@click.option(
    "--submit-form",
    metavar="MIX",
    default="auto",
    help=f"How submits are answered: {', '.join(SubmitForm)}. {MIX_HINT}",
)
@click.option(
    "--ending", metavar="MIX", default="success", help=f"How accepted jobs end: {', '.join(Ending)}. {MIX_HINT}"
)
@click.option(
    "--callback", default="once", help=f"How often the webhook is called: {', '.join(CallbackHabit)}. {MIX_HINT}"
)
@click.option("--callback-delay", "callback_delay_s", default=0.0, help="Seconds from the picture to its callback.")
@click.option("--picture-404s", default=0, help="Reads of each finished picture that answer 404 first.")
@click.option(
    "--error-style",
    type=click.Choice([style.value for style in ErrorStyle]),
    default="http",
    help="Real codes, or always 200.",
)
@click.option("--remember", default=100_000, help="Jobs and ledger entries that are kept.")
def emulator(**values: Any) -> None:
    """Act the ModelsLab image API (flux) on this machine, callbacks and pictures included.

    Point a client at the URL on stdout; any key will do unless --key says otherwise. Pictures are drawn from the prompt
    and the seed: equal input, equal bytes. Stops on Ctrl-C.
    """
    from webhook_app.emulator.serve import serve  # Here, as Flask and Pillow would slow down every --help.

    try:
        options = EmulatorOptions(**values)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    serve(options, ready=lambda url: click.echo(f"{url}/api/v1/enterprise"))
