"""The command line: `fcn-edge VERB`. Verbs import what they need when they run, so --help stays quick."""

from __future__ import annotations

import json
import logging
import sys

from fcn_edge.cli.app import app
from fcn_edge.errors import FcnEdgeError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; every error of ours becomes one sentence and its exit code."""
    from fcn_edge.cli import machine, models, streams  # noqa: F401 - their decorators register the verbs

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except FcnEdgeError as error:
        _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted", 130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}", 2)


def _complain(message: str, code: int) -> None:
    if "--json" in sys.argv[1:]:
        print(json.dumps({"error": message, "exit_code": code}))
    print(f"fcn-edge: {message}", file=sys.stderr)
    sys.exit(code)
