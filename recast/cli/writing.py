"""What is finished is written on a thread of its own, beside the work on what comes next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import NamedTuple

WAITING = 1  # finished pictures that wait behind the one being written; more would hold memory and gain nothing


class _Task(NamedTuple):
    name: str
    write: Callable[[], None]


class Writer:
    """Writes one thing after another in the order they came; use it in `with`, which is left when all of it is written.

    write: given to `put`, does the writing; each of them has to leave a whole file or none. on_error: called on the
    writing thread with the name of what failed, and the error. It returns whether the rest goes on; an error after
    which it does not, or one of its own, is raised by the next `put`, or where the `with` ends, and what was not begun
    stays unwritten. However else the `with` ends, by Ctrl-C too, all is written that a `put` has returned for; a second
    Ctrl-C leaves that out, but for the file under way. So does a Ctrl-C just before the first line of `__exit__`, and
    waits for no file.

    An interrupt may come between any two lines of the calling thread, so it waits in `SimpleQueue` alone, whose calls
    happen or do not; `queue.Queue` and `Thread.join` may be left with a lock held. The thread is a daemon, so that one
    which nobody waits for any more does not keep the process.
    """

    def __init__(self, on_error: Callable[[str, Exception], bool]) -> None:
        self._on_error = on_error
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()  # as many entries as tasks may still come
        self._end: SimpleQueue[None] = SimpleQueue()
        self._error: BaseException | None = None
        self._is_given_up = False
        for _ in range(WAITING + 1):
            self._room.put(None)

    def put(self, name: str, write: Callable[[], None]) -> None:
        """Have `write` called soon; waits while there is as much to write as there may be. Raises what writing raised.

        name: what it is about, for `on_error`.
        """
        self._raise()
        self._room.get()
        self._tasks.put(_Task(name, write))
        self._raise()

    def __enter__(self) -> Writer:
        threading.Thread(target=self._work, name="recast-writer", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._tasks.put(None)
            self._end.get()
        except KeyboardInterrupt:
            self._is_given_up = kind is KeyboardInterrupt  # then this is the second
            self._tasks.put(None)  # the first may not have come to be; one too many is never read
            self._end.get()
            raise
        if error is None:
            self._raise()

    def _work(self) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                try:
                    if self._error is None and not self._is_given_up:
                        self._write(task)
                finally:
                    del task  # a picture that is written leaves memory before the next one comes
                    self._room.put(None)
        finally:
            for _ in range(2):  # the first may be taken just as an interrupt comes, which waits again
                self._end.put(None)

    def _write(self, task: _Task) -> None:
        try:
            try:
                task.write()
            except Exception as error:
                if not self._on_error(task.name, error):
                    self._error = error
        except BaseException as error:  # of `on_error`: a full disk, say, where stderr goes
            self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
