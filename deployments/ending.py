"""How the process is told to end: once, to finish its work first; twice, at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

AT_ONCE = 130
"""The status of a process that was ended before its work was."""


class Ending:
    """Takes SIGINT and SIGTERM alike: a service manager's stop is as good as Ctrl-C. SIGHUP: read the settings again.

    Signals are read by a thread of their own: the main thread may be inside Ray, where no handler of Python's runs.
    """

    def __init__(self) -> None:
        self._told, self._again, self._woken = threading.Event(), threading.Event(), threading.Event()
        self._kill: Callable[[], None] = lambda: None

    def listen(self, kill: Callable[[], None]) -> None:
        """From now on; kill: ends, without waiting, whatever this process has started."""
        self._kill = kill
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, lambda *_: None)
        self._sockets = reader, writer
        threading.Thread(target=self._read, name="signals", daemon=True).start()

    def _read(self) -> None:
        while number := self._sockets[0].recv(1):
            if number[0] == signal.SIGHUP:
                self._again.set()
                self._woken.set()
            if number[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            if self._told.is_set():
                self.at_once()
            self._told.set()
            self._woken.set()

    def at_once(self) -> None:
        """End this process and what it has started."""
        self._kill()
        os._exit(AT_ONCE)

    def at_once_after(self, seconds: float) -> threading.Timer:
        """The same unless the timer is cancelled before: of what waits for others there must be an end."""
        timer = threading.Timer(seconds, self.at_once)
        timer.daemon = True
        timer.start()
        return timer

    def wait(self, seconds: float) -> bool:
        """Sleep, until told something at the latest; returns whether the process was told to end."""
        self._woken.wait(seconds)
        self._woken.clear()
        return self._told.is_set()

    def asked_again(self) -> bool:
        """Whether the settings are to be read again, since this was asked last."""
        asked = self._again.is_set()
        self._again.clear()
        return asked
