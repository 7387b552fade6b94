"""The verb `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit


@verb
def inspect(
    file: Annotated[Path, typer.Argument(help="Any file or engine directory of fcn-edge, or an ONNX file.")],
    json: JsonOption = False,
) -> None:
    """Print what an artefact is: contract, precision, layers.

    \b
    Example:
      fcn-edge inspect model.int8.onnx
    """
    from fcn_edge.inspection import facts_from_file

    facts = facts_from_file(file)

    def human() -> None:
        for key, value in facts.items():
            print(f"{key:>18}  {value}")

    emit(facts, as_json=json, human=human)
