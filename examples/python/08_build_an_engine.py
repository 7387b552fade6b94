"""Build an INT8 engine that loses at most half a point of mIoU.

python 08_build_an_engine.py MODEL IMAGES DATA OUT_FOLDER
"""

import sys

import fcn_edge as fe

model, images, data, out = sys.argv[1:5]
try:
    manifest = fe.build_engine(model, out, precision="int8", calib=images, data=data, max_miou_drop=0.5)
except fe.CheckFailed as error:
    sys.exit(f"{error.code}: {error}")
print(f"{manifest.path}: {manifest.target}, {manifest.precision}, executed in {manifest.execution}")
print(f"mIoU {100 * manifest.miou:.2f}, {100 * manifest.drop:+.2f} against fp32; in float: {manifest.kept_float}")
