"""The ledger, the options at run time, and runs that repeat."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import requests

from tests.emulator.conftest import Emulator, read_to_the_end
from webhook_app.emulator.behaviour import decide
from webhook_app.emulator.command import emulator as command
from webhook_app.emulator.ledger import Ledger
from webhook_app.emulator.options import MIXES, EmulatorOptions, OptionError, knobs

PEM = Path(__file__).parents[1] / "net" / "localhost.pem"


def test_the_ledger_tells_everything_but_the_key(start, receiver):
    emulator = start(key="canary-key")
    body = {"key": "canary-key", "prompt": "x", "webhook": receiver.url, "track_id": "t1", "samples": 1}
    answer = emulator.post("/api/v1/enterprise/flux/text2img", body).json()
    emulator.get(answer["output"][0])
    emulator.post("/api/v1/enterprise/flux/text2img", {"key": "canary-wrong", "track_id": "t2"})
    emulator.post("/api/v1/enterprise/flux/fetch/5", {"key": "canary-key"})
    emulator.await_ledger("callback", 1)
    text = emulator.get("/_emulator/ledger").text
    assert "canary" not in text
    entries = json.loads(text)["entries"]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5, 6, 7]
    assert {entry["kind"] for entry in entries} == {"submit", "answer", "callback", "picture", "fetch"}
    accepted, refused = emulator.ledger(kind="submit")
    assert (accepted["track_id"], accepted["webhook"], accepted["refused"]) == ("t1", receiver.url, None)
    assert accepted["body"] == {"prompt": "x", "webhook": receiver.url, "track_id": "t1", "samples": 1}
    assert (refused["track_id"], refused["refused"]) == ("t2", "Invalid API key")
    assert [entry["kind"] for entry in emulator.ledger(track_id="t2")] == ["submit", "answer"]
    assert "canary" not in emulator.get("/_emulator/config").text


def test_the_ledger_can_be_cleared_and_is_bounded(start):
    emulator = start(remember=3)
    for _ in range(4):
        emulator.submit()
    page = emulator.get("/_emulator/ledger").json()
    assert (page["last_seq"], page["dropped"], len(page["entries"])) == (8, 5, 3)
    assert [entry["seq"] for entry in emulator.ledger(after="7")] == [8]
    assert emulator.http.delete(f"{emulator.url}/_emulator/ledger", timeout=10).status_code == 204
    assert emulator.ledger() == []


def test_ledger_filters_compare_track_ids_as_text():
    ledger = Ledger(10)
    ledger.record("submit", at=1.0, track_id=3422)
    assert json.loads(ledger.as_json(track_id="3422"))["entries"][0]["track_id"] == 3422


def test_options_change_at_run_time_and_unknown_ones_are_named(start):
    emulator = start()
    changed = emulator.post("/_emulator/config", {"delay_s": 1.5, "callback": "once=3,never=1"}).json()
    assert (changed["delay_s"], changed["callback"]) == (1.5, "once=3,never=1")
    assert emulator.get("/_emulator/config").json() == changed
    for wrong in ({"port": 1}, {"nonsense": 1}, {"delay_s": -1}, {"callback": "perhaps"}, {"delay_s": "2"}, [], "x"):
        answer = emulator.post("/_emulator/config", wrong)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert emulator.get("/_emulator/config").json() == changed


def test_a_run_repeats_after_a_reset_and_each_repetition_of_an_input_is_its_own(start):
    emulator = start(seed=11, submit_form="success_int_id=2,processing=1,failed=1,error=1")

    def run() -> list[object]:
        answers = [emulator.submit(prompt=prompt, track_id=f"{n}").json() for n, prompt in enumerate("aabbab" * 5)]
        return [(answer["status"], answer.get("meta", {}).get("seed")) for answer in answers]

    first = run()
    emulator.post("/_emulator/reset")
    assert run() == first
    assert run() != first
    assert {status for status, _ in first} == {"success", "processing", "failed", "error"}


def test_drawn_seeds_use_the_full_unsigned_32_bits():
    seeds = [decide(EmulatorOptions(), digest="d", repeat=repeat).drawn_seed for repeat in range(2000)]
    assert min(seeds) >= 0
    assert 2**31 < max(seeds) < 2**32
    assert len(set(seeds)) == 2000


def test_a_fate_follows_its_weights_and_nothing_else():
    options = EmulatorOptions(seed=3, callback="once=8,never=2")
    fates = [decide(options, digest=str(n), repeat=0) for n in range(2000)]
    assert fates == [decide(options, digest=str(n), repeat=0) for n in range(2000)]
    never = sum(fate.callback == "never" for fate in fates)
    assert 300 < never < 500
    assert {fate.submit_form for fate in fates} == {"auto"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"callback": "once=x"},
        {"callback": "once=0"},
        {"callback": "once=nan"},
        {"submit_form": ""},
        {"ending": 3},
        {"error_style": "polite"},
        {"key": ""},
        {"parallel": 0},
        {"remember": 0},
        {"delay_s": float("inf")},
        {"seed": True},
        {"max_queued": 1.5},
    ],
)
def test_options_without_a_meaning_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        EmulatorOptions(**wrong)


RUN = [sys.executable, "-c", "from webhook_app.emulator.command import emulator; emulator()"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_its_url_and_stops_cleanly_on_a_signal(number):
    with subprocess.Popen(
        [*RUN, "--port", "0", "--delay", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/api/v1/enterprise")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == ""
    assert err == f"listening on {url.removesuffix('/api/v1/enterprise')}\n"


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], Emulator]]:
    """The command in a process of its own, gone afterwards whatever happens."""
    with subprocess.Popen([*RUN, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, Emulator(process.stdout.readline().strip().removesuffix("/api/v1/enterprise"))
        finally:
            process.kill()


def test_the_command_stops_at_once_while_it_holds_connections():
    """As by SIGTERM from a supervisor; the held clients see the end of it."""
    options = ["--port", "0", "--delay", "0", "--submit-fault", "silent", "--silence", "600"]
    with running(*options) as (process, emulator):
        held = [emulator.open_submit(prompt=f"{turn}", instant_response=True) for turn in range(8)]
        emulator.await_ledger("answer", 8)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err.count("\n") == 1
    for connection in held:
        with contextlib.suppress(ConnectionResetError):
            assert read_to_the_end(connection) == b""


def test_https_is_served_with_a_certificate_that_nobody_trusts():
    options = ["--port", "0", "--delay", "0", "--tls-certificate", str(PEM), "--tls-key", str(PEM)]
    with running(*options) as (process, emulator):
        assert emulator.url.startswith("https://127.0.0.1:")
        emulator.url = emulator.url.replace("127.0.0.1", "localhost")  # The name in the certificate.
        with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2]))):
            with pytest.raises(requests.exceptions.SSLError):  # And the connection that does not speak stops nobody.
                emulator.submit()
            emulator.http.verify = str(PEM)
            url = emulator.submit(width=256, height=256).json()["output"][0]
            assert url.startswith(f"{emulator.url}/generations/")
            assert emulator.get(url).content.startswith(b"\x89PNG")
            emulator.post("/_emulator/config", {"submit_fault": "reset_after_read"})
            with pytest.raises(requests.ConnectionError):
                emulator.submit()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_help_explains_every_option_and_every_word():
    text = " ".join(command.get_help(click.Context(command, terminal_width=200)).split())
    for knob in knobs():
        assert f"--{knob.name.replace('_', '-')} " in text
    for word in [word for words in MIXES.values() for word in words]:
        assert f"{word} {word.meaning}" in text


def test_a_wrong_option_on_the_command_line_is_a_usage_error():
    done = subprocess.run([*RUN, "--callback", "perhaps"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "callback: 'perhaps' is not one of once, twice, never" in done.stderr
