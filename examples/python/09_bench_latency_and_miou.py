"""Latency against mIoU of several files on the same images, interleaved.

python 09_bench_latency_and_miou.py DATA RECORD.json MODEL...
"""

import sys

import fcn_edge as fe

data, out, *models = sys.argv[1:]
record = fe.bench(models, data)
for row in record.rows:
    print(f"{row.model:40} {row.precision:5} {row.latency_ms.p50:7.2f} ms  mIoU {100 * row.miou:.2f}")
record.save(out)
