"""The typer application: its verbs in order, and `main`, which turns every error into one sentence and an exit code."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from fcn_edge.cli._print import say, use_option_names, with_option_names
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError
from fcn_edge.redaction import redacted

INTERRUPTED = 130  # the shells' convention: 128 + SIGINT
EXTRAS = {
    "PIL": "cpu",
    "av": "cpu",
    "cv2": "cpu",
    "onnxruntime": "cpu",
    "openvino": "cpu",
    "torch": "train",
    "yaml": "formats",
}
VERBS = (  # in the order of --help; each is a module of this package
    "build-engine",
    "run",
    "bench",
    "evaluate",
    "gate",
    "compare",
    "train",
    "export",
    "calibrate",
    "data",
    "export-deepstream",
    "export-triton",
    "inspect",
    "models",
    "doctor",
    "demo",
)
Function = TypeVar("Function", bound=Callable[..., None])


class _Verbs(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=VERBS.index)


class _Verb(TyperCommand):
    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """As typer's; from here on messages name this verb's options."""
        use_option_names(self.params)
        return super().make_context(*args, **kwargs)


app = typer.Typer(
    cls=_Verbs,
    name="fcn-edge",
    help="Run trained FCN segmentation networks in real time on the edge, and report latency against mIoU.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def verb(function: Function) -> Function:
    """Register a function as the verb of its name: `build_engine` is `fcn-edge build-engine`."""
    return app.command(function.__name__.replace("_", "-"), cls=_Verb)(function)


def verb_of(group: typer.Typer) -> Callable[[Function], Function]:
    """As `verb`, of a group: `check` of the group `data` is `fcn-edge data check`."""
    return lambda function: group.command(function.__name__.replace("_", "-"), cls=_Verb)(function)


def register_verbs() -> None:
    """Import every verb's module, which registers the verb."""
    for name in VERBS:
        import_module(f"fcn_edge.cli.{name.replace('-', '_')}")


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from fcn_edge.device import package_versions

        print(f"fcn-edge {package_versions(['fcn-edge']).get('fcn-edge', '(run from a checkout, not installed)')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())
        raise typer.Exit(BadInput.exit_code)


def main() -> None:
    """Run the command line. Errors of the library and wrong options become one sentence and their exit code."""
    threading.excepthook = lambda args: _print_defect(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )
    register_verbs()
    use_option_names(())
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)  # a log file may also take INFO
    try:
        with _terminated_like_interrupted():
            code = app(prog_name="fcn-edge", standalone_mode=False)
        sys.stdout.flush()  # here, where BrokenPipeError is caught
    except FcnEdgeError as error:
        _fail(str(error), error.code, error.exit_code)
    except ImportError as error:
        if (error.name or "fcn_edge").startswith("fcn_edge"):
            raise
        _fail(_missing_sentence(error), BackendMissing.code, BackendMissing.exit_code)
    except typer.TyperException as error:
        _fail(_usage_sentence(error), "usage", BadInput.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail_interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains as it ends
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", BadInput.code, BadInput.exit_code)
    except Exception as error:
        _print_defect(type(error), error, error.__traceback__)
        sys.exit(1)
    if code == INTERRUPTED:  # newer versions of typer catch Ctrl-C themselves and print nothing
        _fail_interrupted()
    sys.exit(code if isinstance(code, int) else 0)


def _print_defect(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """The traceback of a defect of ours, without credentials."""
    print(redacted("".join(traceback.format_exception(kind, error, at))), file=sys.stderr, end="")


def _usage_sentence(error: typer.TyperException) -> str:
    """What is wrong with the words of the command line, and which --help lists the right ones."""
    text = str(error.format_message()).replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "fcn-edge"
    return f"{text[:1].lower()}{text[1:]}{' See' if text.endswith('?') else '; see'} {command} --help"


def _missing_sentence(error: ImportError) -> str:
    """Which package is missing or broken, and what installs it."""
    package = str(error.name).split(".")[0]
    is_missing = isinstance(error, ModuleNotFoundError)
    state = "is not installed" if is_missing else f"does not load ({str(error).splitlines()[0]})"
    extra = f"[{EXTRAS[package]}]" if package in EXTRAS else ""
    return f"the package {package} {state}: pip install 'fcn-edge{extra}', and see fcn-edge doctor"


def _fail_interrupted() -> NoReturn:
    _fail("interrupted", "interrupted", INTERRUPTED)


def _fail(message: str, code: str, exit_code: int) -> NoReturn:
    message = redacted(with_option_names(message))
    if "--json" in sys.argv[1:]:
        print(json.dumps({"error": message, "code": code, "exit_code": exit_code}))
    say(f"fcn-edge: {message}")
    sys.exit(exit_code)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Inside the block SIGTERM is Ctrl-C, so that `systemctl stop` ends a run, and leaves nothing half written."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
