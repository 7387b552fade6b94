"""What was changed or passed over while files were read, each file once."""

from __future__ import annotations

from collections.abc import Sequence


class Notes:
    """What -> names of the files that it happened to, in the order of reading."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def add(self, what: str, *names: str) -> None:
        """Note it of these files; noting it again, or an empty `what`, changes nothing."""
        if what and names:
            self._names.setdefault(what, {}).update(dict.fromkeys(names))

    def merge(self, other: Notes) -> None:
        for what, names in other._names.items():
            self.add(what, *names)

    def named(self, most: int) -> list[str]:
        """As `lines`, with the names of up to `most` files."""
        return [f"{names_in_words(list(names), most)}: {what}" for what, names in self._names.items()]

    @property
    def lines(self) -> list[str]:
        """One line a kind, such as "a.png and 2 more: grey made BGR"."""
        return [note_line(what, next(iter(names)), len(names)) for what, names in self._names.items()]


def names_in_words(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def note_line(what: str, first: str, count: int) -> str:
    """One note of `count` files, of which the first is named."""
    return f"{first}{f' and {count - 1} more' if count > 1 else ''}: {what}"
