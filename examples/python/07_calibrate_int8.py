"""Calibrate an INT8 file from real images: a folder, or arrays of your own.

python 07_calibrate_int8.py MODEL IMAGES OUT.int8.onnx
"""

import sys
from pathlib import Path

import cv2

import fcn_edge as fe

model, folder, out = sys.argv[1:4]
images = [cv2.imread(str(path)) for path in sorted(Path(folder).iterdir())]
calibrated = fe.calibrate(model, images, out)
print(f"{calibrated.path}: {len(calibrated.table.tensors)} tensors, scales from {len(images)} images")
