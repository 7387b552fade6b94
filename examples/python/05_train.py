"""Train a network by a recipe; the same call continues a run that was stopped.

python 05_train.py RECIPE DATA VAL OUT.safetensors [EPOCHS]
"""

import sys

import fcn_edge as fe

recipe, data, val, out = sys.argv[1:5]
epochs = int(sys.argv[5]) if len(sys.argv) > 5 else None
trained = fe.train(recipe, data=data, val=val, out=out, epochs=epochs)
for epoch in trained.record.epochs:
    print(epoch)
print(f"{trained.checkpoint}: mIoU {100 * trained.record.best_miou:.2f}")
