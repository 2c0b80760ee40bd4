"""The environment becomes settings, or one line that names the variable."""

import stat
import threading
from pathlib import Path

import pytest

from webhook_app.settings import SettingsError, keep_secret, load_settings, make_secret
from webhook_app.storage.location import Bucket, Folder, Serve

POSTGRESQL = {"DATABASE_URL": "postgresql://u:pass-word@db/app", "SECRET_KEY": "s" * 32, "DATA_DIR": "/srv/data"}


def test_an_empty_environment_means_sqlite_in_the_data_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings({})
    assert settings.sqlite_path == tmp_path / "data" / "webhook-app.db"
    assert settings.archive == Folder(tmp_path / "data" / "archive")
    assert settings.spool_dir == tmp_path / "data" / "spool"
    assert settings.public_url == settings.callback_base_url == "http://127.0.0.1:8000"
    assert (settings.web_worker_class, settings.web_concurrency) == ("gthread", 1)
    assert settings.max_waiters < settings.web_threads
    assert list(tmp_path.iterdir()) == []


def test_postgresql_gets_gevent_and_two_processes():
    settings = load_settings(POSTGRESQL)
    assert (settings.web_worker_class, settings.web_concurrency) == ("gevent", 2)
    assert settings.sqlite_path is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://db/app"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("ARCHIVE_URL", "s3:///prefix"),
        ("ARCHIVE_URL", "s3://b/prefix"),
        ("ARCHIVE_URL", "s3://bucket/../up"),
        ("ARCHIVE_URL", "s3://bucket/a b"),
        ("ARCHIVE_URL", "s3://bucket?endpoint_url=minio:9000"),
        ("ARCHIVE_URL", "s3://bucket?endpoint_url=http://minio:9000/?a=b"),
        ("ARCHIVE_URL", "s3://bucket?endpoint_url=http://minio:port"),
        ("ARCHIVE_URL", "s3://bucket?region=a/b"),
        ("ARCHIVE_URL", "s3://bucket?region=a&region=b"),
        ("ARCHIVE_URL", "s3://bucket?serve=proxy"),
        ("ARCHIVE_URL", "s3://bucket?secret_access_key=x"),
        ("ARCHIVE_URL", "gs://bucket"),
        ("ARCHIVE_URL", "/a/path"),
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("PUBLIC_URL", "example.com"),
        ("PUBLIC_URL", "ftp://example.com"),
        ("PUBLIC_URL", "https://example.com:port"),
        ("PUBLIC_URL", "https://user:word@example.com"),
        ("PUBLIC_URL", f"https://{'a' * 120}.example"),
        ("CALLBACK_BASE_URL", "https://example.com/?a=b"),
        ("CALLBACK_BASE_URL", f"https://{'a' * 120}.example"),
        ("FORWARDED_ALLOW_IPS", "proxy"),
        ("MODELSLAB_URL", "modelslab.com"),
        ("MODELSLAB_MAX_IN_FLIGHT", "0"),
        ("PRIVATE_OUTPUT_HOSTS", "minio"),
        ("EGRESS_PROXY", "proxy:3128"),
        ("EGRESS_PROXY", "https://user:canary@proxy:3128"),
        ("EGRESS_PROXY", "http://user:canary@proxy:port"),
        ("EGRESS_PROXY", "http://user:ca nary@proxy:3128"),
        ("IMAGE_ACCESS", "nobody"),
        ("IMAGE_URL_TTL_S", "0"),
        ("SUBMIT_ATTEMPTS", "0"),
        ("ON_UNCONFIRMED", "guess"),
        ("WEB_WORKER_CLASS", "sync"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_in_one_line_that_names_the_variable(name: str, value: str):
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})
    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert "canary" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("missing", "named"), [(("SECRET_KEY",), "SECRET_KEY"), (("DATA_DIR",), "ARCHIVE_URL"), (("DATABASE_URL",), None)]
)
def test_postgresql_needs_a_secret_and_a_place_for_pictures(missing: tuple[str, ...], named: str | None):
    env = {name: value for name, value in POSTGRESQL.items() if name not in missing}
    if named is None:
        assert load_settings(env).is_sqlite
    else:
        with pytest.raises(SettingsError, match=f"^{named}: "):
            load_settings(env)


def test_postgresql_with_an_archive_url_needs_no_data_dir():
    env = {**POSTGRESQL, "ARCHIVE_URL": "file:///srv/archive"}
    del env["DATA_DIR"]
    assert load_settings(env).archive == Folder(Path("/srv/archive"))


def test_an_archive_may_be_a_bucket():
    url = "s3://pictures/a/b?endpoint_url=https%3A%2F%2Fminio.example%3A9000%2F&region=eu-central-1&serve=redirect"
    expected = Bucket("pictures", "a/b", "https://minio.example:9000", "eu-central-1", Serve.REDIRECT)
    assert load_settings({"ARCHIVE_URL": url}).archive == expected
    assert load_settings({"ARCHIVE_URL": "s3://pictures"}).archive == Bucket("pictures")


@pytest.mark.parametrize("url", ["s3://AKIA:canary@pictures/a", "s3://pictures?endpoint_url=https://AKIA:canary@minio"])
def test_credentials_in_the_archive_s_url_are_refused_and_not_shown(url: str):
    with pytest.raises(SettingsError, match=r"^ARCHIVE_URL: ") as caught:
        load_settings({"ARCHIVE_URL": url})
    assert "canary" not in str(caught.value)


def test_an_empty_variable_counts_as_absent():
    assert load_settings({"PORT": " ", "MODELSLAB_API_KEY": ""}).modelslab_api_key is None


def test_neither_repr_nor_errors_show_a_secret():
    env = {**POSTGRESQL, "MODELSLAB_API_KEY": "canary-provider", "BOOTSTRAP_API_KEY": "canary-bootstrap"}
    env["EGRESS_PROXY"] = "http://user:canary%2Fproxy@proxy:3128"
    settings = load_settings(env)
    assert "canary" not in repr(settings)
    assert "pass-word" not in repr(settings)
    hidden = {"canary-provider", "canary-bootstrap", "pass-word", "s" * 32, "canary%2Fproxy", "canary/proxy"}
    assert hidden <= set(settings.secrets())
    with pytest.raises(SettingsError) as caught:
        load_settings({**env, "DATABASE_URL": "mysql://u:pass-word@db/app"})
    assert "pass-word" not in str(caught.value)


def test_the_secret_is_made_once_and_is_for_its_owner_alone(tmp_path: Path):
    settings = load_settings({"DATA_DIR": str(tmp_path / "new")})
    assert settings.secret_keys == ()
    make_secret(settings)
    first = settings.secret_keys
    make_secret(settings)
    assert settings.secret_keys == first
    assert len(first[0]) >= 43
    mode = (tmp_path / "new" / "secret-key").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["audit-signing-key", "secret-key"]


def test_the_signing_key_is_the_variable_s_or_made_once_or_follows_from_the_secret(tmp_path: Path):
    own = {"DATA_DIR": str(tmp_path)}
    make_secret(load_settings(own))
    seeds = [load_settings(own).signing_seed for _ in range(2)]
    make_secret(load_settings(own))
    assert load_settings(own).signing_seed == seeds[0] == seeds[1]
    assert stat.S_IMODE((tmp_path / "audit-signing-key").stat().st_mode) == 0o600
    assert load_settings(own | {"AUDIT_SIGNING_KEY": "0f" * 32}).signing_seed == b"\x0f" * 32
    derived = [load_settings(own | {"SECRET_KEY": key}).signing_seed for key in ("new,old", "new", "old")]
    assert derived[0] == derived[1] != derived[2]
    assert seeds[0].hex() in load_settings(own).secrets()


def test_an_installation_from_before_the_signing_key_gets_one(tmp_path: Path):
    (tmp_path / "secret-key").write_text("s" * 43)
    settings = load_settings({"DATA_DIR": str(tmp_path)})
    with pytest.raises(SettingsError, match="AUDIT_SIGNING_KEY"):
        settings.signing_seed  # noqa: B018 - what it raises
    make_secret(settings)
    assert settings.secret_keys == ("s" * 43,)
    assert len(settings.signing_seed) == 32


@pytest.mark.parametrize("key", ["short", "0f" * 31, "0f" * 33, "xy" * 32])
def test_a_signing_key_that_is_none_is_refused_without_showing_it(key: str):
    with pytest.raises(SettingsError) as caught:
        load_settings({"AUDIT_SIGNING_KEY": key})
    assert "AUDIT_SIGNING_KEY" in str(caught.value)
    assert key not in str(caught.value)


def test_of_many_makers_at_once_one_wins_and_all_read_the_same(tmp_path: Path):
    won = []
    together = threading.Barrier(8)

    def make(n: int) -> None:
        together.wait()
        won.append(keep_secret(tmp_path / "secret", lambda: f"secret-{n}", name="DATA_DIR"))

    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_several_secrets_stand_newest_first():
    assert load_settings({"SECRET_KEY": "new-one, old-one"}).secret_keys == ("new-one", "old-one")


@pytest.mark.parametrize(
    ("provider", "callback", "possible"),
    [
        ("https://modelslab.com/api/v1/enterprise", "https://example.com", True),
        ("https://modelslab.com/api/v1/enterprise", "http://example.com", False),
        ("http://127.0.0.1:9000/api", "http://127.0.0.1:8000", True),
        ("http://localhost:9000/api", "http://127.0.0.1:8000", True),
        ("http://10.1.2.3:9000/api", "http://10.1.2.4:8000", True),
    ],
)
def test_callbacks_need_https_unless_the_provider_is_local(provider: str, callback: str, possible: bool):
    settings = load_settings({"MODELSLAB_URL": provider, "CALLBACK_BASE_URL": callback})
    assert settings.callbacks_possible is possible


def test_a_public_url_for_every_address_leads_to_this_machine():
    assert load_settings({"HOST": "::", "PORT": "81"}).public_url == "http://[::1]:81"
    assert load_settings({"HOST": "::1"}).public_url == "http://[::1]:8000"


def test_waits_stay_below_the_threads_so_that_callbacks_find_one():
    assert load_settings({"WEB_THREADS": "200"}).max_waiters == 136
    assert load_settings({"WEB_THREADS": "8"}).max_waiters == 1
    assert load_settings({"WEB_THREADS": "1"}).max_waiters == 0
    assert load_settings({"MAX_WAITERS": "7"}).max_waiters == 7
    with pytest.raises(SettingsError, match=r"^MAX_WAITERS: must be less than WEB_THREADS \(8\)"):
        load_settings({"WEB_THREADS": "8", "MAX_WAITERS": "8"})
    assert load_settings(POSTGRESQL | {"WEB_THREADS": "8", "MAX_WAITERS": "8"}).max_waiters == 8
