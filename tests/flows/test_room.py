"""Room in a client's queue: counted seldom far from the limit, and every time close to it."""

from tests.flows.world import World
from webhook_app.flows.room import QueueRoom


def places(world: World, room: QueueRoom, client_id: str | None = None) -> int:
    """How many can be taken, up to ten, while nothing is queued meanwhile."""
    with world.store.reading() as connection:
        return sum(room.take(connection, client_id or world.client_id) for _ in range(10))


def test_close_to_the_limit_every_submit_is_counted(world: World) -> None:
    room = QueueRoom(5)
    for _ in range(5):
        assert places(world, room) == 10  # Nothing was queued by them.
        world.submit()
    assert places(world, room) == 0
    world.send()
    assert places(world, room) == 10


def test_far_from_it_a_tenth_is_given_without_a_count_and_for_a_while(world: World) -> None:
    now = [0.0]
    room = QueueRoom(60, clock=lambda: now[0])
    assert places(world, room) == 10
    for _ in range(60):
        world.submit()
    with world.store.reading() as connection:
        assert [room.take(connection, world.client_id) for _ in range(6)] == [True] * 4 + [False] * 2
    room = QueueRoom(100, clock=lambda: now[0])
    with world.store.reading() as connection:
        assert room.take(connection, world.client_id)
    for _ in range(40):
        world.submit()
    with world.store.reading() as connection:
        assert room.take(connection, world.client_id)
        now[0] += 11
        assert not room.take(connection, world.client_id)


def test_each_client_has_its_own(world: World) -> None:
    room = QueueRoom(1)
    world.submit()
    assert places(world, room) == 0
    assert places(world, room, world.client("other")) == 10
