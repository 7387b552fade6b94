"""What the device reports of itself: temperature, clocks, load, energy. None where it reports nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from fcn_edge.records import Conditions

SYS = Path("/sys")


def conditions_now(sys_root: Path = SYS) -> Conditions:
    """As the device reports them at this moment."""
    heat = [*sys_root.glob("class/thermal/thermal_zone*/temp"), *sys_root.glob("class/hwmon/hwmon*/temp*_input")]
    degrees = [value / 1000 for value in map(_number, heat) if value is not None and 0 < value < 150_000]
    files = sys_root.glob("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")
    clocks = [value / 1000 for value in map(_number, files) if value]
    return Conditions(
        temperature_c=round(max(degrees), 1) if degrees else None,
        clock_mhz=round(sum(clocks) / len(clocks)) if clocks else None,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


class EnergyMeter:
    """Energy spent by the device so far. source: what reports it; None where nothing does.

    RAPL counts of the CPU packages (readable by root only on most systems), the GPU's own counter, or,
    on a Jetson, the power of the whole board, which is a sample and not a count.
    """

    def __init__(self, sys_root: Path = SYS) -> None:
        self.source: str | None = None
        self._joules: Callable[[], float] | None = None
        self._watts: Callable[[], float] | None = None
        packages = sorted(sys_root.glob("class/powercap/intel-rapl:?/energy_uj"))
        rails = _board_power(sys_root)
        if packages and all(_number(path) is not None for path in packages):
            self.source = "RAPL, CPU packages"
            self._joules = lambda: sum(_number(path) or 0.0 for path in packages) / 1e6
        elif rails is not None:
            self.source, self._watts = "INA3221, whole board", rails
        elif find_spec("pynvml") is not None:
            self._ask_nvml()

    def reading(self) -> float | None:
        """The counter in joules, or the power in watts; None where the device reports neither."""
        ask = self._joules or self._watts
        return None if ask is None else ask()

    def joules_since(self, earlier: float | None, seconds: float) -> float | None:
        """Energy since that reading, `seconds` ago; None where it is not reported, or its counter was reset."""
        now = self.reading()
        if earlier is None or now is None:
            return None
        if self._joules is None:
            return seconds * (earlier + now) / 2
        return now - earlier if now >= earlier else None

    def _ask_nvml(self) -> None:
        nvml = import_module("pynvml")
        try:
            nvml.nvmlInit()
            device = nvml.nvmlDeviceGetHandleByIndex(0)
            nvml.nvmlDeviceGetTotalEnergyConsumption(device)
        except nvml.NVMLError:  # no driver, or a GPU that does not count
            return
        self.source = "NVML, first GPU"
        self._joules = lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1e3


def _board_power(sys_root: Path) -> Callable[[], float] | None:
    """Watts of a Jetson's input rail, VDD_IN or its like, by its INA3221."""
    for label in sorted(sys_root.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label")):
        number = label.name.removeprefix("in").removesuffix("_label")
        volts, amperes = (label.with_name(name) for name in (f"in{number}_input", f"curr{number}_input"))
        is_input = label.read_text(encoding="utf-8").strip() in ("VDD_IN", "VIN_SYS_5V0", "SYS_VIN_HV")
        if is_input and _number(volts) is not None and _number(amperes) is not None:
            return partial(_watts_of, volts, amperes)
    return None


def _watts_of(volts: Path, amperes: Path) -> float:
    return (_number(volts) or 0.0) * (_number(amperes) or 0.0) / 1e6  # mV times mA


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
