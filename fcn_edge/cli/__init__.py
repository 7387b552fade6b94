"""The command line: `fcn-edge VERB`. Verbs import what they need when they run, so --help stays quick."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Any, NoReturn

import typer

from fcn_edge.cli.app import app, terminated_like_interrupted
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError
from fcn_edge.redaction import redacted

__all__ = ["app", "main", "register_verbs"]

INTERRUPTED = 130  # as shells say it: 128 + SIGINT
EXTRAS = {"av": "cpu", "cv2": "cpu", "PIL": "cpu", "openvino": "cpu", "onnxruntime": "cpu", "torch": "train"}
# What a wrong option raises. Some versions of typer carry a click of their own, which is found by what they export.
ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def main() -> None:
    """Run the command line; every error of ours, or of the user's words, becomes one sentence and its exit code."""
    threading.excepthook = lambda args: _print_defect(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )
    register_verbs()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)  # whatever a log file takes besides
    try:
        with terminated_like_interrupted():
            code = app(prog_name="fcn-edge", standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that has gone can be told from a defect
    except FcnEdgeError as error:
        _complain(str(error), error.exit_code)
    except ImportError as error:
        if (error.name or "fcn_edge").startswith("fcn_edge"):
            raise
        _complain(_missing_sentence(error), BackendMissing.exit_code)
    except ClickException as error:
        _complain(_usage_sentence(error), BadInput.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains as it ends
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}", BadInput.exit_code)
    except Exception as error:  # a defect of ours: its traceback, and what an address in it would give away left out
        _print_defect(type(error), error, error.__traceback__)
        sys.exit(1)
    if code == INTERRUPTED:  # newer versions of typer catch Ctrl-C themselves and say nothing
        _complain("interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _print_defect(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """A traceback of ours, without what an address in it would give away."""
    print(redacted("".join(traceback.format_exception(kind, error, at))), file=sys.stderr, end="")


def register_verbs() -> None:
    """Give `app` its verbs."""
    from fcn_edge.cli import (  # noqa: F401 - their decorators register the verbs
        comparing,
        compiling,
        deploying,
        gating,
        machine,
        measuring,
        models,
        running,
    )


def _usage_sentence(error: Any) -> str:
    """What was wrong with the words typed, and where the right ones are listed."""
    found = str(error.format_message()).replace("Value error, ", "").rstrip(".")
    command = error.ctx.command_path if error.ctx else "fcn-edge"
    return f"{found[:1].lower()}{found[1:]}{' See' if found.endswith('?') else '; see'} {command} --help"


def _missing_sentence(error: ImportError) -> str:
    """Which package this verb wanted and did not find, or found broken, and what brings it."""
    package = str(error.name).split(".")[0]
    is_missing = isinstance(error, ModuleNotFoundError)
    state = "is not installed" if is_missing else f"does not load ({str(error).splitlines()[0]})"
    extra = f"[{EXTRAS[package]}]" if package in EXTRAS else ""
    return f"the package {package} {state}: pip install 'fcn-edge{extra}', and see fcn-edge doctor"


def _complain(message: str, code: int) -> NoReturn:
    message = redacted(message)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"error": message, "exit_code": code}))
    print(f"fcn-edge: {message}", file=sys.stderr)
    sys.exit(code)
