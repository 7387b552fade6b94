"""What verbs print: lines and warnings on stderr, results on stdout, the progress bar. Messages name options."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fcn_edge.cli._command_lines import with_command_lines
from fcn_edge.redaction import redacted

if TYPE_CHECKING:
    import rich.progress
    from rich.table import Table

    from fcn_edge.engines.base import StageRuns

ARGUMENT = re.compile(r"`([a-z_][a-z0-9_]*)(?:=(?:\"([^\"`]*)\"|'([^'`]*)'|([^`\s]+)))?`")
_options: dict[str, str] = {}  # of the verb that runs: name of the parameter -> what the user types for it


def use_option_names(parameters: Sequence[Any]) -> None:
    """Set the click parameters of the verb that runs, for `with_option_names`."""
    _options.clear()
    for parameter in parameters:
        is_option = parameter.param_type_name == "option"
        _options[parameter.name] = parameter.opts[0] if is_option else parameter.name.upper()
    for option in list(_options.values()):  # one of another function's arguments may have the option's own name
        _options.setdefault(option.removeprefix("--").replace("-", "_"), option)


def with_option_names(text: str) -> str:
    """A message of the library with the options of this verb in place of arguments in backticks.

    `max_miou_drop` becomes --max-miou-drop, `target="openvino"` becomes --target openvino, and an argument
    such as `model` becomes MODEL; a call of a function that is a verb becomes a command line. Backticks around
    anything else stay.
    """
    return ARGUMENT.sub(_option_from_argument, with_command_lines(text))


def _option_from_argument(match: re.Match[str]) -> str:
    if match[1] not in _options:
        return match[0]
    option = _options[match[1]]
    value = next((group for group in match.groups()[1:] if group is not None), None)
    return option if value in (None, "True") else f"{option} {value}"


def say(text: str) -> None:
    """One line for people, on stderr."""
    print(redacted(with_option_names(text)), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """One line of a verb's result, on stdout, where a sentence of the library is a part of it."""
    print(redacted(with_option_names(text)))


def warn(text: str) -> None:
    """One warning for people, on stderr."""
    say(f"warning: {text}")


def emit(value: Any, *, as_json: bool, human: Callable[[], None]) -> None:
    """The verb's result: one JSON object on stdout, or `human()`."""
    if as_json:
        print(json.dumps(value, allow_nan=False))
    else:
        human()


def print_table(table: Table) -> None:
    """A rich table on stdout, never narrower than its content when stdout is a file."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False).print(table)


def print_skipped(names: Sequence[str]) -> None:
    """How many inputs could not be read, and each with its reason."""
    if names:
        print(f"{len(names)} skipped, because they cannot be read:")
    for text in names:
        show(f"  {text}")


def stage_runs_in_words(stages: Sequence[StageRuns]) -> str:
    """Such as "stride 4 on 9 of 9 frames, stride 8 on 5 (up to 1 old)"."""
    first, *deeper = stages
    words = [f"stride {first.stride} on {first.runs} of {first.frames} frames{_age(first)}"]
    return ", ".join(words + [f"stride {stage.stride} on {stage.runs}{_age(stage)}" for stage in deeper])


def _age(stage: StageRuns) -> str:
    return f" (up to {stage.oldest} old)" if stage.oldest else ""


class ProgressBar:
    """`fcn_edge.progress.Progress` on a terminal: one bar per task, removed when it is full; notes are lines."""

    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def update(self, task: str, done: int, total: int | None = None) -> None:
        """`done` of `total` steps of a task are finished."""
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(redacted(task), total=total or None)
        is_unfinished = not total or done < total
        self._bars.update(self._tasks[task], completed=done, total=total or None, visible=is_unfinished)

    def note(self, text: str) -> None:
        """One line on stderr."""
        say(text)


class _NoteLines:
    """`fcn_edge.progress.Progress` without bars: notes are lines on stderr."""

    def update(self, task: str, done: int, total: int | None = None) -> None:
        """Drop it."""

    def note(self, text: str) -> None:
        """One line on stderr."""
        say(text)


NOTES = _NoteLines()


@contextmanager
def progress_bar() -> Iterator[ProgressBar]:
    """A ProgressBar on stderr; where stderr is no terminal, only its notes appear."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield ProgressBar(bars)
