"""`fcn-edge doctor`: what this machine can run."""

from __future__ import annotations


def test_doctor_prints_one_object_or_a_table(command):
    found = command("doctor", "--json").json
    assert set(found) == {"device", "findings"}
    assert {"name", "state", "found", "advice"} == set(found["findings"][0])
    done = command("doctor")
    assert done.code == 0 and found["device"]["cpu"] in done.out
