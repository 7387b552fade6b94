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
from fcn_edge.errors import BadInput
from fcn_edge.export import contract_file
from tests.export.onnx_cases import CASES
from tests.export.onnx_tables.case import SIZE, Case, scores

LEAST_EQUAL = 0.999  # sums in another order round apart where two classes meet
LEAST_CASES = 200
EVERY_NTH = {"openvino": 5, "reference": 7}  # of the rows: compiling each for every engine would take minutes
ONE_THREAD = EngineOptions(threads=1)


def frame() -> np.ndarray:
    """(32, 48, 3) uint8 BGR: smooth on the left, noise on the right."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [np.sin(rows / a + phase) * np.cos(columns / b) for a, b, phase in ((3, 5, 0), (4, 3, 1), (6, 4, 2))]
    picture = (127.5 + 127 * np.stack(waves, 2)).astype(np.uint8)
    picture[:, SIZE[1] // 2 :] = random.integers(0, 256, (SIZE[0], SIZE[1] // 2, 3), np.uint8)
    return picture


def original_output(file: Path, case: Case, picture: np.ndarray) -> np.ndarray:
    """The output that is read (the last), from a plain session on the original file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return session.run(None, {case.source.name: case.tensor(picture)})[-1]


def write(case: Case, folder: Path) -> tuple[Path, Path]:
    file, spec = folder / "case.onnx", folder / "case.toml"
    spec.write_text(case.toml())
    if case.stored == "beside":
        onnx.save(case.model(), str(file), save_as_external_data=True, location="case.weights", size_threshold=0)
    else:
        file.write_bytes(case.model().SerializeToString())
    return file, spec


def assert_draws(file: Path, target: str, picture: np.ndarray, wanted: np.ndarray) -> None:
    with open_engine(file, target=target, options=ONE_THREAD) as engine:
        found = engine.segment(picture).class_map
    assert (found == wanted).mean() >= LEAST_EQUAL, f"{target}: {(found == wanted).mean():.2%} of pixels are equal"


@pytest.mark.parametrize("name", CASES)
def test_file_means_what_it_meant_or_is_refused(name, tmp_path):
    case, picture = CASES[name], frame()
    file, spec = write(case, tmp_path)
    try:
        contract = contract_file(file, tmp_path / "contract.onnx", spec=spec)
    except BadInput as error:
        assert case.expected != "same", error
        assert [fact for fact in case.facts if fact not in str(error)] == [], error
        assert not (tmp_path / "contract.onnx").exists()
        return
    assert case.expected != "refused", "a file that has to be refused was taken"
    wanted = (case.reads or scores())(original_output(file, case, picture))
    assert len(np.unique(wanted)) > 1, "one class everywhere: the row says nothing"
    assert_draws(contract, "onnxruntime", picture, wanted)
    number = list(CASES).index(name)
    for target in (target for target, nth in EVERY_NTH.items() if number % nth == 0):
        assert_draws(contract, target, picture, wanted)


def test_tables_hold_as_many_rows_as_promised():
    assert len(CASES) >= LEAST_CASES
