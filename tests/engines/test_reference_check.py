"""An engine is compared with the reference run of its file."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.engines import EngineOptions, open_engine, reference_check
from fcn_edge.engines.agreement import EXACT_DB, Agreement, decibels
from fcn_edge.engines.reference_check import agreement_of, compare_with_reference, require_agreement
from fcn_edge.errors import BadInput, CheckFailed
from fcn_edge.onnxmodel import OnnxModel
from tests.refusals import refused

STREETS = dataset_from_name("synthetic:street,seed=1,images=3,size=64x96")
IMAGES = [STREETS.items[index].image() for index in range(3)]


@pytest.fixture
def reference(onnx_file):
    with open_engine(onnx_file, target="reference") as engine:
        yield engine


def test_reference_agrees_with_itself(reference):
    found = agreement_of(reference, reference, IMAGES)
    assert (found.images, found.sqnr_db, found.agreement, found.worst) == (3, EXACT_DB, 1.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("file", ["onnx_file", "int8_file"])
def test_engines_compute_what_their_file_says(request, target, file):
    path = request.getfixturevalue(file)
    with (
        open_engine(path, target=target) as engine,
        open_engine(path, target="reference") as reference,
        open_engine(request.getfixturevalue("onnx_file"), target="reference") as exact,
    ):
        require_agreement(agreement_of(engine, reference, IMAGES), engine, agreement_of(reference, exact, IMAGES))


class Wrong:
    """An engine that does something to its scores."""

    def __init__(self, engine, change):
        self._engine, self._change = engine, change

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def infer(self, x):
        return self._change(self._engine.infer(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y + 0.05 * y.std() * np.random.default_rng(0).standard_normal(y.shape, np.float32),
        lambda y: y[:, ::-1].copy(),
        lambda y: np.roll(y, 1, axis=3),
    ],
    ids=["noise", "classes reversed", "a cell aside"],
)
def test_engine_that_computes_something_else_is_refused(reference, change):
    wrong = Wrong(reference, change)
    with refused(CheckFailed, "onnxruntime", "tiny.onnx", "60", "99.9"):
        require_agreement(agreement_of(wrong, reference, IMAGES), wrong)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [("openvino",), ("onnxruntime",), ("openvino", "onnxruntime")], ids=" and ".join)
def test_refusal_names_the_target_that_computes_what_the_file_says(int8_file, monkeypatch, broken):
    open_right = reference_check.engine_on_target

    @contextmanager
    def engine_on_target(path, target, options):
        with open_right(path, target, options) as engine:
            yield Wrong(engine, lambda y: y[:, ::-1].copy()) if target in broken else engine

    monkeypatch.setattr(reference_check, "engine_on_target", engine_on_target)
    wrong = min(broken)
    with pytest.raises(CheckFailed) as caught:
        compare_with_reference(OnnxModel.from_file(int8_file), None, IMAGES, target=wrong, options=EngineOptions())
    other = {"openvino": "onnxruntime", "onnxruntime": "openvino"}[wrong]
    assert (f'target="{other}"' in str(caught.value)) is (other not in broken)


def test_no_other_target_is_named_for_bf16_which_only_openvino_has():
    asked = []
    bf16 = EngineOptions("bf16")
    assert reference_check._advice("openvino", bf16, lambda *given: asked.append(given)) == "" and not asked


def test_nothing_to_hold_it_with_is_refused(reference):
    with refused(BadInput, "images", "reference"):
        agreement_of(reference, reference, [])


def test_decibels():
    assert decibels(100.0, 1.0) == 20 and decibels(0.0, 0.0) == EXACT_DB and decibels(0.0, 1.0) == -EXACT_DB


@pytest.mark.parametrize(
    ("sqnr_db", "agreement", "limits"),
    [(40.0, 0.999, (15.0, 0.97)), (16.0, 0.9, (13.0, 0.85)), (None, 0.9, (15.0, 0.85))],
)
def test_engine_may_differ_from_its_file_as_two_independent_roundings_do(sqnr_db, agreement, limits):
    found = reference_check.limits_for("int8", "f32", Agreement(1, sqnr_db, agreement, agreement))
    assert (found.sqnr_db, found.agreement) == pytest.approx(limits)


@pytest.mark.parametrize(("signal", "noise"), [(1.0, np.nan), (1.0, np.inf), (np.nan, np.nan), (np.nan, 1.0)])
def test_scores_that_are_not_finite_are_never_close(signal, noise):
    assert decibels(signal, noise) == -EXACT_DB
