"""The public API as a program uses it: run by a test, and checked by mypy --strict against an installed wheel.

Run in a folder with `net.safetensors`, `images/*.jpg` and `data/` (images/ and labels/).
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

import fcn_edge as fe


def images_of(folder: Path) -> Iterator[np.ndarray]:
    """Images (H, W, 3) uint8 BGR of a folder."""
    for path in sorted(folder.glob("*.jpg")):
        image = cv2.imread(str(path))
        assert image is not None
        yield np.asarray(image, np.uint8)


def main() -> None:
    """Every function of the package, once."""
    images, val, other = list(images_of(Path("images"))), "folder:data", "synthetic:street,seed=9,images=2,size=64x96"
    manifest: fe.Manifest = fe.build_engine(
        "net.safetensors", "engine", precision="int8", calib=images, data=other, max_miou_drop=100.0
    )
    with fe.open_engine("engine") as net:
        result: fe.Result = net.segment(images[0])
        assert result.class_map.shape == images[0].shape[:2] and result.overlay is not None
        assert int(result.pixels_per_class.sum()) == result.class_map.size
        for result in fe.stream(net, source=images):
            print(result.frame.index, result.times.infer_ns)
        summary: fe.Summary = fe.run(net, source="images", sinks=["out.mp4", lambda result: None])
        evaluation: fe.Evaluation = fe.evaluate(net, val)
        scores: fe.Scores = evaluation.scores
    exported = fe.export("net.safetensors", "net.onnx")
    model = fe.OnnxModel.from_file("net.onnx")
    calibrated = fe.calibrate(model, images, "net.int8.onnx")
    record: fe.Record = fe.bench(["net.onnx", "net.int8.onnx"], val)
    verdict: fe.Verdict = fe.gate(record, record)
    comparison: fe.Comparison = fe.compare("net.onnx", "net.int8.onnx", images)
    print(manifest.miou, summary.frames_out, scores.miou, exported, calibrated, verdict.verdict, comparison.agreement)


if __name__ == "__main__":
    main()
