"""The keys that sign the log are there for everyone, for as long as anything that they signed is."""

from pathlib import Path

from tests.flows.test_anchor import SIGNER, sign, tell
from tests.flows.world import World
from tests.web.doors import Doors
from webhook_app.store.engine import Store
from webhook_app.wiring import signer_of


def test_the_key_of_today_comes_first_and_older_ones_stay(store: Store, tmp_path: Path) -> None:
    doors = Doors(store, tmp_path)
    own = signer_of(doors.parts.settings).public_key
    assert doors.http.get("/.well-known/jwks.json").json == {"keys": [own.jwk]}
    world = World(store)
    tell(world)
    sign(world)
    answer = doors.http.get("/.well-known/jwks.json")
    assert answer.json == {"keys": [own.jwk, SIGNER.public_key.jwk]}
    assert answer.headers["Cache-Control"] == "public, max-age=300"


def test_no_private_part_is_shown(store: Store, tmp_path: Path) -> None:
    doors = Doors(store, tmp_path)
    (key,) = doors.http.get("/.well-known/jwks.json").json["keys"]  # type: ignore[index]
    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}
    assert doors.parts.settings.signing_seed.hex() not in str(key)
