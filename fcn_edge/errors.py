"""The program's own errors, one class per exit code.

A message says what was found, what was expected and what to do next. Everything that a
user can cause ends in one of these; a traceback is always a defect of ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fcn_edge.redaction import redacted


class FcnEdgeError(Exception):
    """Base of all errors that a user may see.

    code: stable name of the kind of error, for programs. exit_code: what the command returns. Messages name
    arguments of Python functions in backticks; the command line shows its own options in their place.
    """

    code = "error"
    exit_code = 2


class CheckFailed(FcnEdgeError):
    """A gate or an accuracy budget was not met."""

    code = "check-failed"
    exit_code = 1


class BadInput(FcnEdgeError):
    """A file, an option or a data set is not what it has to be."""

    code = "bad-input"
    exit_code = 2


class NotTaken(BadInput):
    """An engine does not load or compile a file that may be right; another engine may take it."""

    code = "not-supported"


class BackendMissing(FcnEdgeError):
    """What the command needs (a package, a device, a driver) is not on this machine."""

    code = "backend-missing"
    exit_code = 3


class SourceLost(FcnEdgeError):
    """A source of frames ended before it should."""

    code = "source-lost"
    exit_code = 4


class Undecidable(FcnEdgeError):
    """A verdict was asked for that the records cannot give."""

    code = "undecidable"
    exit_code = 5


class FcnEdgeWarning(UserWarning):
    """Something that is probably not meant, though it can be done."""


def warn_user(text: str) -> None:
    """Warn a Python user; the command line prints the same text on stderr."""
    warnings.warn(text, FcnEdgeWarning, stacklevel=3)


def first_line(error: BaseException) -> str:
    """The first line of a vendor's message, at most 200 characters and no credentials, for our own one-line errors."""
    text = redacted(str(error).strip()) or type(error).__name__  # before an address is cut off in its middle
    return text.splitlines()[0][:200]


@contextmanager
def shown_as(names: Mapping[Path, Path | str]) -> Iterator[None]:
    """Inside the block, errors name files as the user knows them: each path by what it stands for."""
    try:
        yield
    except FcnEdgeError as error:
        text = str(error)
        for path, shown in names.items():
            text = text.replace(str(path), str(shown))
        if text == str(error):
            raise
        raise type(error)(text) from error
