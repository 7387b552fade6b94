"""PyTorch on the CPU: the reference that exports are validated against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fcn_edge.engines.base import Engine, EngineOptions, Place
from fcn_edge.errors import BadInput
from fcn_edge.models.checkpoint import Checkpoint, checkpoint_from_file, spec_from_header
from fcn_edge.models.fcn import padded


class TorchEngine(Engine):
    """A checkpoint in PyTorch: gives `scores`, or `logits` if its last layer is learned."""

    target = "pytorch"

    def __init__(self, path: Path, options: EngineOptions, checkpoint: Checkpoint | None = None) -> None:
        if options.execution not in (None, "f32"):
            raise BadInput(f"the PyTorch reference executes f32, not {options.execution}")
        loaded = checkpoint or checkpoint_from_file(path)
        spec = spec_from_header(loaded.header, loaded.network, loaded.sha256)
        super().__init__(spec, precision="fp32", execution="f32", path=path, threads=options.threads)
        self.runtime = f"torch {torch.__version__}"
        self._network = loaded.network
        self._mean, self._std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.preprocess.mean, spec.preprocess.std))
        if options.threads is not None:
            torch.set_num_threads(options.threads)

    def _run(self, x: np.ndarray, place: Place) -> np.ndarray:
        with torch.inference_mode():
            rgb = torch.tensor(x).permute(0, 3, 1, 2).flip(1).to(torch.float32)
            ready = (rgb - self._mean) / self._std
            if self.spec.preprocess.channels == "bgr":
                ready = ready.flip(1)
            wide = padded(ready, self._network.geometry)
            if self.spec.head.kind == "scores":
                return np.ascontiguousarray(self._network.scores(wide))
            return np.ascontiguousarray(self._network(wide)[:, :, : x.shape[1], : x.shape[2]])

    def _release(self) -> None:
        del self._network
