"""Turns among machines that share a mirror: one makes a file, the others wait until it is there.

Whoever makes a file keeps a marker in the mirror, which it renews every few seconds. Two that put their markers down
at the same time both take them back, and the first by name tries again first. A marker that nobody renews has lost its
maker, and the next one takes its turn. At worst, a file is made more than once.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.mirror import Mirror
from splitters.methods.protocol import Progress, ProgressCallback

FOLDER = "making"
"""Where markers lie, by the hash of the file's name."""

BEAT_SECONDS = 3.0
LEASE_SECONDS = 15.0
"""A marker that does not change for so long has lost its maker."""

_WAIT_SECONDS = 1.0
_GLANCE_SECONDS = 0.3
_ATTEMPTS = 3


@contextmanager
def turn(
    mirror: Mirror, name: str, *, has_come: Callable[[], bool], progress: ProgressCallback, stage: str
) -> Iterator[bool]:
    """Waits until no other machine makes a file, or until it is there.

    A mirror that fails makes nobody wait.

    Args:
        mirror: Where the file is shared.
        name: Its name there.
        has_come: Looks for the file, and says whether it is there now.
        progress: Called while another machine makes it. It may raise, and so end the wait.
        stage: What is waited for, for the reports.

    Yields:
        Whether it is to be made now, which others then wait for. If not, it is there.
    """
    marker = _Marker(mirror, name)
    try:
        while (wait := marker.seconds_to_wait()) > 0:
            until = time.monotonic() + wait
            while time.monotonic() < until:
                progress(Progress(stage, 0))
                time.sleep(min(_GLANCE_SECONDS, wait))
            if has_come():
                yield False
                return
        # The last maker may have come to its end since somebody looked.
        if has_come():
            yield False
            return
        with marker.beating():
            yield True
    finally:
        marker.remove()


class _Marker:
    """This process's marker, and what is known of others'.

    Args:
        mirror: Where they are.
        name: The file that is made.
    """

    def __init__(self, mirror: Mirror, name: str) -> None:
        self._mirror = mirror
        self._beginning = f"{FOLDER}/{hashlib.sha256(name.encode()).hexdigest()[:32]}-"
        self._own = f"{self._beginning}{secrets.token_hex(8)}"
        self._is_down = False
        self._number = 0
        self._seen: dict[str, tuple[bytes, float]] = {}

    def seconds_to_wait(self) -> float:
        """Puts the marker down if no other one lies there. Returns 0 if the turn is ours, or when to ask again."""
        for _ in range(_ATTEMPTS):
            try:
                return self._ask()
            except OSError:
                time.sleep(_GLANCE_SECONDS)
        return 0.0

    def _ask(self) -> float:
        if self._others():
            return _WAIT_SECONDS
        self._put()
        others = self._others()
        if not others:
            return 0.0
        self.remove()
        return _GLANCE_SECONDS if self._own < min(others) else _WAIT_SECONDS

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Renews the marker during the block."""
        left = threading.Event()

        def beat() -> None:
            while not left.wait(BEAT_SECONDS):
                with contextlib.suppress(OSError):
                    self._put()

        pulse = threading.Thread(target=beat, name="turn", daemon=True)
        pulse.start()
        try:
            yield
        finally:
            left.set()
            pulse.join()

    def remove(self) -> None:
        """Takes the marker back."""
        if self._is_down:
            self._mirror.remove(self._own)
            self._is_down = False

    def _put(self) -> None:
        """Writes the marker; each time it says something else, so that nobody takes a new one for an old one."""
        self._is_down = True
        self._number += 1
        self._mirror.write(self._own, str(self._number).encode())

    def _others(self) -> list[str]:
        """Returns the other markers that somebody renews, as far as one can tell."""
        now, found = time.monotonic(), []
        for name in self._mirror.names(FOLDER):
            if name == self._own or not name.startswith(self._beginning):
                continue
            try:
                content = self._mirror.read(name)
            except FileNotFoundError:
                continue
            before, since = self._seen.get(name, (None, now))
            if content != before:
                self._seen[name] = (content, now)
                found.append(name)
            elif now - since <= LEASE_SECONDS:
                found.append(name)
            else:
                self._mirror.remove(name)
        return found
