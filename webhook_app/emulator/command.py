"""The command line of the emulator: `webhook-app emulator`. Options are read off the table, out comes serve()."""

from collections.abc import Iterator
from dataclasses import MISSING, Field
from itertools import groupby
from typing import Any

import click

from webhook_app.emulator.options import MIXES, EmulatorOptions, OptionError, knobs

PORT = 8090
ABOUT = """Act the ModelsLab image API (flux) on this machine, callbacks and pictures included.

Point a client at the URL on stdout; any key will do unless --key says otherwise. Pictures are drawn from the prompt and
the seed: equal input, equal bytes. It behaves until it is told not to; then it loses, doubles, cuts and forges as told.
Stops on Ctrl-C.

\b
  webhook-app emulator --callback once=8,never=1,twice=1 --submit-fault none=19,reset_after_read=1
  webhook-app emulator --seed 7 --fetch-form thin=9,html=1 --picture-fault none=7,not_found=3
  webhook-app emulator --burst-every 20 --burst-length 3 --retry-after 2

A MIX is one word, or WORD=WEIGHT,... The fate of a job is a function of --seed, its input (everything but key, webhook
and track_id) and how often that input has come before; each mix rolls its own die. So a run repeats exactly, and the
same input sent again may fare otherwise. POST /_emulator/reset starts the counting over, as a restart does.
"""
ROUTES = """\b
What it serves, below the URL that is printed on stdout (for MODELSLAB_URL):
  POST /flux/text2img  /flux/img2img  /flux/fetch/ID  /flux/system_details
  POST /flux/restart_server  update_server  clear_cache  clear_queue
and below the host:
  POST   /api/v6/images/text2img  img2img  fetch  fetch/ID
  GET    /generations/UUID-N.png
  GET    /_emulator/ledger     everything got and given; ?kind= ?track_id= ?after=
  DELETE /_emulator/ledger     forget it; what was counted stays
  POST   /_emulator/reset      start over: forget jobs, repeat counts and ledger
  GET    /_emulator/config     the options now, by the names of the flags with _ for -, spans with _s
  POST   /_emulator/config     {"delay_s": 0.5, "callback": "never"} from now on

\b
The ledger has one 'submit' (taken, fault, refused, fate) and one 'answer' (http_status, aborted, body) for each
request that asks for a picture, and one entry for each 'callback', 'fetch' and 'picture'.

\b
Try it:
  curl -s URL/flux/text2img -d '{"key":"x","prompt":"a lighthouse at dawn"}'
"""


def _flags(name: str) -> list[str]:
    """`--delay-s` and, shorter, `--delay`: the unit may be left out."""
    long = f"--{name.replace('_', '-')}"
    return [name, long.removesuffix("-s"), long] if long.endswith("-s") else [name, long]


def _option(knob: Field[Any]) -> click.Option:
    default = PORT if knob.name == "port" else knob.default
    shown = default is not None and default is not MISSING
    return click.Option(
        _flags(knob.name),
        type=_type(knob),
        default=default,
        show_default=shown,
        help=knob.metadata["help"],
        envvar=knob.metadata.get("envvar"),
        metavar="MIX" if knob.name in MIXES else None,
    )


def _type(knob: Field[Any]) -> click.ParamType[Any]:
    if "choice" in knob.metadata:
        return click.Choice([str(word) for word in knob.metadata["choice"]])
    if "file" in knob.metadata:
        return click.Path(exists=True, dir_okay=False)
    return click.types.convert_type(str if knob.default is None else type(knob.default))


class GroupedCommand(click.Command):
    """A command whose options are listed by group, each mix with the meaning of its words."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        params = {param.name: param for param in self.get_params(ctx)}
        for group, members in groupby(knobs(), key=lambda knob: knob.metadata["group"]):
            with formatter.section(group):
                formatter.write_dl([row for knob in members for row in _rows(params.pop(knob.name), ctx)])
        with formatter.section("Other"):
            formatter.write_dl([row for param in params.values() for row in _rows(param, ctx)])


def _rows(param: click.Parameter, ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Flag and help; for a mix also each word and its meaning."""
    record = param.get_help_record(ctx)
    if record is not None:
        yield record
    for word in MIXES.get(param.name or "", ()):
        yield f"    {word}", word.meaning


def _run(**values: Any) -> None:
    from webhook_app.emulator.serve import serve  # Here, as Flask and Pillow would slow down every --help.

    try:
        options = EmulatorOptions(**values)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    serve(options, ready=lambda url: click.echo(f"{url}/api/v1/enterprise"))


emulator = GroupedCommand(
    "emulator",
    callback=_run,
    params=[_option(knob) for knob in knobs()],
    help=ABOUT,
    epilog=ROUTES,
    context_settings={"max_content_width": 110},
)
