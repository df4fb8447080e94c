"""Requests to addresses of a tenant's choosing reach public addresses, and nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from email.utils import format_datetime

import pytest

from app.core import clock, http
from tests.fakes.receiver import Receiver, Reply, receiving

PUBLIC = "93.184.215.14"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


class Names:
    """A resolver whose answers are arranged, one after the other; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def sender(
    *answers: Sequence[str], allowed: frozenset[str] = frozenset(), seconds: float = 5
) -> http.Sender:
    return http.open_sender(allowed, seconds, Names(*answers))


async def post(one: http.Sender, url: str, body: bytes = b"{}") -> http.Sent:
    return await http.post(one, url, body, {"content-type": "application/json"})


async def test_a_post_brings_exactly_these_bytes(receiver: Receiver) -> None:
    body = '{"b": 1.0, "a": "é\u2028"}'.encode()
    sent = await post(sender([], allowed=receiver.allowed), receiver.url, body)
    assert (sent.status, sent.error) == (200, None)
    assert receiver.got[0].body == body
    assert receiver.got[0].headers["content-type"] == "application/json"


FORBIDDEN = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254",
    "100.64.0.1", "0.1.2.3", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.10",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "fec0::1",
    "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1",
    "2002:a00:1::1", "2001::1", "2001:db8::1", "3fff::1", "100::1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_name_that_stands_for_a_forbidden_address_is_refused(address: str) -> None:
    sent = await post(sender([address]), "http://hook.test/")
    assert (sent.status, sent.error) == (None, http.REFUSED)
    one = sender([PUBLIC, address])
    assert await http.fault(one, "http://hook.test/", timeout_seconds=1) == http.REFUSED


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_forbidden_address_spelt_out_is_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    names = Names([PUBLIC])
    sent = await post(http.open_sender(frozenset(), 5, names), f"https://{host}/")
    assert (sent.status, sent.error) == (None, http.REFUSED)
    assert names.asked == []


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "127.0.0.1.", "1.2.3.4.5", "a.0x1",
     "①②⑦.0.0.1", "０ｘ７ｆ.1", "[::1%25lo]", "[2606:4700::1%25lo]", "[::ffff:7f00:1]"],
)  # fmt: skip
async def test_an_odd_spelling_of_an_address_is_refused(host: str) -> None:
    sent = await post(sender([PUBLIC]), f"http://{host}/")
    assert (sent.status, sent.error) == (None, http.REFUSED)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "100.128.0.1", "172.32.0.1"])  # fmt: skip
async def test_a_public_address_is_no_fault(address: str) -> None:
    assert await http.fault(sender([address]), "https://hook.test/x", timeout_seconds=1) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "is neither http nor https"),
        ("gopher://hook.test/", "is neither http nor https"),
        ("hook.test/x", "is neither http nor https"),
        ("http://user:pass@hook.test/", "holds credentials"),
        ("http://user@hook.test/", "holds credentials"),
        ("http://hook.test/a b", "holds a space or a control character"),
        ("http://hook.test/\r\nx: y", "holds a space or a control character"),
        ("http://hook.test\\@127.0.0.1/", "is not a URL"),
        ("http://hook.test:99999/", "is not a URL"),
        ("http://hook.test:0/", "names no host"),
        ("http:///x", "names no host"),
        ("http://hook.test/" + "x" * http.URL_BYTES, f"longer than {http.URL_BYTES} bytes"),
    ],
)
async def test_a_url_that_is_none_of_ours_is_refused(url: str, words: str) -> None:
    assert await http.fault(sender([PUBLIC]), url, timeout_seconds=1) == words
    assert (await post(sender([PUBLIC]), url)).error == words


async def test_a_name_that_does_not_resolve_fails_the_try_and_no_entry(receiver: Receiver) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    one = http.open_sender(frozenset(), 5, unknown)
    assert (await post(one, "http://nowhere.test/")).error == "the name does not resolve"
    assert await http.fault(one, "http://nowhere.test/", timeout_seconds=1) is None


async def test_the_system_resolver_is_checked_too(receiver: Receiver) -> None:
    one = http.open_sender(frozenset(), 5)
    try:
        sent = await post(one, f"http://localhost:{receiver.port}/")
    finally:
        one.close()
    assert (sent.status, sent.error) == (None, http.REFUSED)
    assert receiver.got == []


async def test_allowed_is_an_address_with_its_port_and_nothing_else(receiver: Receiver) -> None:
    async with receiving() as neighbour:
        one = sender(["127.0.0.1"], allowed=receiver.allowed)
        assert (await post(one, f"http://hook.test:{receiver.port}/")).status == 200
        assert (await post(one, f"http://127.0.0.1:{neighbour.port}/")).error == http.REFUSED
        assert (
            await post(one, f"http://[::ffff:127.0.0.1]:{receiver.port}/")
        ).error == http.REFUSED
    assert neighbour.got == []


# C102: a name checked at one address must not be used at another.


async def test_c102_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    async with receiving("127.0.0.2", receiver.port) as inner:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        one = http.open_sender(receiver.allowed, 5, names)
        url = f"http://rebind.test:{receiver.port}/"
        first = await post(one, url)
        assert (first.status, names.asked) == (200, ["rebind.test"])
        assert (len(receiver.got), inner.got) == (1, [])
        # The next try asks again and is refused: no connection was kept to slip through.
        assert (await post(one, url)).error == http.REFUSED
        assert (len(receiver.got), inner.got) == (1, [])
        assert names.asked == ["rebind.test"] * 2


@pytest.mark.parametrize("answer", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], ["::1"]])
async def test_c102_any_forbidden_address_refuses_the_answer(
    receiver: Receiver, answer: list[str]
) -> None:
    sent = await post(sender(answer), f"http://hook.test:{receiver.port}/")
    assert (sent.status, sent.error) == (None, http.REFUSED)
    assert receiver.got == []


# C101: a public endpoint answers with a redirect to an internal address.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_c101_a_redirect_is_an_answer_and_is_not_followed(
    receiver: Receiver, status: int
) -> None:
    async with receiving() as inner:
        for target in (inner.url, "http://[::ffff:10.0.0.1]/", "file:///etc/passwd", "//x\x00"):
            receiver.replies.append(Reply(status, {"Location": target.replace("\x00", "")}))
            sent = await post(sender([], allowed=receiver.allowed | inner.allowed), receiver.url)
            assert (sent.status, sent.error) == (status, None)
    assert inner.got == []
    assert len(receiver.got) == 4


async def test_a_silent_endpoint_ends_at_the_total_limit(receiver: Receiver) -> None:
    receiver.otherwise = Reply(silent=True)
    sent = await post(sender([], allowed=receiver.allowed, seconds=0.2), receiver.url)
    assert (sent.status, sent.error) == (None, "no answer within 0.2 s")
    assert 150 < sent.duration_ms < 2_000


async def test_a_slow_resolver_ends_at_the_total_limit() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    one = http.open_sender(frozenset(), 0.1, never)
    assert (await post(one, "http://slow.test/")).error == "no answer within 0.1 s"


async def test_an_endless_answer_is_not_read() -> None:
    written = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while written < 1 << 28:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                written += 0x10000
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        one = sender([], allowed=frozenset({f"127.0.0.1:{port}"}))
        assert (await post(one, f"http://127.0.0.1:{port}/")).status == 200
    assert written < 1 << 24


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "not an HTTP answer"),
    ],
)
async def test_what_is_no_http_fails_in_plain_words(answer: bytes, words: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        one = sender([], allowed=frozenset({f"127.0.0.1:{port}"}))
        sent = await post(one, f"http://127.0.0.1:{port}/?key=CANARY")
    assert (sent.status, sent.error) == (None, words)


async def test_a_closed_port_and_plain_text_under_https_fail_in_plain_words(
    receiver: Receiver,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = sender([], allowed=receiver.allowed | {f"127.0.0.1:{port}"})
    assert (await post(one, f"http://127.0.0.1:{port}/")).error == "could not connect"
    assert (await post(one, f"https://127.0.0.1:{receiver.port}/")).error == "TLS failed"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("30", 30), (" 7 ", 7), ("0", 0), ("-1", None), ("soon", None), ("9" * 400, 999_999_999_999)],
)
async def test_retry_after_is_read_as_seconds(
    receiver: Receiver, header: str, seconds: int | None
) -> None:
    receiver.replies = [Reply(429, {"Retry-After": header})]
    sent = await post(sender([], allowed=receiver.allowed), receiver.url)
    assert (sent.status, sent.retry_after_seconds) == (429, seconds)


async def test_retry_after_is_read_as_a_date(receiver: Receiver) -> None:
    moment = clock.now() + timedelta(seconds=90)
    header = format_datetime(moment, usegmt=True)
    receiver.replies = [Reply(503, {"Retry-After": header})]
    sent = await post(sender([], allowed=receiver.allowed), receiver.url)
    assert sent.retry_after_seconds is not None
    assert 85 <= sent.retry_after_seconds <= 91
