"""The verb `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, print_table

if TYPE_CHECKING:
    from fcn_edge.diagnosis import Diagnosis


@verb
def doctor(json: JsonOption = False) -> None:
    """Check what this machine can run, and what is missing.

    \b
    Example:
      fcn-edge doctor
    """
    from fcn_edge.diagnosis import diagnose

    diagnosis = diagnose()
    emit(diagnosis.to_mapping(), as_json=json, human=lambda: _print_diagnosis(diagnosis))


def _print_diagnosis(diagnosis: Diagnosis) -> None:
    from rich.table import Table

    device = diagnosis.device
    print(f"{device.cpu}, {device.cores} cores, {device.memory_gb} GB: {' '.join(device.instruction_sets)}")
    table = Table("", "what", "found", "what to do")
    for finding in diagnosis.findings:
        table.add_row(finding.state, finding.name, finding.found, finding.advice)
    print_table(table)
