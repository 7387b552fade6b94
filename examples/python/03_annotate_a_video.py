"""Write an annotated video, and collect figures with a sink of your own.

python 03_annotate_a_video.py VIDEO OUT.mp4
"""

import sys

import fcn_edge as fe

video, out = sys.argv[1:3]
shares = []


def collect(result: fe.Result) -> None:
    """A sink is any callable that takes a result."""
    shares.append(result.pixels_per_class / result.class_map.size)


with fe.open_engine() as net:
    summary = fe.run(net, source=video, sinks=[out, collect])
    busiest = max(range(len(shares)), key=lambda index: shares[index][net.spec.classes.index("road")])
print(f"{summary.frames_out} frames, {summary.fps:.1f} per second, {summary.dropped} dropped")
print(f"most road in frame {busiest}")
