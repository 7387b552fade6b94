"""Export a checkpoint to ONNX, and show that the file computes what the checkpoint computes.

python 06_export_and_compare.py CHECKPOINT OUT.onnx IMAGES
"""

import sys

import fcn_edge as fe

checkpoint, out, images = sys.argv[1:4]
exported = fe.export(checkpoint, out)
print(f"{exported.model.path}: {exported.parity.agreement:.4%} of the pixels have PyTorch's class")
comparison = fe.compare(checkpoint, out, images)
print(f"equal pixels: {comparison.agreement:.4%}; first stage that differs: {comparison.first or 'none'}")
