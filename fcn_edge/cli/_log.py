"""The log of a run (--log): a file that stays small."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from fcn_edge.cli._print import say
from fcn_edge.errors import BadInput, FcnEdgeError
from fcn_edge.outputs import require_lines
from fcn_edge.redaction import redacted

LOG_BYTES = 4 * 2**20
OLD_LOGS = 3  # with the current one at most 16 MB


@contextmanager
def logged(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Also log to `path` inside the block, what ends it included; the oldest lines give way to new ones.

    Yields a function that logs what the terminal shows without logging. Raises BadInput where the file cannot be made.
    """
    if path is None:
        yield lambda text: None
        return
    try:
        require_lines(path, "log", OLD_LOGS)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _LogFile(path, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--log {path}: cannot be written ({error.strerror or error})") from error
    file.setFormatter(_Lines("%(asctime)s fcn-edge %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logger = logging.getLogger("fcn_edge")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(file)

    def note(text: str) -> None:
        file.emit(logging.makeLogRecord({"msg": text, "levelname": "INFO"}))

    try:
        yield note
    except FcnEdgeError as error:
        note(str(error))
        raise
    finally:
        logger.removeHandler(file)
        logger.setLevel(before)
        file.close()


class _Lines(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment]  # typeshed has one of its signatures

    def format(self, record: logging.LogRecord) -> str:
        """One line; what looks like a credential is left out once more, whoever forgot it."""
        return redacted(super().format(record)).replace("\n", " ")


class _LogFile(RotatingFileHandler):
    is_broken = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Report once that the log cannot be written; the run goes on."""
        if not self.is_broken:
            self.is_broken = True
            say(f"the log {self.baseFilename} cannot be written any more")
