"""mIoU on labelled images: a data set on disk, and arrays of your own.

    python 04_evaluate_on_labels.py DATA

DATA: such as camvid:DIR#val, folder:DIR, synthetic:street,seed=1,images=8
"""

import sys

import numpy as np

import fcn_edge as fe

with fe.open_engine() as net:
    evaluation = fe.evaluate(net, sys.argv[1])
    print(f"mIoU {100 * evaluation.scores.miou:.2f} on {len(evaluation.images)} images")

    blank = np.full((360, 480, 3), 127, np.uint8)
    own = fe.evaluate(net, [(blank, net.segment(blank).class_map)])
    print(f"mIoU {100 * own.scores.miou:.2f} of a class map compared with itself")
