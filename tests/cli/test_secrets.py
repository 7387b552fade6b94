"""Nothing that a command prints, writes or logs holds a piece of a password, wherever the address was typed."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.refusals import assert_names

PASSWORDS = (
    "QXZ#ZXQ",
    "QXZ@ZXQ",
    "QXZ[ZXQ",
    "QXZ]ZXQ",
    "QXZ%ZXQ",
    "QXZ/ZXQ",
    "QXZ?ZXQ",
    "QXZ:ZXQ",
    "QXZ ZXQ",
    "12/QXZ",
)
TYPED = {
    "run --source": "run {onnx} --source {uri} --sink null: --log {log}",
    "run --sink": "run {onnx} --source {video} --sink {uri} --log {log}",
    "run MODEL": "run {uri}",
    "run --spec": "run {onnx} --spec {uri}",
    "run, a word too many": "run {onnx} {uri}",
    "evaluate --data": "evaluate {onnx} --data {uri}",
    "evaluate --against": "evaluate {onnx} --data folder:{pairs} --against {uri}",
    "calibrate --calib": "calibrate {onnx} --calib {uri} --out o.onnx",
    "build-engine --calib": "build-engine {onnx} --target onnxruntime --precision int8 --calib {uri} --out e",
    "compare --images": "compare {onnx} {onnx} --images {uri}",
    "demo --source": "demo --source {uri} --out o",
    "inspect": "inspect {uri}",
}


CASES = [("run --source", password) for password in PASSWORDS]  # each password once, and three at every other place
CASES += [(case, PASSWORDS[(3 * row + k) % len(PASSWORDS)]) for row, case in enumerate(TYPED) for k in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "password"), sorted(set(CASES)))
def test_address_typed_anywhere_gives_nothing_away(
    command, onnx_file, video, pairs, tmp_path, monkeypatch, case, password
):
    def look_up(host, *_, **__):
        assert host == "camera.invalid"
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.chdir(tmp_path)
    scheme = "http" if case == "run --sink" else "rtsp"
    values = {
        "uri": f"{scheme}://admin:{password}@camera.invalid:8080",
        "onnx": onnx_file,
        "video": video,
        "pairs": pairs,
        "log": "run.log",
    }
    done = command(*(word.format(**values) for word in TYPED[case].split()), "--json")
    assert done.code in (2, 4) and "Traceback" not in done.err
    told = done.out + done.err + "".join(path.read_text() for path in Path().glob("*.log"))
    assert "QXZ" not in told and "ZXQ" not in told and "admin" not in told, told
    assert json.loads(done.out)["exit_code"] == done.code


def test_traceback_of_a_defect_gives_nothing_away(command, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("rtsp://admin:QXZ#@camera/1 was not foreseen")

    monkeypatch.setattr("fcn_edge.diagnosis.diagnose", fail)
    done = command("doctor")
    assert done.code == 1
    assert_names(done.err.splitlines()[-1], "RuntimeError", "rtsp://***@camera/1")
    assert "QXZ" not in done.err
