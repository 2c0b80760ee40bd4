"""What comes out of the logs: one line each, no secret, nothing that moves a cursor."""

import json
import logging

import pytest
import structlog

from webhook_app import logs

TRACK = "0192f3c4-5d6e-7f80-9a1b-2c3d4e5f6071"
MAC = "AbCdEfGhIjKlMnOpQrStUv"


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def written(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    entry: dict[str, object] = json.loads(lines[0])
    return entry


def test_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]):
    logs.configure(form="json")
    structlog.get_logger("x").info("job.advanced", track_id=TRACK, n=3)
    entry = written(capsys)
    assert (entry["event"], entry["track_id"], entry["n"], entry["level"]) == ("job.advanced", TRACK, 3, "info")


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "text",
    [
        f"/callbacks/modelslab/{TRACK}/1.{MAC}",
        f"POST https://h.example/callbacks/modelslab/{TRACK}/12.{MAC}?x=1 HTTP/1.1",
        f"token 1.{MAC} alone",
        f"/callbacks/modelslab/{TRACK}/{MAC}",
    ],
)
def test_callback_tokens_never_show(form: str, text: str, capsys: pytest.CaptureFixture[str]):
    logs.configure(form=form)
    structlog.get_logger("x").info(text, url=text, deep={"list": [text]})
    logging.getLogger("gunicorn.error").warning("request %s", text)
    told = capsys.readouterr().err
    assert MAC not in told
    assert "***" in told


def test_a_signed_address_of_the_bucket_cannot_be_used(capsys: pytest.CaptureFixture[str]):
    logs.configure(form="json")
    query = "X-Amz-Credential=AKIA%2F2026&X-Amz-Expires=300&X-Amz-Security-Token=canary&X-Amz-Signature=canary"
    logging.getLogger("urllib3").warning("retrying /pictures/a?%s gone", query)
    told = written(capsys)["event"]
    expected = "X-Amz-Credential=***&X-Amz-Expires=300&X-Amz-Security-Token=***&X-Amz-Signature=***"
    assert told == f"retrying /pictures/a?{expected} gone"


def test_the_attempt_of_a_hidden_token_stays(capsys: pytest.CaptureFixture[str]):
    logs.configure(form="json")
    structlog.get_logger("x").info("callback", path=f"/callbacks/modelslab/{TRACK}/1.{MAC}")
    assert written(capsys)["path"] == f"/callbacks/modelslab/{TRACK}/1.***"


def test_known_secrets_and_our_keys_never_show_even_in_a_traceback(capsys: pytest.CaptureFixture[str]):
    logs.configure(form="json", secrets=["canary-secret"])
    try:
        raise ValueError("failed with canary-secret and wapp_" + "k" * 43)
    except ValueError:
        structlog.get_logger("x").exception("it failed")
    told = capsys.readouterr().err
    assert "canary-secret" not in told
    assert "k" * 43 not in told
    assert "ValueError" in told


def test_control_characters_are_escaped_on_a_terminal_too(capsys: pytest.CaptureFixture[str]):
    logs.configure(form="text")
    logging.getLogger("x").warning("from\x1b[2J outside\nlevel=error forged")
    told = capsys.readouterr().err
    assert "\x1b[2J" not in told
    assert len(told.splitlines()) == 1


def test_the_level_holds_for_everybody(capsys: pytest.CaptureFixture[str]):
    logs.configure(form="json", level="warning")
    structlog.get_logger("x").info("quiet")
    logging.getLogger("y").info("quiet too")
    assert capsys.readouterr().err == ""
