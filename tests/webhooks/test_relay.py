"""Events of the outbox become deliveries: to each endpoint that wants them, once."""

import json

from app.core import ids
from app.webhooks import endpoints, relay
from tests.arrange import make_jobs, make_tenant, make_workflow
from tests.fakes.receiver import Receiver
from tests.webhooks.scene import ACTOR, Scene, verify


async def test_an_event_goes_to_each_endpoint_that_wants_it(
    scene: Scene, receiver: Receiver
) -> None:
    everything, _ = await scene.endpoint(receiver.url, "*")
    failures, _ = await scene.endpoint(receiver.url, "job.failed")
    stranger = scene.of(make_tenant(scene.admin, "other"))
    theirs, _ = await stranger.endpoint(receiver.url, "*")
    succeeded, failed = scene.event("job.succeeded"), scene.event("job.failed")
    await scene.release()
    assert [one.event for one in await scene.log(everything)] == [succeeded, failed]
    assert [one.event for one in await scene.log(failures)] == [failed]
    assert await stranger.log(theirs) == []


async def test_relayed_twice_is_once(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    scene.event()
    assert await relay.relay(scene.db) == 1
    scene.admin.execute("UPDATE outbox_event SET relayed_at = NULL")
    assert await relay.relay(scene.db) == 1
    assert await relay.relay(scene.db) == 0
    assert await scene.states() == {"pending": 1}


async def test_a_batch_of_the_relay_notifies_once(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url)
    for _ in range(3):
        scene.event()
    async with await scene.db.connect_hot() as listener:
        await listener.execute(f"LISTEN {relay.CHANNEL}")
        await relay.relay(scene.db)
        await relay.relay(scene.db)  # nothing waits: nobody is woken
        heard = [note async for note in listener.notifies(timeout=0.2)]
    assert len(heard) == 1


async def test_an_event_that_no_one_wants_is_done_with(scene: Scene, receiver: Receiver) -> None:
    await scene.endpoint(receiver.url, "job.failed")
    scene.event("job.succeeded")
    assert await scene.release() == []
    assert await relay.relay(scene.db) == 0


async def test_a_jobs_own_endpoint_is_told_of_it_alone_and_once(
    scene: Scene, receiver: Receiver
) -> None:
    version = make_workflow(scene.admin, scene.tenant)
    named, secret = await scene.endpoint(receiver.url)
    async with scene.db.transaction() as session:
        await endpoints.change(session, scene.tenant, named, actor=ACTOR, events=[])
    [mine] = make_jobs(scene.admin, scene.tenant, version, callback=named)
    [other] = make_jobs(scene.admin, scene.tenant, version)
    told, _ = scene.event(subject=mine), scene.event(subject=other)
    await scene.run()
    [got] = receiver.got
    verify(secret, got)
    assert json.loads(got.body)["data"]["id"] == ids.wire("job", mine)

    async with scene.db.transaction() as session:
        await endpoints.change(session, scene.tenant, named, actor=ACTOR, events=["*"])
    again = scene.event("job.waiting", subject=mine)
    await scene.run()
    assert [one.event for one in await scene.log(named)] == [told, again]  # wanted twice, made once


async def test_a_jobs_own_endpoint_that_is_disabled_is_told_nothing(
    scene: Scene, receiver: Receiver
) -> None:
    named, _ = await scene.endpoint(receiver.url)
    version = make_workflow(scene.admin, scene.tenant)
    [mine] = make_jobs(scene.admin, scene.tenant, version, callback=named)
    async with scene.db.transaction() as session:
        await endpoints.change(session, scene.tenant, named, actor=ACTOR, enabled=False)
    scene.event(subject=mine)
    await scene.run()
    assert receiver.got == []
