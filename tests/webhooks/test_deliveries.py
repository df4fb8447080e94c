"""A delivery is released under a lease, sent with fresh headers and the same bytes, and recorded."""

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import text
from standardwebhooks import WebhookVerificationError

from app.core import clock, http, ids
from app.core.errors import Invalid
from app.core.lists import Page
from app.outbox import events
from app.webhooks import deliveries, endpoints, retries
from app.webhooks.config import WebhooksConfig
from app.webhooks.errors import EndpointDisabled
from tests.arrange import make_tenant
from tests.fakes.receiver import Receiver, Reply, receiving
from tests.waiting import until
from tests.webhooks.scene import ACTOR, Scene, open_vault, sender_to, verify


def move_clock(scene: Scene, interval: str) -> None:
    """Move app_now() of every session of this database from now on."""
    name = scene.admin.info.dbname
    scene.admin.execute(f"ALTER DATABASE {name} SET towpath.clock_offset = '{interval}'")


# Sending.


async def test_a_delivery_arrives_signed_and_is_recorded(scene: Scene, receiver: Receiver) -> None:
    made, secret = await scene.endpoint(receiver.url)
    event = scene.event(metadata={"order": "7", "n": 1.0})
    await scene.run()
    [got] = receiver.got
    verify(secret, got)
    assert got.headers["webhook-id"] == ids.wire("evt", event)
    assert got.headers["content-type"] == "application/json"
    body = json.loads(got.body)
    assert body["type"] == "job.succeeded"
    assert body["data"]["metadata"] == {"order": "7", "n": 1.0}
    [logged] = await scene.log(made)
    assert (logged.state, logged.reason, logged.due_at) == ("delivered", None, None)
    assert [(one.number, one.status, one.error) for one in logged.tries] == [(1, 200, None)]


async def test_c108_a_later_try_has_the_same_id_and_bytes_and_a_fresh_time(
    scene: Scene, receiver: Receiver
) -> None:
    made, secret = await scene.endpoint(receiver.url)
    scene.event(metadata={"b": 1.0, "a": "é\u2028", "n": 1e2})
    receiver.replies = [Reply(500)]
    move_clock(scene, "-6 hours")
    await scene.run()
    move_clock(scene, "0")
    await scene.run()
    first, second = receiver.got
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    apart = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
    assert abs(apart - 6 * 3600) < 60
    with pytest.raises(WebhookVerificationError, match="too old"):
        verify(secret, first)
    verify(secret, second)
    [logged] = await scene.log(made)
    assert [one.status for one in logged.tries] == [500, 200]


async def test_c108_both_secrets_sign_for_a_day_and_then_the_new_one_alone(
    scene: Scene, receiver: Receiver
) -> None:
    made, old = await scene.endpoint(receiver.url)
    async with scene.db.transaction() as session:
        new = await endpoints.rotate_secret(session, scene.vault, scene.tenant, made, actor=ACTOR)
    scene.event()
    await scene.run()
    verify(new, receiver.got[0])
    verify(old, receiver.got[0])
    scene.admin.execute("UPDATE webhook_endpoint SET old_secret_until = app_now()")
    scene.event()
    await scene.run()
    verify(new, receiver.got[1])
    with pytest.raises(WebhookVerificationError):
        verify(old, receiver.got[1])


async def test_a_failed_try_waits_for_its_turn_in_the_schedule(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    scene.event()
    receiver.otherwise = Reply(404)
    for number, wait in enumerate(retries.SCHEDULE, start=1):
        await scene.run()
        [logged] = await scene.log(made)
        assert (logged.state, len(logged.tries), logged.reason) == ("pending", number, "status 404")
        assert logged.due_at is not None
        waits = logged.due_at - logged.tries[-1].at
        assert 0.8 * wait <= waits <= 1.2 * wait
        assert await scene.release() == []
        scene.hasten()
    await scene.run()
    [logged] = await scene.log(made)
    assert (logged.state, len(logged.tries)) == ("failed", 8)
    assert logged.reason == "status 404; given up after 8 tries"
    scene.hasten()
    assert await scene.release() == []


async def test_c101_a_redirect_is_a_failed_try_and_makes_no_second_request(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    targets = ["http://169.254.169.254/latest/", "http://[::ffff:10.0.0.1]/", "file:///etc/passwd",
               receiver.url]  # fmt: skip
    for status, target in zip((301, 302, 307, 308), targets, strict=True):
        receiver.replies.append(Reply(status, {"Location": target}, b"CANARY"))
        scene.event()
        await scene.run()
    assert len(receiver.got) == 4
    logged = await scene.log(made)
    assert [one.reason for one in logged] == [
        f"redirect ({status}), which is never followed" for status in (301, 302, 307, 308)
    ]
    assert {one.state for one in logged} == {"pending"}
    assert "CANARY" not in repr(logged)


async def test_c102_each_try_is_checked_again(scene: Scene, receiver: Receiver) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    sender = http.open_sender(receiver.allowed, 5, rebinding)
    moving = Scene(scene.db, scene.vault, sender, scene.tenant, scene.admin)
    made, _ = await moving.endpoint(f"http://rebind.test:{receiver.port}/")
    receiver.replies = [Reply(500)]
    moving.event()
    async with receiving("127.0.0.2", receiver.port) as inner:
        await moving.run()
        moving.hasten()
        await moving.run()
    assert (len(receiver.got), inner.got) == (1, [])
    assert len(asked) == 2
    [logged] = await moving.log(made)
    assert [(one.status, one.error) for one in logged.tries] == [(500, None), (None, http.REFUSED)]


# C106: what the receiver says is honoured.


async def test_c106_gone_disables_the_endpoint_and_ends_what_waits(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    other, _ = await scene.endpoint(receiver.url, events.ENDPOINT_DISABLED)
    for _ in range(5):
        scene.event()
    first, *rest = await scene.release()
    receiver.replies = [Reply(410)]
    await scene.deliver([first])
    await scene.deliver(rest)  # their messages were out already
    assert len(receiver.got) == 1
    logged = await scene.log(made)
    assert {(one.state, one.reason) for one in logged} == {("failed", retries.GONE_REASON)}
    async with scene.db.transaction() as session:
        seen = await endpoints.get(session, scene.tenant, made)
        query = text("SELECT body FROM audit_entry WHERE action = 'webhook_endpoint.disable'")
        [entry] = (await session.execute(query)).scalars().all()
        with pytest.raises(EndpointDisabled):
            await deliveries.redeliver(session, scene.tenant, made, logged[0].id)
    assert (seen.state, seen.disabled_reason) == ("disabled", retries.GONE_REASON)
    assert json.loads(entry)["object"] == ids.wire("whe", made)
    # Its owner is told at the other endpoint.
    await scene.run()
    told = json.loads(receiver.got[-1].body)
    assert (told["type"], told["data"]["id"]) == (events.ENDPOINT_DISABLED, ids.wire("whe", made))
    assert [one.state for one in await scene.log(other)] == ["delivered"]
    # Nothing is made for it until it is enabled by hand.
    scene.event()
    await scene.run()
    assert len(receiver.got) == 2
    async with scene.db.transaction() as session:
        await endpoints.change(session, scene.tenant, made, actor=ACTOR, enabled=True)
    scene.event()
    await scene.run()
    assert len(receiver.got) == 3


async def test_c106_retry_after_sets_the_next_try(scene: Scene, receiver: Receiver) -> None:
    made, _ = await scene.endpoint(receiver.url)
    scene.event()
    receiver.replies = [Reply(429, {"Retry-After": "30"})]
    await scene.run()
    [logged] = await scene.log(made)
    assert logged.due_at is not None
    assert logged.due_at - logged.tries[0].at == timedelta(seconds=30)


async def test_c106_a_success_starts_the_next_event_afresh(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    scene.event()
    receiver.replies = [Reply(500), Reply(500), Reply(500), Reply(200), Reply(500)]
    for _ in range(4):
        await scene.run()
        scene.hasten()
    scene.event()
    await scene.run()
    done, fresh = await scene.log(made)
    assert (done.state, [one.status for one in done.tries]) == ("delivered", [500, 500, 500, 200])
    assert fresh.due_at is not None
    assert fresh.due_at - fresh.tries[0].at <= timedelta(seconds=6)


# C104: a silent endpoint holds its share and no more.


async def test_c104_one_silent_endpoint_delays_nobody(scene: Scene, receiver: Receiver) -> None:
    async with receiving() as silent:
        silent.otherwise = Reply(silent=True)
        sender = sender_to(receiver, silent, seconds=1)
        world = Scene(scene.db, scene.vault, sender, scene.tenant, scene.admin)
        good = world.of(make_tenant(scene.admin, "good"))
        held, _ = await world.endpoint(silent.url)
        reached, _ = await good.endpoint(receiver.url)
        for _ in range(500):
            world.event()
        for _ in range(10):
            good.event()
        config = WebhooksConfig(per_endpoint=4)
        sending: list[asyncio.Task[None]] = []

        async def delivered() -> bool:
            sending.append(asyncio.create_task(world.deliver(await world.release(config))))
            return [one.state for one in await good.log(reached)] == ["delivered"] * 10

        start = clock.now()
        await until(delivered, seconds=5)
        assert (clock.now() - start).total_seconds() < 5
        await asyncio.gather(*sending)
        assert silent.most_open == 4
        ended = [one.tries[0] for one in await world.log(held) if one.tries]
        assert ended
        assert {one.error for one in ended} == {"no answer within 1 s"}
        assert all(900 < one.duration_ms < 4_000 for one in ended)


async def test_c104_the_share_is_counted_from_rows(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    for _ in range(10):
        scene.event()
    config = WebhooksConfig(per_endpoint=4)
    assert len(await scene.release(config)) == 4
    assert await scene.release(config) == []  # another process would find the same
    assert await scene.states() == {"dispatched": 4, "pending": 6}


async def test_c104_the_least_occupied_endpoint_comes_first(
    scene: Scene, receiver: Receiver
) -> None:
    busy, _ = await scene.endpoint(receiver.url, "job.failed")
    for _ in range(20):
        scene.event("job.failed")
    config = WebhooksConfig(per_endpoint=8, in_flight=8)
    held = await scene.release(config)
    assert len(held) == 8
    idle, _ = await scene.endpoint(receiver.url, "job.succeeded")
    scene.event("job.succeeded")
    assert await scene.release(config) == []  # all are out
    await scene.deliver(held[:1])
    [next_one] = await scene.release(config)
    assert [one.id for one in await scene.log(idle)] == [next_one]
    assert len(await scene.log(busy)) == 20


async def test_a_release_is_no_larger_than_asked(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    for _ in range(5):
        scene.event()
    assert len(await scene.release(limit=3)) == 3


async def test_switched_off_nothing_is_released_and_nothing_is_lost(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.endpoint(receiver.url)
    scene.event()
    scene.admin.execute(
        "INSERT INTO switch (name, off, reason, set_by, set_at)"
        " VALUES ('webhooks', true, 'drill', 'op', app_now())"
        " ON CONFLICT (name) DO UPDATE SET off = true"
    )
    assert await scene.release() == []
    scene.admin.execute("UPDATE switch SET off = false")
    await scene.run()
    assert len(receiver.got) == 1


# Leases.


async def test_c110_a_sender_that_dies_costs_no_try_and_loses_nothing(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    event = scene.event()
    receiver.replies = [Reply(silent=True)]
    sending = asyncio.create_task(scene.run())

    async def arrived() -> bool:
        return len(receiver.got) == 1

    await until(arrived)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await scene.release() == []
    move_clock(scene, "31 seconds")
    await scene.run()
    assert [got.headers["webhook-id"] for got in receiver.got] == [ids.wire("evt", event)] * 2
    [logged] = await scene.log(made)
    assert (logged.state, len(logged.tries)) == ("delivered", 1)


async def test_a_lost_message_is_released_again(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    scene.event()
    [lost] = await scene.release()
    move_clock(scene, "29 seconds")
    assert await scene.release() == []
    move_clock(scene, "31 seconds")
    assert await scene.release() == [lost]


async def test_a_duplicate_or_late_message_sends_nothing(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    scene.event()
    [one] = await scene.release()
    await scene.deliver([one, one, one])
    await scene.deliver([one])
    assert len(receiver.got) == 1


# By hand.


async def test_a_redelivery_is_a_new_delivery_of_the_same_event(
    scene: Scene, receiver: Receiver
) -> None:
    made, secret = await scene.endpoint(receiver.url)
    event = scene.event()
    await scene.run()
    [first] = await scene.log(made)
    async with scene.db.transaction() as session:
        second = await deliveries.redeliver(session, scene.tenant, made, first.id)
        again = await deliveries.redeliver(session, scene.tenant, made, first.id)
    assert again == second  # still open: hastened, not doubled
    await scene.run()
    old, new = await scene.log(made)
    assert (new.id, new.event, new.generation, new.state) == (second, event, 1, "delivered")
    assert old == first
    assert receiver.got[0].body == receiver.got[1].body
    assert receiver.got[0].headers["webhook-id"] == receiver.got[1].headers["webhook-id"]
    verify(secret, receiver.got[1])


async def test_a_redelivery_hastens_a_delivery_that_waits(scene: Scene, receiver: Receiver) -> None:
    made, _ = await scene.endpoint(receiver.url)
    scene.event()
    receiver.replies = [Reply(500), Reply(500)]
    await scene.run()
    [waiting] = await scene.log(made)
    async with scene.db.transaction() as session:
        same = await deliveries.redeliver(session, scene.tenant, made, waiting.id)
    assert same == waiting.id
    await scene.run()
    [logged] = await scene.log(made)
    assert len(logged.tries) == 2


async def test_a_test_event_goes_to_this_endpoint_alone(scene: Scene, receiver: Receiver) -> None:
    made, _ = await scene.endpoint(receiver.url, "job.failed")
    everything, _ = await scene.endpoint(receiver.url, "*")
    async with scene.db.transaction() as session:
        sent = await endpoints.send_test(session, scene.tenant, made)
    await scene.run()
    [got] = receiver.got
    assert json.loads(got.body)["type"] == events.ENDPOINT_TEST
    assert [one.id for one in await scene.log(made)] == [sent]
    assert await scene.log(everything) == []


async def test_the_log_is_newest_first_filtered_and_paged(scene: Scene, receiver: Receiver) -> None:
    made, _ = await scene.endpoint(receiver.url)
    receiver.replies = [Reply(500)]
    for _ in range(3):
        scene.event()
        await scene.run()
    async with scene.db.transaction() as session:

        async def page(cursor: str | None, *states: str) -> Page[deliveries.Logged]:
            return await deliveries.listed(
                session, scene.tenant, made, limit=2, cursor=cursor,
                states=states or deliveries.STATES,
            )  # fmt: skip

        first = await page(None)
        rest = await page(first.next_cursor)
        done = await page(None, "delivered")
        one = await deliveries.get(session, scene.tenant, made, rest.items[0].id)
        with pytest.raises(Invalid):
            await page("nonsense")
    all_ids = [logged.id for logged in first.items + rest.items]
    assert all_ids == sorted(all_ids, reverse=True)
    assert (len(all_ids), rest.next_cursor) == (3, None)
    assert {logged.state for logged in done.items} == {"delivered"}
    assert len(done.items) == 2
    assert (one, one.event_name, len(one.tries)) == (rest.items[0], "job.succeeded", 1)


async def test_a_secret_that_no_longer_opens_ends_the_delivery_with_its_reason(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    scene.event()
    [one] = await scene.release()
    await deliveries.deliver(scene.db, open_vault("08" * 32), scene.sender, one)
    [logged] = await scene.log(made)
    assert (logged.state, receiver.got) == ("failed", [])
    assert logged.reason == "the endpoint's secret can't be read: rotate it"


async def test_c142_nothing_stored_shows_the_url_or_the_answer(
    scene: Scene, receiver: Receiver
) -> None:
    made, secret = await scene.endpoint(f"{receiver.url}?key=sk-CANARY-1")
    wrong = {"Retry-After": "sk-CANARY-2", "X-Key": "sk-CANARY-3"}
    receiver.replies = [
        Reply(401, wrong, b"key sk-CANARY-4"),
        Reply(302, {"Location": "http://x.test/?key=sk-CANARY-5"}),
        Reply(500, wrong, b"sk-CANARY-6" * 10_000),
        Reply(silent=True),
    ]
    quick = http.open_sender(receiver.allowed, 0.3)
    world = Scene(scene.db, scene.vault, quick, scene.tenant, scene.admin)
    world.event()
    for _ in range(4):
        await world.run()
        world.hasten()
    quick.close()
    assert len(receiver.got) == 4
    logged = await world.log(made)
    async with scene.db.transaction() as session:
        audited = (await session.execute(text("SELECT body FROM audit_entry"))).scalars().all()
    shown = repr(logged) + "".join(audited)
    assert "CANARY" not in shown
    assert secret not in shown
