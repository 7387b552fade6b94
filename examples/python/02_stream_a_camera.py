"""Read a camera (or a video, an RTSP address, a folder) and act on every result.

    python 02_stream_a_camera.py SOURCE [FRAMES]

SOURCE: 0 for the first camera, rtsp://..., a file or a folder.
"""

import sys

import fcn_edge as fe

source = int(sys.argv[1]) if sys.argv[1].isdigit() else sys.argv[1]
limit = int(sys.argv[2]) if len(sys.argv) > 2 else None
with fe.open_engine() as net:
    road = net.spec.classes.index("road")
    for result in fe.stream(net, source=source, limit=limit):
        share = result.pixels_per_class[road] / result.class_map.size
        print(f"frame {result.frame.index}: {share:.0%} road, {result.times.age_ms:.1f} ms old")
