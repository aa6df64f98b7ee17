#!/usr/bin/python3
"""A foreign camera: gst-rtsp-server with a test picture and sound, at /live.

    gst_camera.py ADDRESS:PORT [--video h264|h265|vp8|mjpeg] [--audio none|aac|alaw] [--size 320x192] [--rate 25]
        [--user NAME] [--certificate FILE --key FILE]

With a user, digest authentication is asked for, and the password is the first line of standard input, so that it is in no
process list. With a certificate it speaks RTSPS. Prints a line that begins with "ready" when it serves.
"""

import argparse
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PICTURE = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width={width},height={height},framerate={rate}/1"
# One key frame a second, and no reordering of pictures: what most cameras send.
VIDEO = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbps} sliced-threads=false "
    "key-int-max={rate} ! video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=-1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kbps} key-int-max={rate} "
    "! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1",
    # Nothing that is carried: to see what is said of it.
    "vp8": "vp8enc deadline=1 ! rtpvp8pay name=pay0 pt=96",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}
TICKS = "audiotestsrc is-live=true wave=ticks"
AUDIO = {
    "none": "",
    "aac": f"{TICKS} ! audio/x-raw,rate=48000,channels=1 ! avenc_aac bitrate=64000 ! aacparse ! rtpmp4gpay name=pay1 pt=97",
    "alaw": f"{TICKS} ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8",
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--video", choices=VIDEO, default="h264")
    parser.add_argument("--audio", choices=AUDIO, default="none")
    parser.add_argument("--size", default="320x192")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--user")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    return parser.parse_args()


def launch(wanted):
    """The pipeline, with about the bits that a picture of its size takes."""
    width, height = (int(number) for number in wanted.size.split("x"))
    kbps = 300 if width < 400 else 800 if width < 1000 else 2000
    pipeline = f"( {PICTURE} ! {VIDEO[wanted.video]} {AUDIO[wanted.audio]} )"
    return pipeline.format(width=width, height=height, rate=wanted.rate, kbps=kbps)


def protect(server, factory, wanted):
    """Asks for a password, speaks TLS, or both."""
    auth = GstRtspServer.RTSPAuth()
    role = Gst.Structure.new_from_string("viewer,media.factory.access=(boolean)true,media.factory.construct=(boolean)true")
    factory.add_role_from_structure(role)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if wanted.user:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(wanted.user, sys.stdin.readline().rstrip("\n"), token)
    else:
        auth.set_default_token(token)
    if wanted.certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(wanted.certificate, wanted.key))
    server.set_auth(auth)


def main():
    wanted = arguments()
    address, port = wanted.address.rsplit(":", 1)
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch(wanted))
    factory.set_shared(True)
    if wanted.user or wanted.certificate:
        protect(server, factory, wanted)
    server.get_mount_points().add_factory("/live", factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on {wanted.address}")
    print(f"ready at {wanted.address}", flush=True)
    loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, loop.quit)
    loop.run()


main()
