"""The verb `inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption, RecipeOption, SpecOption
from fcn_edge.cli._print import NOTES, emit


@verb
def inspect(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Checkpoint, ONNX file, engine directory or packaged name [packaged network]; or a calibration"
            " table, benchmark record or manifest.",
        ),
    ] = None,
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    json: JsonOption = False,
) -> None:
    """Print contract, precision and operators of a file.

    \b
    Examples:
      fcn-edge inspect net.int8.onnx
      fcn-edge inspect other.onnx --spec other.toml
      fcn-edge inspect bench/record.json --json
    """
    from fcn_edge.inspection import facts_from_artefact

    facts = facts_from_artefact(model, spec=spec, recipe=recipe, progress=NOTES)

    def human() -> None:
        for key, value in facts.items():
            print(f"{key:>18}  {value}")

    emit(facts, as_json=json, human=human)
