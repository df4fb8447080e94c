"""Requests to addresses that a tenant chose, guarded against being turned inward (SSRF).

A name is resolved once a request, every address of the answer is checked, and the connection goes
to one of exactly those addresses: no second look-up, no kept connection, no redirect followed.
Sources: the IANA special-purpose address registries (RFC 6890); OWASP, "SSRF Prevention".
"""

import asyncio
import functools
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override
from yarl import URL

from app.core import clock

URL_BYTES: Final = 2_048
# What a silent endpoint may fill of our memory; nothing of it is kept.
ANSWER_BYTES: Final = 4_096
# A resolver that hangs must not hold the threads that other work needs.
RESOLVER_THREADS: Final = 32

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_FORBIDDEN_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
# All that is public in IPv6 lies in here: loopback, link-local, unique-local, multicast, IPv4-mapped
# (::ffff:0:0/96) and NAT64 (64:ff9b::/96) lie outside.
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries any IPv4 address
        "3fff::/20",
    )
)

REFUSED: Final = "the address is not a public one"


class _Refused(Exception):
    """The guard says no; the text says why and shows nothing of our own network."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: what private `ip:port` the operator allows, how names are resolved, how long it may take."""

    allowed_private: frozenset[str]
    timeout_seconds: float
    resolve: Resolve
    threads: ThreadPoolExecutor | None

    def close(self) -> None:
        """Let the resolver's threads go."""
        if self.threads is not None:
            self.threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """How one request ended: with a status, or with an error in words that are safe to show."""

    status: int | None
    error: str | None
    retry_after_seconds: int | None
    duration_ms: int


def open_sender(
    allowed_private: frozenset[str], timeout_seconds: float, resolve: Resolve | None = None
) -> Sender:
    """A sender that resolves by the system's resolver, or by another one."""
    if resolve is not None:
        return Sender(allowed_private, timeout_seconds, resolve, None)
    threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")
    by_system = functools.partial(_by_system, threads)
    return Sender(allowed_private, timeout_seconds, by_system, threads)


async def fault(sender: Sender, url: str, *, timeout_seconds: float) -> str | None:
    """Why no request may go to this url, or None. A name that doesn't resolve now is no fault.

    For the moment when a url is entered. Each request is checked again.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await _checked(sender, _parse(url))
    except _Refused as refused:
        return str(refused)
    except (OSError, UnicodeError, TimeoutError):
        return None
    return None


async def post(sender: Sender, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
    """POST once to a url, under the guard and the total time limit. Never raises for what the other side does.

    The answer's body is left unread; a redirect is an answer like any other.
    """
    start = time.monotonic()
    status, error, wait = None, None, None
    try:
        async with asyncio.timeout(sender.timeout_seconds):
            target = _parse(url)
            addresses = await _checked(sender, target)
            status, wait = await _request(sender, target, addresses, body, headers)
    except TimeoutError:
        error = f"no answer within {sender.timeout_seconds:g} s"
    except (_Refused, aiohttp.ClientError, OSError, ValueError) as failure:
        error = _words(failure)
    return Sent(status, error, wait, round((time.monotonic() - start) * 1000))


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer with its body. `over`: it is longer than was allowed, and was not read to its end."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    over: bool


class FetchFailed(Exception):
    """No answer; the text is safe to show. `sent`: whether the other side may have acted on the request.

    `refused`: the guard says no, and would say so again.
    """

    def __init__(self, message: str, *, sent: bool, refused: bool) -> None:
        super().__init__(message)
        self.sent = sent
        self.refused = refused


async def fetch(
    sender: Sender,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    most_bytes: int,
    redirects: int = 0,
) -> Fetched:
    """One request under the guard, its answer read up to `most_bytes`. Raises FetchFailed.

    Up to `redirects` are followed within the same origin, each checked as the first; any other is an
    answer. How long it may take is the caller's.
    """
    target = None
    try:
        target = _parse(url)
        for left in range(redirects, -1, -1):
            addresses = await _checked(sender, target)
            got, target = await _fetch(method, target, addresses, headers, body, most_bytes)
            if target is None or left == 0:
                return got
    except (aiohttp.ClientConnectorError, _Refused, socket.gaierror, UnicodeError) as failure:
        refused = isinstance(failure, _Refused)
        raise FetchFailed(_words(failure), sent=False, refused=refused) from failure
    except (aiohttp.ClientError, OSError, ValueError) as failure:
        raise FetchFailed(_words(failure), sent=True, refused=False) from failure
    raise AssertionError("unreachable")


async def _fetch(
    method: str,
    url: URL,
    addresses: Sequence[Address],
    headers: Mapping[str, str],
    body: bytes | None,
    most_bytes: int,
) -> tuple[Fetched, URL | None]:
    """An answer, and where it leads within the same origin, if it does."""
    connector = aiohttp.TCPConnector(
        resolver=_Pinned(addresses), use_dns_cache=False, force_close=True
    )
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,  # what is small on the wire may be huge: none is asked for
        ) as http,
        http.request(
            method, url, data=body, headers={**headers, "Accept-Encoding": "identity"},
            allow_redirects=False,
        ) as answer,
    ):  # fmt: skip
        read = bytearray()
        while len(read) <= most_bytes and (chunk := await answer.content.readany()):
            read += chunk
        over = len(read) > most_bytes
        shown = {name.lower(): value for name, value in answer.headers.items()}
        got = Fetched(answer.status, shown, bytes(read[:most_bytes]), over)
        leads = answer.status in (301, 302, 303, 307, 308) and "location" in shown
        to = url.join(URL(shown["location"])) if leads else None
        same = to is not None and to.origin() == url.origin()
        return got, _parse(str(to)) if same else None


def _parse(text: str) -> URL:
    if len(text.encode("utf-8", "replace")) > URL_BYTES:
        raise _Refused(f"longer than {URL_BYTES} bytes")
    if any(letter <= " " or letter == "\x7f" for letter in text):
        raise _Refused("holds a space or a control character")
    try:
        url = URL(text)
    except ValueError:
        raise _Refused("is not a URL") from None
    if url.scheme not in {"http", "https"}:
        raise _Refused("is neither http nor https")
    if not url.raw_host or not url.port:
        raise _Refused("names no host")
    if url.raw_user is not None or url.raw_password is not None:
        raise _Refused("holds credentials")
    return url


async def _checked(sender: Sender, url: URL) -> list[Address]:
    """Every address this url stands for, all of them allowed. Raises _Refused, or what resolving raises."""
    host, port = (url.raw_host or "").rstrip("."), url.port or 0
    literal = _literal(host)
    if literal is not None:
        addresses = [literal]
    else:
        addresses = [ip_address(one) for one in await sender.resolve(host, port)]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    # One forbidden address refuses the whole answer: which one is used would be the answer's choice.
    if not all(_allowed(sender, one, port) for one in addresses):
        raise _Refused(REFUSED)
    return addresses


def _literal(host: str) -> Address | None:
    """The address a host spells out, or None for a name. Raises _Refused for an odd spelling.

    127.1, 0x7f.1, 017700000001 and 2130706433 all mean 127.0.0.1 to a C library; what ends in a
    number is an address or nothing (WHATWG URL, "ends in a number").
    """
    last = host.rpartition(".")[2]
    if not (":" in host or last.isdigit() or last.lower().startswith("0x")):
        return None
    try:
        address = ip_address(host)
    except ValueError:
        raise _Refused(REFUSED) from None
    if "%" in host:  # a zone: of this machine's links
        raise _Refused(REFUSED)
    return address


def _allowed(sender: Sender, address: Address, port: int) -> bool:
    if isinstance(address, IPv6Address):
        public = address in _PUBLIC_V6 and not any(address in one for one in _FORBIDDEN_V6)
        return public or f"[{address}]:{port}" in sender.allowed_private
    public = not any(address in one for one in _FORBIDDEN_V4)
    return public or f"{address}:{port}" in sender.allowed_private


async def _by_system(threads: ThreadPoolExecutor, host: str, port: int) -> list[str]:
    look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(threads, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, whatever it is asked."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    @override
    async def close(self) -> None:
        return


async def _request(
    sender: Sender, url: URL, addresses: Sequence[Address], body: bytes, headers: Mapping[str, str]
) -> tuple[int, int | None]:
    # A connector a request: nothing is kept that a later check could be skipped over.
    connector = aiohttp.TCPConnector(
        resolver=_Pinned(addresses), use_dns_cache=False, force_close=True
    )
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=sender.timeout_seconds),
            auto_decompress=False,
            read_bufsize=ANSWER_BYTES,
        ) as http,
        http.post(url, data=body, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status, _seconds(answer.headers.get("Retry-After"))


def _seconds(retry_after: str | None) -> int | None:
    """Retry-After in seconds from now: a number, or a date (RFC 9110 section 10.2.3)."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isdecimal() and text.isascii():
        return int(text[:12])
    try:
        moment: datetime = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0, round((moment - clock.now()).total_seconds()))


def _words(failure: Exception) -> str:
    """What went wrong, without a word of the other side's or of the library's, which may show the url."""
    match failure:
        case _Refused():
            return str(failure)
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return "TLS failed"
        case socket.gaierror() | UnicodeError():
            return "the name does not resolve"
        case aiohttp.ClientConnectorError():
            return "could not connect"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "the connection was closed without an answer"
        case _:
            return "not an HTTP answer"
