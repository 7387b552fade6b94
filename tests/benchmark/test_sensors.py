"""What a device tells of itself, from folders that look like its own."""

from __future__ import annotations

import pytest

from fcn_edge.benchmark.sensors import Conditions, EnergyMeter, conditions_now


@pytest.fixture
def device(tmp_path):
    """Writes files below a /sys of our own."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))
        return tmp_path

    return write


def test_hottest_sensor_and_mean_clock(device):
    root = device(
        class__thermal__thermal_zone0__temp=45_000,
        class__hwmon__hwmon1__temp1_input=61_500,
        class__thermal__thermal_zone1__temp="broken",
        devices__system__cpu__cpu0__cpufreq__scaling_cur_freq=3_000_000,
        devices__system__cpu__cpu1__cpufreq__scaling_cur_freq=2_000_000,
    )
    found = conditions_now(root)
    assert (found.temperature_c, found.clock_mhz) == (61.5, 2500)


def test_device_that_tells_nothing_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr("fcn_edge.benchmark.sensors.find_spec", lambda name: None)
    assert conditions_now(tmp_path) == Conditions(None, None, conditions_now(tmp_path).load)
    meter = EnergyMeter(tmp_path)
    assert (meter.source, meter.reading(), meter.joules_since(None, 1)) == (None, None, None)


def test_rapl_counts_the_packages(tmp_path):
    for number, micro in ((0, 5_000_000), (1, 2_500_000)):
        folder = tmp_path / f"class/powercap/intel-rapl:{number}"
        folder.mkdir(parents=True)
        (folder / "energy_uj").write_text(f"{micro}\n")
    meter = EnergyMeter(tmp_path)
    assert meter.source == "RAPL, CPU packages" and meter.reading() == 7.5
    assert meter.joules_since(5.0, 1) == 2.5 and meter.joules_since(9.0, 1) is None, "its counter began anew"


def test_jetson_tells_the_power_of_its_board(device):
    rails = "bus__i2c__drivers__ina3221__1-0040__hwmon__hwmon3__"
    root = device(
        **{
            f"{rails}in1_label": "VDD_IN\n",
            f"{rails}in1_input": 5000,
            f"{rails}curr1_input": 1200,
            f"{rails}in2_label": "VDD_CPU_GPU_CV",
            f"{rails}in2_input": 5000,
            f"{rails}curr2_input": 400,
        }
    )
    meter = EnergyMeter(root)
    assert meter.source == "INA3221, whole board" and meter.reading() == pytest.approx(6.0)
    assert meter.joules_since(4.0, 2) == pytest.approx(10.0)
