#!/usr/bin/python3
"""A foreign camera with a codec of one's choice: gst-rtsp-server with a small test picture, by RTSP at /live.

Arguments: ADDRESS:PORT CODEC, where CODEC is vp8 or mjpeg.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODERS = {
    "vp8": "vp8enc deadline=1 ! rtpvp8pay name=pay0 pt=96",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}


def main():
    address, port = sys.argv[1].rsplit(":", 1)
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    picture = "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=5/1"
    factory.set_launch(f"( {picture} ! {ENCODERS[sys.argv[2]]} )")
    factory.set_shared(True)
    server.get_mount_points().add_factory("/live", factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on {address}:{port}")
    print("ready", flush=True)
    GLib.MainLoop().run()


main()
