"""The pages: they load nothing from elsewhere, and what we carry of others is what we say it is."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from tests.web.doors import Doors
from webhook_app import __version__
from webhook_app.domain.errors import ErrorCode, ProblemError
from webhook_app.store.engine import Store
from webhook_app.web import pages

VENDOR = pages.STATIC / "vendor"
PAGES = ["/", "/docs", "/docs/errors"]


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    """The pages ask no database, so there is none."""
    return Doors(Store(f"sqlite:///{tmp_path}/no-such-directory/nothing.db"), tmp_path)


def test_every_file_of_others_is_listed_with_its_hash() -> None:
    listed = tomllib.loads((VENDOR / "VENDORED").read_text())
    said = {f"{folder}/{name}": sha for folder, of in listed.items() for name, sha in of["sha256"].items()}
    files = {path for path in VENDOR.rglob("*") if path.is_file() and path.name != "VENDORED"}
    found = {str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == said
    for package in listed.values():
        assert {"name", "version", "licence"} <= package.keys()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_no_other_host_and_no_inline_script(doors: Doors, path: str) -> None:
    answer = doors.http.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    page = answer.get_data(as_text=True)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert ("'unsafe-inline'" in policy) == (path == "/docs")
    assert "script-src 'unsafe-inline'" not in policy


@pytest.mark.parametrize("path", PAGES)
def test_what_a_page_refers_to_is_there(doors: Doors, path: str) -> None:
    page = doors.http.get(path, headers={"Accept": "text/html"}).get_data(as_text=True)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        answer = doors.http.get(address)
        assert answer.status_code == 200
        assert answer.content_type.startswith(("text/css", "text/javascript"))
        again = doors.http.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304


@pytest.mark.parametrize(
    "name", ["", "VENDORED", "vendor/VENDORED", "../pages.py", "%2e%2e/pages.py", "vendor/swagger-ui/LICENSE"]
)
def test_nothing_else_is_served(doors: Doors, name: str) -> None:
    assert doors.http.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html"])
def test_the_front_is_json_unless_html_is_preferred(doors: Doors, accept: str | None) -> None:
    answer = doors.http.get("/", headers={} if accept is None else {"Accept": accept})
    base = doors.parts.settings.public_url
    assert answer.json == {
        "name": "webhook-app",
        "version": __version__,
        "docs": f"{base}/docs",
        "openapi": f"{base}/openapi.json",
    }
    assert answer.headers["Vary"] == "Accept"


def test_a_browser_gets_the_front_page(doors: Doors) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    page = doors.http.get("/", headers={"Accept": accept}).get_data(as_text=True)
    assert 'href="/docs"' in page
    assert 'href="/openapi.json"' in page


def test_every_code_has_its_place_and_its_advice(doors: Doors) -> None:
    page = doors.http.get("/docs/errors").get_data(as_text=True)
    codes = {kind.code for kind in pages._descendants(ProblemError)}
    assert codes == set(pages.ADVICE)
    assert set(ErrorCode) == set(pages.JOB_ERRORS)
    for code in codes:
        assert page.count(f'id="{code}"') == 1
