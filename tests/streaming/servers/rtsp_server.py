"""An RTSP server that sends marked pictures as H.264: PORT WIDTH HEIGHT FPS [USER PASSWORD].

Runs in the system's Python, with Debian's python3-gi and gir1.2-gst-rtsp-server-1.0. It says READY
once it listens. GStreamer's own library does all that is RTSP.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from marks import grey_picture  # noqa: E402

LAUNCH = (
    "( appsrc name=src is-live=true format=time do-timestamp=true block=false max-buffers=2 leaky-type=downstream"
    " caps=video/x-raw,format=GRAY8,width={width},height={height},framerate={fps}/1 ! videoconvert"
    " ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={fps} bitrate=1000"
    " ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def main(port, width, height, fps, user="", password=""):
    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(LAUNCH.format(width=width, height=height, fps=fps))
    numbers = iter(range(1 << 40))

    def feed(_, media):
        source = media.get_element().get_by_name("src")

        def push():
            picture = grey_picture(next(numbers), int(width), int(height))
            return source.emit("push-buffer", Gst.Buffer.new_wrapped(picture)) == Gst.FlowReturn.OK

        GLib.timeout_add(1000 // int(fps), push)

    factory.connect("media-configure", feed)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if user:
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        for what in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("user", what, True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    print("READY", flush=True)
    GLib.MainLoop().run()


main(*sys.argv[1:])
