"""`towpath up`: the whole platform on one machine, started, watched and ended as one.

It starts the embedded servers that no setting points elsewhere, migrates, runs api, worker, control
and flower as processes of their own, starts a dead one again, and takes everything along when it
ends, on kill -9 too. One `up` a state folder: a second one says so and changes nothing.
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from app.bootstrap.settings import Settings
from app.cli import quarantine
from app.cli.family import ROOT, Family, command, handed_on, say
from app.core.errors import Invalid, TowpathError
from app.embedded import footprint, launch, servers, states
from app.embedded.errors import FolderInUse, ServerFailed
from app.embedded.servers import Servers

HOST: Final = "127.0.0.1"
API_PORT: Final = 8080
FLOWER_PORT: Final = 5555
_READY_SECONDS: Final = 60.0
_END_MARGIN: Final = timedelta(seconds=5)  # beyond the grace in which a worker hands its jobs back


@dataclass(frozen=True, slots=True)
class Options:
    """What `towpath up` was asked for, and the settings that its processes will read too."""

    settings: Settings
    state: Path
    port: int | None = None  # None: the last one, 8080, or a free one
    once: bool = False
    as_json: bool = False
    started_at: float | None = None  # when scripts/up began, in seconds of the epoch

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        data: Path | None = None,
        port: int | None = None,
        once: bool = False,
        as_json: bool = False,
        started_at: float | None = None,
    ) -> Self:
        """The state folder is `data`, else TOWPATH_STATE_DIR, else the default."""
        set_by_operator = "state_dir" in settings.model_fields_set
        state = data or (settings.state_dir if set_by_operator else default_state())
        return cls(settings, state.absolute(), port, once, as_json, started_at)


@dataclass(frozen=True, slots=True)
class Started:
    """The running platform, as the demonstration and the last lines on the screen need it."""

    state: Path
    api_url: str
    flower_url: str
    receiver: str  # ip:port, the only private address that webhooks may go to by default
    environment: Mapping[str, str]  # TOWPATH_ variables of its processes
    logs: Path
    seconds: dict[str, float] = field(default_factory=dict)


Demo = Callable[[Started], Awaitable[dict[str, Any]]]  # raises TowpathError where it did not work


def up(options: Options, demo: Demo) -> int:
    """Start everything, run the demonstration once, stay until a signal. Gives the exit status."""
    state = options.state
    try:
        with _ending_on_signals():
            return _up(options, demo)
    except FolderInUse as error:
        running = read_running(state)
        if running is None:
            return _fail(f"{error} Another `up` is starting or ending there; nothing was changed.")
        say(f"Towpath already runs on {state} (process {running['pid']}); nothing was changed.")
        say(f"  API     {running['api_url']}\n  Flower  {running['flower_url']}")
        return 1 if options.once else 0  # --once promises a job, and none was run
    except TowpathError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        say("Stopped before it was up.")
        return 130


def default_state() -> Path:
    """Where the state is unless `--data` says otherwise."""
    return states.default(ROOT if (ROOT / "pyproject.toml").exists() else Path.cwd())


def read_running(state: Path) -> dict[str, Any] | None:
    """What a running `up` wrote about itself, or None where none runs or it isn't ready yet."""
    try:
        lock = states.lock(state / "lock")
    except FolderInUse:
        try:
            content: dict[str, Any] = json.loads((state / "stack.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return content
    except OSError:
        return None
    lock.close()
    return None


def _up(options: Options, demo: Demo) -> int:
    state = options.state
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    if options.started_at is not None:
        seconds["setup"] = round(max(0.0, time.time() - options.started_at), 2)
    with ExitStack() as exits:
        states.prepare(state)
        exits.enter_context(states.lock(state / "lock"))
        (state / "stack.json").unlink(missing_ok=True)
        # Inherited by every process below: those of a killed `up` are waited for.
        inherited = exits.enter_context(
            states.lock(state / "processes.lock", seconds=states.ORPHAN_SECONDS)
        )
        port = _port(state, options.port)
        flower = states.remembered_port(state / "flower.port", FLOWER_PORT)
        receiver = f"{HOST}:{states.remembered_port(state / 'receiver.port')}"
        running = servers.start(state, wanted_servers(options.settings), say=clock.lap)
        exits.callback(running.stop)
        environment = _environment(options, running, receiver)
        _migrate(options, running, environment)
        clock.lap("migrate")
        started = Started(
            state=state,
            api_url=f"http://{HOST}:{port}",
            flower_url=f"http://{HOST}:{flower}",
            receiver=receiver,
            environment=environment,
            logs=state / "logs",
            seconds=seconds,
        )
        commands = {
            "api": ["api", "--port", str(port)],
            "worker": ["worker"],
            "control": ["control"],
            quarantine.NAME: ["quarantine"],
            "flower": ["flower", "--port", str(flower)],
        }
        started.logs.mkdir(mode=0o700, exist_ok=True)
        patience = options.settings.leases.stop_grace + _END_MARGIN
        processes = Family(
            running, commands, environment, started.logs, inherited, patience,
            sleeping=[quarantine.NAME],
        )  # fmt: skip
        exits.callback(processes.end)
        exits.callback((state / "stack.json").unlink, missing_ok=True)
        return asyncio.run(_live(processes, started, clock, options, demo))


def _port(state: Path, wanted: int | None) -> int:
    file = state / "api.port"
    if wanted is None:
        return states.remembered_port(file, API_PORT)
    if states.free_port(wanted) is None:
        raise Invalid(f"Port {wanted} of {HOST} is taken. Choose another with --port.")
    file.write_text(f"{wanted}\n")
    return wanted


def wanted_servers(settings: Settings) -> list[str]:
    """The servers that no setting points elsewhere."""
    elsewhere = {
        "postgres": settings.database_url,
        "valkey": settings.broker_url,
        "model": settings.llm_base_url or settings.llm.base_url,
    }
    return [name for name, url in elsewhere.items() if url is None]


def _environment(options: Options, running: Servers, receiver: str) -> dict[str, str]:
    """What every process is told beside what it inherits. The owner's URL is not for them."""
    here, settings = running.addresses, options.settings
    allowed = sorted({*settings.webhooks.allowed_private, receiver})
    told = {
        "TOWPATH_STATE_DIR": str(options.state),
        "TOWPATH_DATABASE_URL": settings.database_url or here.app_url,
        "TOWPATH_BROKER_URL": settings.broker_url or here.broker_url,
        "TOWPATH_CACHE_URL": settings.cache_url or here.cache_url,
        "TOWPATH_LLM_BASE_URL": settings.llm_base_url or here.llm_base_url,
        "TOWPATH_WEBHOOKS__ALLOWED_PRIVATE": json.dumps(allowed),
    }
    return {name: value for name, value in told.items() if value is not None}


def _migrate(options: Options, running: Servers, environment: Mapping[str, str]) -> None:
    owner = running.addresses.owner_url or options.settings.database_owner_url
    if owner is None:
        say(
            "TOWPATH_DATABASE_OWNER_URL is not set: the schema of TOWPATH_DATABASE_URL is taken as it is"
        )
        return
    done = subprocess.run(  # noqa: S603 - our own command
        command("migrate"),
        env=handed_on({**environment, "TOWPATH_DATABASE_OWNER_URL": owner}),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerFailed(f"The migration failed.\n{done.stdout}{done.stderr}")


async def _live(
    family: Family, started: Started, clock: "_Clock", options: Options, demo: Demo
) -> int:
    """Start the processes, show the demonstration, stay. Ends at a signal or, with --once, by itself."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGCHLD, family.look)
    watcher = asyncio.create_task(family.watch())
    keeper = asyncio.create_task(
        quarantine.keep(family, started.environment["TOWPATH_DATABASE_URL"])
    )
    shown = asyncio.create_task(_show(family, started, clock, options, demo))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({watcher, keeper, shown, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if shown.done():
            shown.result()
            if not options.once:
                await asyncio.wait({watcher, keeper, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for endless in (watcher, keeper):
            if endless.done():
                endless.result()
        if options.once and not shown.done():
            return _fail("Stopped before the demonstration was done.")
        return 0
    finally:
        for task in (watcher, keeper, shown, stopped):
            task.cancel()
        await asyncio.gather(watcher, keeper, shown, stopped, return_exceptions=True)
        if not options.once:
            say("Towpath is stopping")


async def _show(
    family: Family, started: Started, clock: "_Clock", options: Options, demo: Demo
) -> None:
    async with _peak_memory() as memory:
        await _until_ready(family, started)
        clock.lap("processes")
        _write_running(started)
        try:
            result = await demo(started)
        except TowpathError as error:
            if options.once:
                raise
            say(f"The demonstration failed: {error}")
            result = {"error": {"code": error.code, "message": str(error)}}
        clock.lap("demonstration")
    seconds = started.seconds | {"total": round(sum(started.seconds.values()), 2)}
    memory_mb = round(memory[0] / 1_000_000)
    say(f"peak memory of the whole stack {memory_mb} MB; {seconds['total']} s in all")
    if not options.once:
        say(f"Towpath runs; its state is in {started.state}, its logs in {started.logs}")
        say(f"  API     {started.api_url} (documentation at /docs)\n  Flower  {started.flower_url}")
        say("Ctrl-C ends it; nothing is lost.")
    if options.as_json:  # last of all
        line = result | {"seconds": result.get("seconds", {}) | seconds}
        line |= {"memory": {"peak_pss_mb": memory_mb}}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


async def _until_ready(family: Family, started: Started) -> None:
    """Until the API says it is ready. Raises ServerFailed where it dies again and again, or is late."""
    end = time.monotonic() + _READY_SECONDS
    addresses = {"api": f"{started.api_url}/readyz", "flower": f"{started.flower_url}/healthcheck"}
    for name, url in addresses.items():
        while not await asyncio.to_thread(_says_ok, url):
            if family.deaths(name) > 2 or time.monotonic() > end:
                log = launch.tail(started.logs / f"{name}.log")
                raise ServerFailed(f"{name} does not get ready.\n{log}")
            await asyncio.sleep(0.1)


def _says_ok(url: str) -> bool:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def _peak_memory() -> AsyncIterator[list[int]]:
    """Bytes of the whole tree at its largest, looked at twice a second, in a list of one."""
    peak = [0]

    async def sample() -> None:
        while True:
            peak[0] = max(peak[0], await asyncio.to_thread(footprint.tree_bytes, os.getpid()))
            await asyncio.sleep(0.5)

    task = asyncio.create_task(sample())
    try:
        yield peak
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _write_running(started: Started) -> None:
    content = {
        "pid": os.getpid(),
        "api_url": started.api_url,
        "flower_url": started.flower_url,
        "receiver": started.receiver,
        "logs": str(started.logs),
        "environment": dict(started.environment),
    }
    half = started.state / "stack.json.half"
    half.touch(0o600)
    half.write_text(json.dumps(content, indent=2) + "\n")
    half.replace(started.state / "stack.json")


class _Clock:
    """Writes how long each phase took, as it ends."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        """The phase has ended."""
        now = time.monotonic()
        self._seconds[phase] = round(now - self._last, 2)
        self._last = now
        say(f"{phase:<14} {self._seconds[phase]:6.2f} s")


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end this process like Ctrl-C: every child is stopped first."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(message: str) -> int:
    say(message)
    return 1
