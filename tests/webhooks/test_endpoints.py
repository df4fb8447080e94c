"""An endpoint is made, changed, deleted and seen by its tenant alone; its secret is shown once."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.core import ids
from app.core.errors import Invalid, NotFound
from app.core.ids import DeliveryId, EndpointId
from app.outbox import events
from app.secrets import vault
from app.webhooks import deliveries, endpoints
from app.webhooks.endpoints import CheckedUrl
from app.webhooks.errors import EndpointDisabled
from tests.arrange import make_tenant
from tests.fakes.receiver import Receiver
from tests.webhooks.scene import ACTOR, Scene, sender_to

URL = CheckedUrl("https://hook.test/x")


async def actions(scene: Scene) -> list[str]:
    async with scene.db.transaction() as session:
        query = text("SELECT action FROM audit_entry WHERE chain = :tenant ORDER BY id")
        return list((await session.execute(query, {"tenant": scene.tenant})).scalars())


async def test_an_endpoint_is_made_seen_and_audited_and_its_secret_lies_sealed(
    scene: Scene,
) -> None:
    made, secret = await scene.endpoint(URL, "job.failed", "job.succeeded", "job.failed")
    async with scene.db.transaction() as session:
        seen = await endpoints.get(session, scene.tenant, made)
        row = (await session.execute(text("SELECT secret, tenant FROM webhook_endpoint"))).one()
        assert await vault.reveal(session, scene.vault, row.tenant, row.secret) == secret
        trails = (await session.execute(text("SELECT body FROM audit_entry"))).scalars().all()
    assert (seen.url, seen.events, seen.state) == (URL, ["job.succeeded", "job.failed"], "enabled")
    assert secret.startswith("whsec_")
    assert secret not in repr(seen)
    assert await actions(scene) == ["webhook_endpoint.create"]
    assert secret.removeprefix("whsec_") not in "".join(trails)


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [(["job.done"], "/events/0"), (["*", "job.failed"], "/events/0"),
     (["job.failed", events.ENDPOINT_TEST], "/events/1")],
)  # fmt: skip
async def test_events_that_are_none_are_refused_with_a_pointer(
    scene: Scene, wanted: list[str], pointer: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        async with scene.db.transaction() as session:
            await endpoints.create(
                session, scene.vault, scene.tenant, EndpointId(ids.new()), url=URL, events=wanted,
                description="", actor=ACTOR,
            )  # fmt: skip
    assert [fault["pointer"] for fault in refusal.value.context["errors"]] == [pointer]
    assert await actions(scene) == []


async def test_a_url_is_checked_when_it_is_entered(receiver: Receiver) -> None:
    sender = sender_to(receiver)
    assert await endpoints.check_url(sender, receiver.url) == receiver.url
    for url in (
        "http://10.0.0.1/",
        "http://inside.test/",
        "ftp://hook.test/",
        "http://a:b@x.test/",
    ):
        with pytest.raises(Invalid) as refusal:
            await endpoints.check_url(sender, url)
        assert refusal.value.context["errors"][0]["pointer"] == "/url"


async def test_a_tenant_has_so_many_endpoints_and_no_more(scene: Scene) -> None:
    made = [await scene.endpoint(URL) for _ in range(endpoints.MAX_ENDPOINTS)]
    with pytest.raises(Invalid, match="delete one first"):
        await scene.endpoint(URL)
    async with scene.db.transaction() as session:
        await endpoints.delete(session, scene.tenant, made[0][0], actor=ACTOR)
    await scene.endpoint(URL)


async def test_the_list_is_newest_first_and_goes_on_at_its_cursor(scene: Scene) -> None:
    made = [(await scene.endpoint(URL))[0] for _ in range(3)]
    async with scene.db.transaction() as session:
        first = await endpoints.listed(session, scene.tenant, limit=2)
        rest = await endpoints.listed(session, scene.tenant, limit=2, cursor=first.next_cursor)
        with pytest.raises(Invalid):
            await endpoints.listed(session, scene.tenant, limit=2, cursor="nonsense")
    assert [one.id for one in first.items + rest.items] == made[::-1]
    assert rest.next_cursor is None


async def test_a_change_changes_what_is_given_and_says_what_it_was(scene: Scene) -> None:
    made, _ = await scene.endpoint(URL)
    async with scene.db.transaction() as session:
        seen = await endpoints.change(
            session, scene.tenant, made, actor=ACTOR, description="orders", events=["job.failed"]
        )
        again = await endpoints.change(
            session, scene.tenant, made, actor=ACTOR, description="orders"
        )
    assert (seen.url, seen.events, seen.description) == (URL, ["job.failed"], "orders")
    assert again == seen
    assert await actions(scene) == ["webhook_endpoint.create", "webhook_endpoint.change"]


async def test_disabling_by_hand_ends_what_waits_and_enabling_begins_anew(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    scene.event()
    released = await scene.release()
    async with scene.db.transaction() as session:
        off = await endpoints.change(session, scene.tenant, made, actor=ACTOR, enabled=False)
        with pytest.raises(EndpointDisabled):
            await endpoints.send_test(session, scene.tenant, made)
    assert (off.state, off.disabled_reason) == ("disabled", endpoints.BY_HAND)
    await scene.deliver(released)
    scene.event()
    await scene.run()
    assert receiver.got == []
    [ended] = await scene.log(made)
    assert (ended.state, ended.reason, ended.tries) == ("failed", endpoints.BY_HAND, [])
    async with scene.db.transaction() as session:
        on = await endpoints.change(session, scene.tenant, made, actor=ACTOR, enabled=True)
    assert (on.state, on.disabled_reason) == ("enabled", None)
    scene.event()
    await scene.run()
    assert len(receiver.got) == 1


async def test_a_deleted_endpoint_is_gone_with_its_secrets_and_its_deliveries_end(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    async with scene.db.transaction() as session:
        await endpoints.rotate_secret(session, scene.vault, scene.tenant, made, actor=ACTOR)
    scene.event()
    released = await scene.release()
    async with scene.db.transaction() as session:
        await endpoints.delete(session, scene.tenant, made, actor=ACTOR)
    await scene.deliver(released)
    assert receiver.got == []
    async with scene.db.transaction() as session:
        with pytest.raises(NotFound):
            await endpoints.get(session, scene.tenant, made)
        with pytest.raises(NotFound):
            await endpoints.delete(session, scene.tenant, made, actor=ACTOR)
        assert (await endpoints.listed(session, scene.tenant, limit=9)).items == []
        assert (await session.execute(text("SELECT count(*) FROM secret"))).scalar_one() == 0
    assert await scene.states() == {"failed": 1}


async def test_a_second_rotation_drops_the_oldest_secret_at_once(scene: Scene) -> None:
    made, first = await scene.endpoint(URL)
    async with scene.db.transaction() as session:
        second = await endpoints.rotate_secret(
            session, scene.vault, scene.tenant, made, actor=ACTOR
        )
        third = await endpoints.rotate_secret(session, scene.vault, scene.tenant, made, actor=ACTOR)
        seen = await endpoints.get(session, scene.tenant, made)
        query = text("SELECT id FROM secret ORDER BY id")
        kept = (await session.execute(query)).scalars().all()
        values = [await vault.reveal(session, scene.vault, scene.tenant, one) for one in kept]
        now = (await session.execute(text("SELECT app_now()"))).scalar_one()
    assert len({first, second, third}) == 3
    assert values == [second, third]
    assert seen.old_secret_until == now + timedelta(hours=24)


async def test_an_old_secret_is_destroyed_once_its_day_is_over(scene: Scene) -> None:
    made, old = await scene.endpoint(URL)
    async with scene.db.transaction() as session:
        new = await endpoints.rotate_secret(session, scene.vault, scene.tenant, made, actor=ACTOR)
    assert await endpoints.forget_old_secrets(scene.db) == 0
    scene.admin.execute("UPDATE webhook_endpoint SET old_secret_until = app_now()")
    assert await endpoints.forget_old_secrets(scene.db) == 1
    assert await endpoints.forget_old_secrets(scene.db) == 0
    async with scene.db.transaction() as session:
        kept = (await session.execute(text("SELECT id FROM secret"))).scalars().all()
        values = [await vault.reveal(session, scene.vault, scene.tenant, one) for one in kept]
        seen = await endpoints.get(session, scene.tenant, made)
    assert values == [new] != [old]
    assert seen.old_secret_until is None


async def test_c146_another_tenant_finds_and_changes_nothing(
    scene: Scene, receiver: Receiver
) -> None:
    made, _ = await scene.endpoint(receiver.url)
    other = scene.of(make_tenant(scene.admin, "other"))
    theirs, _ = await other.endpoint(receiver.url)
    scene.event()
    await scene.run()
    [delivery] = await scene.log(made)
    unknown = EndpointId(ids.new())
    async with scene.db.transaction() as session:
        t = other.tenant
        for endpoint in (made, unknown):
            with pytest.raises(NotFound):
                await endpoints.get(session, t, endpoint)
            with pytest.raises(NotFound):
                await endpoints.change(session, t, endpoint, actor=ACTOR, enabled=False)
            with pytest.raises(NotFound):
                await endpoints.delete(session, t, endpoint, actor=ACTOR)
            with pytest.raises(NotFound):
                await endpoints.rotate_secret(session, scene.vault, t, endpoint, actor=ACTOR)
            with pytest.raises(NotFound):
                await endpoints.send_test(session, t, endpoint)
            with pytest.raises(NotFound):
                await deliveries.listed(session, t, endpoint, limit=9)
        # One tenant's delivery under another's endpoint, and an unknown one, look alike.
        for endpoint in (made, theirs):
            for one in (delivery.id, DeliveryId(ids.new())):
                with pytest.raises(NotFound):
                    await deliveries.get(session, t, endpoint, one)
                with pytest.raises(NotFound):
                    await deliveries.redeliver(session, t, endpoint, one)
        seen = await endpoints.listed(session, t, limit=9)
    assert [one.id for one in seen.items] == [theirs]
    async with scene.db.transaction() as session:
        assert (await endpoints.get(session, scene.tenant, made)).state == "enabled"
    assert len(await scene.log(made)) == 1
