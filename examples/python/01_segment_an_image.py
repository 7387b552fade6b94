"""Segment one picture with the packaged network, and write class map and overlay.

python 01_segment_an_image.py PICTURE OUT_FOLDER
"""

import sys
from pathlib import Path

import cv2

import fcn_edge as fe

picture, out = sys.argv[1], Path(sys.argv[2])
image = cv2.imread(picture)
with fe.open_engine() as net:
    result = net.segment(image)
    print(f"{net.runtime}, {net.precision}: {result.times.total_ms:.1f} ms")
    for name, pixels in zip(net.spec.classes, result.pixels_per_class, strict=True):
        print(f"{name:12} {100 * pixels / result.class_map.size:5.1f} %")
out.mkdir(parents=True, exist_ok=True)
cv2.imwrite(str(out / "class_map.png"), result.class_map)
cv2.imwrite(str(out / "overlay.png"), result.overlay)
