"""One decoding worker seen from its parent: started, given a film, ended."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

import medinterp
from medinterp.errors import FilmTooLargeError, ServiceInterruptedError, UnreadableFilmError
from medinterp.imaging.limits import FilmLimits
from medinterp.imaging.worker_messages import (
    LENGTH_BYTES,
    MAX_HEADER_BYTES,
    BrokenMessageError,
    film_of,
    framed,
    job_header,
    parsed,
    pixel_bytes,
    unforeseen_of,
)
from medinterp.types import Film

logger = logging.getLogger(__name__)

START_S = 60.0
"""How long a worker may import; a cold disk is slow."""
PIPE_BYTES = 2**20
"""What a pipe holds: with Linux's 64 KiB each side would wait for the other sixteen times as often."""

COULD_NOT_COPE = "The decoder could not cope with this file. Export it again, or send the film as PNG."
NOT_READY = "films cannot be decoded just now; try again shortly"
KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
ROOT = Path(medinterp.__file__).parent.parent
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX")}


class WorkerProcess:
    """A child process and its pipes."""

    def __init__(self, reader: str, memory_bytes: int, starter: Executor) -> None:
        """Start it; it imports on its own while nobody waits.

        starter: where that is done, for it takes its time on a busy machine. Linux ends the child with that thread.
        """
        self._started: Future[subprocess.Popen[bytes]] = starter.submit(_start, reader, memory_bytes)
        self._jobs = self._answers = -1
        self._ready = False
        self.fit = True
        """Whether it can take a film: nothing is under way, and nothing has gone wrong."""

    @property
    def pid(self) -> int:
        """The child's process id; waits until there is one."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, or is about to."""
        if not self._started.done():
            return True
        return self._started.exception() is None and self._process.poll() is None

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        return self._started.result()

    async def read(self, data: bytes, limits: FilmLimits, window: str | None, *, cpu_s: int, wall_s: float) -> Film:
        """Decode a film.

        However this ends but for an answer, the worker is not fit any more, and is to be killed. Raises what
        imaging.read_film does, FilmTooLargeError over the limits on memory, computing and time, UnreadableFilmError
        when the worker died of the file, ServiceInterruptedError when it did not start or was ended from outside.
        """
        self.fit = False
        if not self._ready:
            await self._starting()
        try:
            async with asyncio.timeout(wall_s):
                await self._send(framed(job_header(len(data), limits, window, cpu_s)))
                await self._send(data)
                header = await self._header()
                pixels = np.empty(pixel_bytes(header, limits), np.uint8)
                await self._receive(pixels.data)
        except TimeoutError:
            raise FilmTooLargeError(f"The film takes longer than {wall_s:g} s to decode. Send it smaller.") from None
        except (EOFError, BrokenPipeError, ConnectionError):
            raise await self._death(cpu_s) from None
        except BrokenMessageError as error:
            logger.warning("a decoding worker's answer is broken: %s", error)
            raise UnreadableFilmError(COULD_NOT_COPE) from None
        return self._film(header, pixels, limits)

    def _film(self, header: dict[str, Any], pixels: Any, limits: FilmLimits) -> Film:
        try:
            self.fit = header.get("spent") is False
            unforeseen = unforeseen_of(header)
            if unforeseen is None:
                return film_of(header, pixels, limits)
        except BrokenMessageError as error:
            self.fit = False
            logger.warning("a decoding worker's answer is broken: %s", error)
        else:
            logger.warning("unforeseen while decoding a film: %s", unforeseen)
        raise UnreadableFilmError(COULD_NOT_COPE)

    async def _starting(self) -> None:
        """Wait until it is ready. Raises ServiceInterruptedError."""
        try:
            async with asyncio.timeout(START_S):
                process = await asyncio.shield(asyncio.wrap_future(self._started))
                self._jobs, self._answers = _descriptor(process.stdin), _descriptor(process.stdout)
                self._ready = (await self._header()).get("ready") is True
        except asyncio.CancelledError:
            self.fit = True  # the caller goes away, and the worker goes on importing
            raise
        except (TimeoutError, EOFError, BrokenMessageError, OSError) as error:
            logger.error("a decoding worker did not start: %s", type(error).__name__)
        if not self._ready:
            raise ServiceInterruptedError(NOT_READY)

    async def _death(self, cpu_s: int) -> Exception:
        """What the worker died of."""
        code = self._process.poll()
        for _ in range(200):
            if code is not None:
                break
            await asyncio.sleep(0.005)
            code = self._process.poll()
        logger.warning("a decoding worker ended over a film (exit status %s)", code)
        if code == -signal.SIGXCPU:
            return FilmTooLargeError(f"The film takes more than {cpu_s} s of computing to decode. Send it smaller.")
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            return ServiceInterruptedError("decoding was ended from outside; try again shortly")
        return UnreadableFilmError(COULD_NOT_COPE)

    async def _header(self) -> dict[str, Any]:
        length = bytearray(LENGTH_BYTES)
        await self._receive(memoryview(length))
        expected = int.from_bytes(length, "big")
        if expected > MAX_HEADER_BYTES:
            raise BrokenMessageError("a header is too long")
        text = bytearray(expected)
        await self._receive(memoryview(text))
        return parsed(bytes(text))

    async def _send(self, content: bytes) -> None:
        loop, left = asyncio.get_running_loop(), memoryview(content)
        while left:
            try:
                left = left[os.write(self._jobs, left[:PIPE_BYTES]) :]
            except BlockingIOError:
                await _when(self._jobs, loop.add_writer, loop.remove_writer)

    async def _receive(self, room: memoryview) -> None:
        """Fill the room. Raises EOFError when the worker has ended."""
        loop = asyncio.get_running_loop()
        while room:
            try:
                count = os.readv(self._answers, [room[:PIPE_BYTES]])
            except BlockingIOError:
                await _when(self._answers, loop.add_reader, loop.remove_reader)
                continue
            if count == 0:
                raise EOFError
            room = room[count:]

    def kill(self) -> None:
        """End it at once, and close its pipes: nobody may be reading a film from it."""
        self._end(closing=True)

    def end(self) -> threading.Thread:
        """End it at once: who reads a film from it learns of that. Returns the thread that waits for it to be gone."""
        return self._end(closing=False)

    def _end(self, *, closing: bool) -> threading.Thread:
        self.fit = False

        def go() -> None:
            try:
                process = self._process
            except OSError:  # it was never started
                return
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and closing:
                    pipe.close()

        going = threading.Thread(target=go, name="a decoding worker ends", daemon=True)
        going.start()
        return going


def _start(reader: str, memory_bytes: int) -> subprocess.Popen[bytes]:
    """Start a worker, without the secrets of our environment. Raises OSError."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    environment |= ONE_THREAD
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-m", "medinterp.imaging.worker", str(os.getpid()), str(memory_bytes), reader]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=environment,
        cwd="/",
    )


def _descriptor(pipe: IO[bytes] | None) -> int:
    """Our end of a pipe, large and never blocking."""
    assert pipe is not None
    descriptor = pipe.fileno()
    os.set_blocking(descriptor, False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # a user's pipes may hold so much in all; a small one is only slower
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor


async def _when(descriptor: int, add: Callable[..., None], remove: Callable[[int], Any]) -> None:
    """Return when the descriptor can be read or written."""
    possible = asyncio.get_running_loop().create_future()

    def tell() -> None:
        if not possible.done():
            possible.set_result(None)

    add(descriptor, tell)
    try:
        await possible
    finally:
        remove(descriptor)
