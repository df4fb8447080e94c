"""Pairs that compete for an event, an endpoint or a delivery: made once, released once, ended once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from app.webhooks import deliveries, endpoints, relay
from app.webhooks.config import WebhooksConfig
from tests.fakes.receiver import Receiver, Reply, receiving
from tests.waiting import until
from tests.webhooks.scene import ACTOR, Scene, open_vault, sender_to


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
def scene(db: Database, admin: psycopg.Connection, tenant: TenantId, receiver: Receiver) -> Scene:
    return Scene(db, open_vault(), sender_to(receiver), tenant, admin)


async def blocked(scene: Scene, by: Any) -> None:
    """Return once some session waits for a lock of this one."""
    pid = (await by.execute(text("SELECT pg_backend_pid()"))).scalar_one()

    async def waits() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
        row = scene.admin.execute(query, (pid,)).fetchone()
        return row is not None and row[0] > 0

    await until(waits, what="a session waits for this one")


async def test_c110_two_relays_on_one_outbox_make_each_delivery_once(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.endpoint(receiver.url)
    expected = {scene.event() for _ in range(600)}
    relayed = await asyncio.gather(*(relay.relay(scene.db) for _ in range(4)))
    while await relay.relay(scene.db):
        pass
    assert sum(1 for count in relayed if count) >= 2  # they really shared the work
    rows = scene.admin.execute("SELECT event FROM delivery").fetchall()
    assert sorted(event for (event,) in rows) == sorted(expected)


async def test_c110_every_event_of_200_arrives_though_senders_die(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.endpoint(receiver.url)
    expected = {ids.wire("evt", scene.event()) for _ in range(200)}
    receiver.otherwise = Reply(silent=True)
    config = WebhooksConfig(per_endpoint=40)
    killed = [asyncio.create_task(scene.deliver([one])) for one in await scene.release(config)]

    async def all_out() -> bool:
        return len(receiver.got) == 40

    await until(all_out)
    for task in killed:
        task.cancel()
    await asyncio.gather(*killed, return_exceptions=True)
    receiver.otherwise = Reply()
    # Their leases end; nobody has to know that they died.
    scene.admin.execute("UPDATE delivery SET lease_until = app_now() WHERE state = 'dispatched'")
    while released := await scene.release(config):
        await scene.deliver(released)
    arrived = [got.headers["webhook-id"] for got in receiver.got]
    assert set(arrived) == expected
    assert len(arrived) == 240
    assert await scene.states() == {"delivered": 200}


async def test_two_dispatchers_keep_an_endpoints_share_together(
    scene: Scene, receiver: Receiver
) -> None:
    for _ in range(3):
        await scene.endpoint(receiver.url)
    for _ in range(40):
        scene.event()
    while await relay.relay(scene.db):
        pass
    config = WebhooksConfig(per_endpoint=8)
    rounds = await asyncio.gather(*(deliveries.due(scene.db, config, 100) for _ in range(6)))
    released = [one for batch in rounds for one in batch]
    assert len(released) == len(set(released))
    counts = scene.admin.execute(
        "SELECT count(*) FROM delivery WHERE state = 'dispatched' GROUP BY endpoint"
    ).fetchall()
    assert all(count <= 8 for (count,) in counts)
    # Whoever found an endpoint in another's hands leaves it for the next round.
    released += await deliveries.due(scene.db, config, 100)
    assert len(released) == 24


async def test_a_duplicate_message_waits_and_finds_the_delivery_taken(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.endpoint(receiver.url)
    scene.event()
    [one] = await scene.release()
    receiver.replies = [Reply(silent=True)]
    async with scene.db.transaction() as first:
        lock = text("SELECT FROM delivery WHERE id = :id FOR UPDATE")
        await first.execute(lock, {"id": one})
        rivals = [asyncio.create_task(scene.deliver([one])) for _ in range(2)]
        await blocked(scene, first)

    async def arrived() -> bool:
        return len(receiver.got) > 0

    await until(arrived)
    done, _ = await asyncio.wait(rivals, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1  # the one that found it taken
    receiver.released.set()
    await asyncio.gather(*rivals)
    assert len(receiver.got) == 1
    assert await scene.states() == {"delivered": 1}


async def test_a_sender_presumed_dead_may_still_report_success_and_nothing_else(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    for status, ended in ((200, "delivered"), (500, "dispatched")):
        event = scene.event()
        receiver.replies = [Reply(status, silent=True)]
        receiver.released.clear()
        [one] = await scene.release()
        slow = asyncio.create_task(scene.deliver([one]))
        asked = len(receiver.got) + 1

        async def arrived(asked: int = asked) -> bool:
            return len(receiver.got) == asked

        await until(arrived)
        scene.admin.execute("UPDATE delivery SET lease_until = app_now() WHERE id = %s", (one,))
        assert await scene.release() == [one]  # another sender's by now
        receiver.released.set()
        await slow
        [logged] = [row for row in await scene.log(made) if row.event == event]
        assert logged.state == ended
        assert len(logged.tries) == (1 if ended == "delivered" else 0)


async def test_disabling_waits_for_no_try_and_no_try_comes_after_it(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    for _ in range(2):
        scene.event()
    sent, waiting = await scene.release()
    receiver.replies = [Reply(500, silent=True)]
    slow = asyncio.create_task(scene.deliver([sent]))

    async def arrived() -> bool:
        return len(receiver.got) == 1

    await until(arrived)
    async with scene.db.transaction() as session:
        await endpoints.change(session, scene.tenant, made, actor=ACTOR, enabled=False)
    receiver.released.set()
    await slow
    await scene.deliver([waiting])
    scene.hasten()
    await scene.run()  # the try that was under way comes back once, to be ended
    assert len(receiver.got) == 1
    assert await scene.states() == {"failed": 2}


async def test_two_goners_disable_an_endpoint_once(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    for _ in range(8):
        scene.event()
    receiver.otherwise = Reply(410)
    await scene.run()
    assert await scene.states() == {"failed": 8}
    query = "SELECT count(*) FROM audit_entry WHERE action = 'webhook_endpoint.disable'"
    row = scene.admin.execute(query).fetchone()
    assert row == (1,)


async def test_two_redeliveries_at_once_make_one_open_delivery(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    scene.event()
    await scene.run()
    [first] = await scene.log(made)

    async def again() -> Any:
        async with scene.db.transaction() as session:
            return await deliveries.redeliver(session, scene.tenant, made, first.id)

    made_ids = await asyncio.gather(*(again() for _ in range(6)))
    assert len(set(made_ids)) == 1
    assert len(await scene.log(made)) == 2


async def test_a_relay_passes_by_what_another_has_in_hand(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    held, free = scene.event(), scene.event()
    async with scene.db.transaction() as other:
        lock = text("SELECT FROM outbox_event WHERE id = :id FOR UPDATE")
        await other.execute(lock, {"id": held})
        assert await asyncio.wait_for(relay.relay(scene.db), 10) == 1
        rows = scene.admin.execute("SELECT event FROM delivery").fetchall()
        assert rows == [(free,)]
    assert await relay.relay(scene.db) == 1
