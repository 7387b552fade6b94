"""Small foreign files of every operator and form mean afterwards what plain ONNX Runtime says they meant.

Each row of the tables is one file. The original runs in a plain session; its input is normalised and its output read
by numpy in the tables, not by the package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.errors import BadInput, CheckFailed
from fcn_edge.exporting import onnx_model
from tests.exporting.onnx_cases import CASES, ROWS
from tests.exporting.onnx_tables.case import SIZE, Case, scores

LEAST_EQUAL = 0.999  # sums in another order round apart where two classes meet
LEAST_ROWS = 200
EVERY_NTH = {"openvino": 17, "reference": 13}  # of the rows: compiling each for every engine would take minutes
QUICK_NTH = 10
ONE_THREAD = EngineOptions(threads=1)


def frame(case: Case) -> np.ndarray:
    """(32, 48, 3) uint8 BGR: smooth on the left, noise on the right; grey where the network is fed grey."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [np.sin(rows / a + phase) * np.cos(columns / b) for a, b, phase in ((3, 5, 0), (4, 3, 1), (6, 4, 2))]
    picture = (127.5 + 127 * np.stack(waves, 2)).astype(np.uint8)
    picture[:, SIZE[1] // 2 :] = random.integers(0, 256, (SIZE[0], SIZE[1] // 2, 3), np.uint8)
    return np.repeat(picture[:, :, :1], 3, 2) if case.source.order == "grey" else picture


def original_map(file: Path, case: Case, picture: np.ndarray) -> np.ndarray:
    """What the original file says of a frame: a plain session's last output, read as the row says."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = next((line.split('"')[1] for line in case.spec.splitlines() if line.startswith("output")), None)
    output = session.run([name] if name else None, {case.source.name: case.tensor(picture)})[-1]
    return (case.reads or scores())(output)


def write(case: Case, folder: Path) -> tuple[Path, Path]:
    """The file and the spec beside it."""
    file, spec = folder / "case.onnx", folder / "case.toml"
    spec.write_text(case.toml())
    if case.stored == "beside":
        onnx.save(case.model(), str(file), save_as_external_data=True, location="case.weights", size_threshold=0)
    else:
        file.write_bytes(case.model().SerializeToString())
    return file, spec


def wrapped(case: Case, folder: Path) -> tuple[Path, Path | BadInput]:
    """The original file, and the contract that the package makes of it or its reason not to."""
    file, spec = write(case, folder)
    try:
        return file, onnx_model(file, spec=spec).save(folder / "contract.onnx").path
    except BadInput as error:
        assert not (folder / "contract.onnx").exists()
        return file, error


def engine_map(file: Path, target: str, picture: np.ndarray) -> np.ndarray | None:
    """The class map of an engine; None where OpenVINO is refused: no such operator, or another result."""
    try:
        with open_engine(file, target=target, options=ONE_THREAD) as engine:
            return engine.segment(picture).class_map
    except (BadInput, CheckFailed):
        if target != "openvino":
            raise
        return None


def targets_of(number: int) -> list[str]:
    """ONNX Runtime for every row, the others for some."""
    return ["onnxruntime", *(target for target, nth in EVERY_NTH.items() if number % nth == 0)]


def rows() -> list:
    """Every case by number and name; all but some are slow."""
    marks = [() if number % QUICK_NTH == 0 else pytest.mark.slow for number in range(len(CASES))]
    return [pytest.param(number, name, id=name, marks=mark) for (number, name), mark in zip(enumerate(CASES), marks)]


@pytest.mark.parametrize(("number", "name"), rows())
def test_file_means_what_it_meant_or_is_refused(number, name, tmp_path):
    case = CASES[name]
    picture = frame(case)
    file, contract = wrapped(case, tmp_path)
    if isinstance(contract, BadInput):
        assert case.expected != "same", contract
        assert [fact for fact in case.facts if fact not in str(contract)] == [], contract
        return
    assert case.expected != "refused", "a file that has to be refused was taken"
    wanted = original_map(file, case, picture)
    assert len(np.unique(wanted)) > 1, "one class everywhere: the row says nothing"
    for target in targets_of(number):
        found = engine_map(contract, target, picture)
        assert found is None or (found == wanted).mean() >= LEAST_EQUAL, target


def test_rows_are_as_many_as_promised_and_have_names_of_their_own():
    assert len(CASES) == len(ROWS) >= LEAST_ROWS
