"""A plan is checked against this machine by its manifest, before any byte of it is loaded.

A plan runs by the TensorRT that built it, on the kind of GPU that it was built for. The vendor says
so with a number; here it is said in words, with what to do. No vendor package and no GPU is needed
to find that a file is broken.
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

RTX_MARK = b"vtrt"  # how a TensorRT-RTX plan begins; TensorRT's begin otherwise
NEEDED = ("precision", "runtime", "plan_sha256", "spec_sha256")  # without these nothing can be said of a plan
PORTABLE_SM = 80  # what TensorRT-RTX's portable plan and TensorRT's "ampere+" begin with
REBUILD = "`build_engine({onnx!r}, {out!r}, target={target!r}, precision={precision!r})`"


@dataclass(frozen=True)
class Here:
    """What a plan would be run by. runtime: name and version, such as "tensorrt 10.3.0"."""

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
        """The file that the plan was compiled from, which lies beside it."""
        return self.manifest.onnx

    @property
    def target(self) -> NvidiaTarget:
        return "tensorrt-rtx" if self.manifest.target == "tensorrt-rtx" else "tensorrt"

    @property
    def precision(self) -> Precision:
        """Raises BadInput where the manifest names none."""
        if self.manifest.precision is None:
            raise BadInput(f"{self.path}: the manifest names no precision; build the engine again")
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
        """Raises BadInput where the plan is not the file that the manifest tells of."""
        if lacking := [key for key in NEEDED if not getattr(self.manifest, key)]:
            raise BadInput(f"{self.path}: the manifest does not name {', '.join(lacking)}; build the engine again")
        plan = require_file(self.file, "a TensorRT plan")
        told, size = self.manifest.plan_bytes, plan.stat().st_size
        again = f"copy it again, or rebuild: {self.rebuild_line}"
        if told is not None and size < told:
            raise BadInput(f"{plan}: is cut off, {size} of {told} bytes; {again}")
        with plan.open("rb") as file:
            is_rtx = file.read(len(RTX_MARK)) == RTX_MARK
        if is_rtx != (self.target == "tensorrt-rtx"):
            found = "a" if is_rtx else "no"
            raise BadInput(f"{plan}: holds {found} plan of tensorrt-rtx, and the manifest says {self.target}; {again}")
        if sha256_of_file(plan) != self.manifest.plan_sha256:
            raise BadInput(f"{plan}: is not the plan that manifest.json tells of, but another file; {again}")

    def require_allowed(self, allow_host_code: bool) -> None:
        """Raises BadInput where loading the plan would run programs out of it, and nobody asked for that."""
        if self.has_host_code and not allow_host_code:
            raise BadInput(
                f"{self.file}: was built version compatible and so carries host code, which loading it runs on this"
                " machine; if you trust where it comes from, open it with `allow_host_code=True`"
            )

    def misfit(self, here: Here) -> str:
        """Why the plan cannot run here, in words; empty where nothing speaks against it."""
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
        if built is None:  # CUDA could not be asked when it was built: the vendor will say
            return True
        if isinstance(built, list):
            return here in built
        return here == built if isinstance(built, int) else here >= PORTABLE_SM


def _numbers(runtime: str) -> tuple[int, ...]:
    """(10, 3, 0) of "tensorrt 10.3.0.26": what has to be equal."""
    words = runtime.split(" ")[-1].split(".")[:3]
    return tuple(int(word) if word.isdigit() else -1 for word in words)


def _dotted(sm: Any) -> str:
    if isinstance(sm, list):
        return ", ".join(_dotted(one) for one in sm)
    return f"{sm // 10}.{sm % 10}" if isinstance(sm, int) else str(sm)
