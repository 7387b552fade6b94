"""The loops that users write today around one network: a frame in, the frame with its classes drawn over it out.

Each makes its input and its picture in the quickest way that its documentation shows: classes are taken at the
network's size and enlarged to the frame's by whole pixels. What a loop cannot do it says by raising Unable.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcn_edge.spec import ModelSpec

OPACITY = 0.5


class Unable(Exception):
    """A package that is not installed, or a file that a runtime does not take."""


@dataclass(frozen=True)
class Files:
    """One network: plain fp32 file (float NCHW in, full-size logits out), our INT8 file, and the checkpoint."""

    spec: ModelSpec
    plain: Path
    int8: Path
    checkpoint: Path
    threads: int


class Loop:
    """`put` takes a frame (H, W, 3) BGR and returns the picture of an earlier one, or None while it fills."""

    name = ""

    def __init__(self, files: Files) -> None:
        self.spec, self.threads = files.spec, files.threads
        self.size = files.spec.preprocess.size
        mean, std = (np.array(v, np.float32) for v in (files.spec.preprocess.mean, files.spec.preprocess.std))
        self.mean, self.scale = mean, 1 / std
        self.palette = np.array(files.spec.palette, np.uint8)[:, ::-1].copy()

    def put(self, image: np.ndarray) -> np.ndarray | None:
        raise NotImplementedError

    def clear(self) -> None:
        """Forget frames that are under way."""

    def bytes_of(self, image: np.ndarray) -> np.ndarray:
        """(1, h, w, 3) uint8 BGR: what our own files take."""
        return cv2.resize(image, self.size[::-1])[None]

    def planes_of(self, image: np.ndarray) -> np.ndarray:
        """(1, 3, h, w) float32 RGB, normalised."""
        small = cv2.cvtColor(cv2.resize(image, self.size[::-1]), cv2.COLOR_BGR2RGB).astype(np.float32)
        return np.ascontiguousarray(((small - self.mean) * self.scale).transpose(2, 0, 1)[None])

    def classes_of(self, scores: np.ndarray) -> np.ndarray:
        """(h, w) uint8 at the network's size of (C, h, w) logits, or of our file's smaller score map."""
        if scores.shape[1:] == self.size:
            return scores.argmax(0).astype(np.uint8)
        rows, columns = (
            round(axis.scale * axis.valid) for axis in (self.spec.head.sampling.y, self.spec.head.sampling.x)
        )
        valid = np.ascontiguousarray(scores[:, :rows, :columns].transpose(1, 2, 0))
        return cv2.resize(valid, self.size[::-1]).argmax(2).astype(np.uint8)

    def drawn(self, image: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The frame with its classes (h, w) in colour over it."""
        colours = self.palette[classes]
        colours = cv2.resize(colours, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return cv2.addWeighted(image, 1 - OPACITY, colours, OPACITY, 0)


class OnnxRuntime(Loop):
    name = "ONNX Runtime + OpenCV + numpy"

    def __init__(self, files: Files, *, int8: bool) -> None:
        super().__init__(files)
        ort = required("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = files.threads, 3
        path = files.int8 if int8 else files.plain
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input, self.feed = self.session.get_inputs()[0].name, self.bytes_of if int8 else self.planes_of

    def put(self, image: np.ndarray) -> np.ndarray:
        scores = self.session.run(None, {self.input: self.feed(image)})[0][0]
        return self.drawn(image, self.classes_of(scores))


class OpenVino(Loop):
    """One request at a time, latency hint; the runtime's own choice of precision (bf16 where the CPU has it)."""

    name = "OpenVINO + OpenCV + numpy"

    def __init__(self, files: Files, *, int8: bool) -> None:
        super().__init__(files)
        ov = required("openvino")
        path = files.int8 if int8 else files.plain
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": files.threads}
        self.compiled = ov.Core().compile_model(str(path), "CPU", settings)
        self.feed = self.bytes_of if int8 else self.planes_of

    def put(self, image: np.ndarray) -> np.ndarray:
        scores = self.compiled([self.feed(image)], share_inputs=True, share_outputs=True)[0][0]
        return self.drawn(image, self.classes_of(scores))


class OpenVinoAsync(Loop):
    """Preprocessing inside the graph (PrePostProcessor), throughput hint, as many requests as it asks for."""

    name = "OpenVINO asynchronous, preprocessing in the graph"

    def __init__(self, files: Files, *, int8: bool) -> None:
        super().__init__(files)
        ov = required("openvino")
        core = ov.Core()
        model = core.read_model(str(files.int8 if int8 else files.plain))
        if not int8:
            steps = ov.preprocess.PrePostProcessor(model)
            tensor = steps.input().tensor()
            tensor.set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
            tensor.set_color_format(ov.preprocess.ColorFormat.BGR)
            p = files.spec.preprocess
            convert = steps.input().preprocess().convert_color(ov.preprocess.ColorFormat.RGB)
            convert.convert_element_type(ov.Type.f32).mean(list(p.mean)).scale(list(p.std))
            steps.input().model().set_layout(ov.Layout("NCHW"))
            model = steps.build()
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": files.threads}
        compiled = core.compile_model(model, "CPU", settings)
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self.idle = deque(compiled.create_infer_request() for _ in range(count))
        self.running: deque[tuple[Any, np.ndarray]] = deque()

    def put(self, image: np.ndarray) -> np.ndarray | None:
        request = self.idle.popleft()
        request.start_async([self.bytes_of(image)], share_inputs=True)
        self.running.append((request, image))
        if self.idle:
            return None
        request, image = self.running.popleft()
        request.wait()
        self.idle.append(request)
        return self.drawn(image, self.classes_of(request.get_output_tensor(0).data[0]))

    def clear(self) -> None:
        while self.running:
            request, _ = self.running.popleft()
            request.wait()
            self.idle.append(request)


class ModelApi(Loop):
    """The vendor's wrapper: resize, normalising and layout inside the graph, arg-max and enlarging in Python."""

    name = "OpenVINO Model API"

    def __init__(self, files: Files, *, int8: bool) -> None:
        super().__init__(files)
        required("model_api")
        from model_api.adapters import OpenvinoAdapter, create_core
        from model_api.models import SegmentationModel

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": files.threads}
        path = str(files.int8 if int8 else files.plain)
        adapter = OpenvinoAdapter(create_core(), path, device="CPU", plugin_config=settings)
        p = files.spec.preprocess
        words: dict[str, Any] = {"return_soft_prediction": False}
        if not int8:
            words |= {"mean_values": list(p.mean), "scale_values": list(p.std), "reverse_input_channels": True}
        self.model = SegmentationModel(adapter, words, preload=True)

    def put(self, image: np.ndarray) -> np.ndarray:
        return self.drawn(image, self.model(image))


class OpenCvDnn(Loop):
    name = "OpenCV DNN"

    def __init__(self, files: Files, *, int8: bool) -> None:
        super().__init__(files)
        if int8:
            raise Unable("takes no uint8 input with Q/DQ behind it")
        self.net = cv2.dnn.readNetFromONNX(str(files.plain))

    def put(self, image: np.ndarray) -> np.ndarray:
        small = cv2.resize(image, self.size[::-1])
        blob = cv2.dnn.blobFromImage(small, 1.0, self.size[::-1], tuple(map(float, self.mean)), swapRB=True)
        self.net.setInput(blob * self.scale[None, :, None, None])
        return self.drawn(image, self.classes_of(self.net.forward()[0]))


class TorchEager(Loop):
    """The network as trained, channels last, no gradients; arg-max in PyTorch."""

    name = "PyTorch eager"

    def __init__(self, files: Files, *, int8: bool) -> None:
        super().__init__(files)
        self.torch = required("torch")
        if int8:
            raise Unable("takes no ONNX file")
        from fcn_edge.models.checkpoint import checkpoint_from_file

        self.torch.set_num_threads(files.threads)
        network = checkpoint_from_file(files.checkpoint).network.eval()
        self.network = network.to(memory_format=self.torch.channels_last)
        from fcn_edge.models.fcn import padded

        self.padded = padded

    def put(self, image: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            x = self.torch.from_numpy(self.planes_of(image)).to(memory_format=self.torch.channels_last)
            logits = self.network(self.padded(x, self.network.geometry))[0, :, : self.size[0], : self.size[1]]
            classes = logits.argmax(0).to(self.torch.uint8).numpy()
        return self.drawn(image, classes)


LOOPS: tuple[Callable[..., Loop], ...] = (OnnxRuntime, OpenVino, OpenVinoAsync, ModelApi, OpenCvDnn, TorchEager)


def required(package: str) -> Any:
    """The package, imported. Raises Unable where it is not installed."""
    if importlib.util.find_spec(package) is None:
        raise Unable(f"{package} is not installed")
    return importlib.import_module(package)
