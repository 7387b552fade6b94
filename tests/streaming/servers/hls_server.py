"""HLS of marked pictures, made by ffmpeg, served over HTTP: PORT WIDTH HEIGHT FPS. READY with its first playlist."""

import functools
import http.server
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.streaming.servers.marks import grey_picture

PORT, WIDTH, HEIGHT, FPS = (int(word) for word in sys.argv[1:5])


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def feed(pipe):
    start = time.monotonic()
    for number in range(1 << 40):
        time.sleep(max(0, start + number / FPS - time.monotonic()))
        pipe.write(grey_picture(number, WIDTH, HEIGHT))
        pipe.flush()


with tempfile.TemporaryDirectory() as folder:
    playlist = Path(folder) / "live.m3u8"
    ffmpeg = subprocess.Popen(
        [
            "ffmpeg",
            "-v",
            "error",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-s",
            f"{WIDTH}x{HEIGHT}",
            "-r",
            str(FPS),
            "-i",
            "-",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-g",
            str(FPS),
            "-hls_time",
            "1",
            "-hls_list_size",
            "4",
            "-hls_flags",
            "delete_segments",
            str(playlist),
        ],
        stdin=subprocess.PIPE,
    )
    threading.Thread(target=feed, args=(ffmpeg.stdin,), daemon=True).start()
    while not playlist.exists():
        time.sleep(0.05)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), functools.partial(Handler, directory=folder))
    print("READY", flush=True)
    server.serve_forever()
