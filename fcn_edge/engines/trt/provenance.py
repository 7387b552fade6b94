"""Check a plan against this machine by its manifest, before it is loaded.

A plan runs only with the TensorRT version that built it, on the type of GPU that it was built for. TensorRT
reports a mismatch as an error number; the checks here give the reason and what to do. Checking whether a file is
damaged needs neither a vendor package nor a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import require_file, sha256_of_file
from fcn_edge.engines.manifest import Manifest
from fcn_edge.engines.trt.cuda import Gpu
from fcn_edge.engines.trt.plan_options import NvidiaTarget
from fcn_edge.errors import BadInput
from fcn_edge.spec import Precision

RTX_MARK = b"vtrt"  # first bytes of a TensorRT-RTX plan, not of a TensorRT plan
NEEDED = ("precision", "runtime", "plan_sha256", "spec_sha256")  # required to check a plan
PORTABLE_SM = 80  # lowest SM of TensorRT-RTX's portable plan and TensorRT's "ampere+"
REBUILD = "`build_engine({onnx!r}, {out!r}, target={target!r}, precision={precision!r})`"


@dataclass(frozen=True)
class Here:
    """The runtime and GPU of this machine. runtime: name and version, such as "tensorrt 10.3.0"."""

    runtime: str
    gpu: Gpu


@dataclass(frozen=True)
class StoredPlan:
    """An engine directory with a plan in it."""

    manifest: Manifest

    @property
    def path(self) -> Path:
        return self.manifest.path

    @property
    def file(self) -> Path:
        """The plan."""
        return self.manifest.plan

    @property
    def onnx(self) -> Path:
        """The ONNX file in the same directory that the plan was compiled from."""
        return self.manifest.onnx

    @property
    def target(self) -> NvidiaTarget:
        return "tensorrt-rtx" if self.manifest.target == "tensorrt-rtx" else "tensorrt"

    @property
    def precision(self) -> Precision:
        """Raises BadInput if the manifest has none."""
        if self.manifest.precision is None:
            raise BadInput(f"{self.path}: the manifest has no precision; build the engine again")
        return self.manifest.precision

    @property
    def rebuild_line(self) -> str:
        names = {"target": self.target, "precision": self.manifest.precision, "out": str(self.path)}
        return REBUILD.format(onnx=str(self.onnx), **names)

    @property
    def has_host_code(self) -> bool:
        return bool(self._flags.get("version_compatible"))

    @property
    def _flags(self) -> Mapping[str, Any]:
        return self.manifest.flags

    def require_whole(self) -> None:
        """Raises BadInput if the plan is not the file described by the manifest."""
        if lacking := [key for key in NEEDED if not getattr(self.manifest, key)]:
            raise BadInput(f"{self.path}: the manifest has no {', '.join(lacking)}; build the engine again")
        plan = require_file(self.file, "a TensorRT plan")
        expected, size = self.manifest.plan_bytes, plan.stat().st_size
        again = f"copy it again, or rebuild: {self.rebuild_line}"
        if expected is not None and size < expected:
            raise BadInput(f"{plan}: truncated, {size} of {expected} bytes; {again}")
        with plan.open("rb") as file:
            is_rtx = file.read(len(RTX_MARK)) == RTX_MARK
        if is_rtx != (self.target == "tensorrt-rtx"):
            actual = "a" if is_rtx else "no"
            raise BadInput(
                f"{plan}: contains {actual} plan of tensorrt-rtx, but the manifest has target {self.target}; {again}"
            )
        if sha256_of_file(plan) != self.manifest.plan_sha256:
            raise BadInput(f"{plan}: not the plan of manifest.json (checksum mismatch); {again}")

    def require_allowed(self, allow_host_code: bool) -> None:
        """Raises BadInput if loading the plan would run host code and `allow_host_code` is not set."""
        if self.has_host_code and not allow_host_code:
            raise BadInput(
                f"{self.file}: built version compatible, so loading it runs host code from the plan on this"
                " machine; if you trust its origin, open it with `allow_host_code=True`"
            )

    def misfit(self, here: Here) -> str:
        """Why the plan cannot run here; empty if it can."""
        built, reasons = self.manifest.runtime, []
        if not self._is_of_version(built, here.runtime):
            reasons.append(f"by {built}")
        sm = self.manifest.device.sm
        if not self._is_for_sm(sm, here.gpu.sm):
            reasons.append(f"for SM {_dotted(sm)}")
        if not reasons:
            return ""
        return f"{self.file}: built {' and '.join(reasons)}; this is SM {_dotted(here.gpu.sm)} with {here.runtime}"

    def _is_of_version(self, built: str, here: str) -> bool:
        one, other = _numbers(built), _numbers(here)
        if built.split(" ")[0] != here.split(" ")[0]:
            return False
        if self.has_host_code:
            return one[:1] == other[:1] and one <= other
        return one == other

    def _is_for_sm(self, built: Any, here: int) -> bool:
        if self._flags.get("hardware_compatible") == "ampere+":
            return here >= PORTABLE_SM
        if built is None:  # CUDA could not be queried at build time: loading will report a mismatch
            return True
        if isinstance(built, list):
            return here in built
        return here == built if isinstance(built, int) else here >= PORTABLE_SM


def _numbers(runtime: str) -> tuple[int, ...]:
    """(10, 3, 0) of "tensorrt 10.3.0.26": the part that must be equal."""
    words = runtime.split(" ")[-1].split(".")[:3]
    return tuple(int(word) if word.isdigit() else -1 for word in words)


def _dotted(sm: Any) -> str:
    if isinstance(sm, list):
        return ", ".join(_dotted(one) for one in sm)
    return f"{sm // 10}.{sm % 10}" if isinstance(sm, int) else str(sm)
