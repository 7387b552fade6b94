"""Options of a verb from a TOML file (--config). Options on the command line win over the file's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from fcn_edge.errors import BadInput

NOT_IN_A_FILE = {"config", "help", "json"}


def take_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Callback of an eager --config: values of the file become the defaults of the options."""
    if path is not None:
        ctx.default_map = _defaults_from_file(path, ctx.command.params)
    return path


def _defaults_from_file(path: Path, parameters: list[Any]) -> dict[str, Any]:
    """{parameter: value}. Raises BadInput for a key that is no option, or a variable that is not set."""
    from fcn_edge.schema import nearest, read_toml

    by_key = {key: parameter for parameter in parameters for key in _keys_of(parameter)}
    defaults = {}
    for key, value in read_toml(path).items():
        if key not in by_key:
            raise BadInput(f"{path}: unknown key {key!r}{nearest(key, by_key)}")
        value = _filled(value, f"{path}: {key}")
        if key == "roi" and isinstance(value, Mapping):
            value = [f"{name}={' '.join(_corner(corner) for corner in corners)}" for name, corners in value.items()]
        if isinstance(value, Mapping):
            raise BadInput(f"{path}: {key}: expected a value, found a table")
        is_list = isinstance(value, list)
        if is_list and not by_key[key].multiple:
            raise BadInput(f"{path}: {key}: expected one value, found a list")
        defaults[by_key[key].name] = [value] if by_key[key].multiple and not is_list else value
    return defaults


def _keys_of(parameter: Any) -> list[str]:
    """How a parameter is called in a file: as its option is spelled, or by its name where it is an argument."""
    names = [option.removeprefix("--") for option in parameter.opts]
    return [name for name in names if name not in NOT_IN_A_FILE]


def _corner(corner: Any) -> str:
    return ",".join(str(value) for value in corner) if isinstance(corner, list) else str(corner)


def _filled(value: Any, where: str) -> Any:
    """`value` with ${NAME} in its texts replaced by environment variables, so that secrets stay out of the file."""
    if isinstance(value, list):
        return [_filled(item, where) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise BadInput(f"{where}: the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", variable, value)
