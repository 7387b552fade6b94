"""A `Progress` that keeps what it is told."""

from __future__ import annotations


class RecordedProgress:
    """updates: (task, done, total), and notes, in their order."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, int, int | None]] = []
        self.notes: list[str] = []

    def update(self, task: str, done: int, total: int | None = None) -> None:
        self.updates.append((task, done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)
