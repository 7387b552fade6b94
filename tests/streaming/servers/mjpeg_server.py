"""An HTTP server of marked pictures as MJPEG: PORT WIDTH HEIGHT FPS [USER PASSWORD]. Says READY once it listens.

/live has lengths, /plain has none; /throttled sends so slowly that pictures take longer than their period;
/broken has a cut JPEG as every third; /page is HTML, /still one picture, /text a text.
"""

import base64
import http.server
import sys
import time

import cv2
import numpy as np

from tests.streaming.servers.marks import grey_picture

PORT, WIDTH, HEIGHT, FPS = (int(word) for word in sys.argv[1:5])
LOGIN = base64.b64encode(":".join(sys.argv[5:7]).encode()).decode() if len(sys.argv) > 5 else ""
OTHERS = {"/page": ("text/html", b"<!DOCTYPE html><p>camera"), "/text": ("text/plain", b"hello " * 2000)}


def jpeg(number):
    grey = np.frombuffer(grey_picture(number, WIDTH, HEIGHT), np.uint8).reshape(HEIGHT, WIDTH)
    return cv2.imencode(".jpg", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))[1].tobytes()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if LOGIN and self.headers.get("Authorization") != f"Basic {LOGIN}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in ("/live", "/plain", "/throttled", "/broken"):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--frame")
            self.end_headers()
            self.stream()
        elif self.path == "/still":
            self.whole("image/jpeg", jpeg(0))
        elif self.path in OTHERS:
            self.whole(*OTHERS[self.path])
        else:
            self.send_error(404)

    def whole(self, kind, data):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self):
        due = time.monotonic()
        for number in range(1 << 40):
            data = jpeg(number)
            if self.path == "/broken" and number % 3 == 1:
                data = data[: len(data) // 2]
            length = b"" if self.path == "/plain" else b"Content-Length: %d\r\n" % len(data)
            self.send(b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + data + b"\r\n")
            due = max(due + 1 / FPS, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))

    def send(self, data):
        if self.path != "/throttled":
            self.wfile.write(data)
            return
        for start in range(0, len(data), 512):
            self.wfile.write(data[start : start + 512])
            time.sleep(2.0 / FPS * 512 / len(data))

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A viewer that went away."""


server = Server(("127.0.0.1", PORT), Handler)
print("READY", flush=True)
server.serve_forever()
