"""How far a long task is: one protocol for all of them."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a long task, in the thread that called it.

    An exception that is raised here, such as KeyboardInterrupt, ends the task and comes out of it.
    """

    def update(self, task: str, done: int, total: int | None = None) -> None:
        """`done` of `total` steps of a task are finished. total: None where it is not known."""
        ...

    def note(self, text: str) -> None:
        """One line for people: a step that begins, or something they should know."""
        ...


class _Silent:
    def update(self, task: str, done: int, total: int | None = None) -> None:
        """Drop it."""

    def note(self, text: str) -> None:
        """Drop it."""


SILENT: Progress = _Silent()


class NamedTask:
    """Passes progress on under one name, for a task that is a part of a larger one."""

    def __init__(self, progress: Progress, task: str) -> None:
        self._progress, self._task = progress, task

    def update(self, task: str, done: int, total: int | None = None) -> None:
        self._progress.update(self._task, done, total)

    def note(self, text: str) -> None:
        self._progress.note(text)
