"""How far a long task is: one protocol for all of them."""

from __future__ import annotations

from typing import Protocol

from fcn_edge.errors import warn_user


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


def report_warning(progress: Progress, text: str) -> None:
    """A note that warns; a Python warning where nobody takes notes."""
    if progress is SILENT:
        warn_user(text)
    else:
        progress.note(f"warning: {text}")


class NamedTask:
    """Passes progress on under one name, for a task that is a part of a larger one."""

    def __init__(self, progress: Progress, task: str, *, part: int = 0, parts: int = 1) -> None:
        """part: the number of this part, from 0, where so many of equal length make up the task."""
        self._progress, self._task, self._part, self._parts = progress, task, part, parts

    def update(self, task: str, done: int, total: int | None = None) -> None:
        before = self._part * (total or 0)
        self._progress.update(self._task, before + done, total and self._parts * total)

    def note(self, text: str) -> None:
        self._progress.note(text)
