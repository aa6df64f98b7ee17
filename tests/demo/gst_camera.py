#!/usr/bin/python3
"""A foreign camera: gst-rtsp-server with a test picture, H.264 and G.711, by RTSP at /live.

Arguments: ADDRESS:PORT WIDTHxHEIGHT [USER]. With a user, digest authentication is asked for, and the password is the
first line of standard input, so that it is in no process list.
"""

import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

FRAMES_PER_SECOND = 25


def launch(width, height):
    """One key frame a second, and no reordering of pictures: what most cameras send."""
    return (
        f"( videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},"
        f"framerate={FRAMES_PER_SECOND}/1 ! x264enc tune=zerolatency "
        f"speed-preset=ultrafast bitrate={800 if width < 1000 else 2000} key-int-max={FRAMES_PER_SECOND} "
        "! video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 "
        "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 )"
    )


def require_digest(server, factory, user, password):
    """Only this user may see and play the stream."""
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    role = Gst.Structure.new_from_string("viewer,media.factory.access=(boolean)true,media.factory.construct=(boolean)true")
    factory.add_role_from_structure(role)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, token)
    server.set_auth(auth)


def main():
    address, port = sys.argv[1].rsplit(":", 1)
    width, height = (int(number) for number in sys.argv[2].split("x"))
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch(width, height))
    factory.set_shared(True)
    if len(sys.argv) > 3:
        require_digest(server, factory, sys.argv[3], sys.stdin.readline().rstrip("\n"))
    server.get_mount_points().add_factory("/live", factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on {address}:{port}")
    print(f"ready at rtsp://{address}:{port}/live", flush=True)
    loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, loop.quit)
    loop.run()


main()
