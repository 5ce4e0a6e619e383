"""Publishes an FLV stream from standard input by Debian's librtmp: python librtmp.py URL"""

import ctypes
import sys

FILE_HEADER_BYTES, TAG_HEADER_BYTES, TAG_END_BYTES = 13, 11, 4
LOG_INFO = 3


def main(url):
    rtmp = ctypes.CDLL("librtmp.so.1")
    rtmp.RTMP_Alloc.restype = ctypes.c_void_p
    rtmp.RTMP_LogSetLevel(LOG_INFO)
    session = ctypes.c_void_p(rtmp.RTMP_Alloc())
    rtmp.RTMP_Init(session)
    # librtmp keeps pointers into it.
    address = ctypes.create_string_buffer(url.encode())
    if not rtmp.RTMP_SetupURL(session, address):
        sys.exit("the URL is not understood")
    rtmp.RTMP_EnableWrite(session)
    if not rtmp.RTMP_Connect(session, None) or not rtmp.RTMP_ConnectStream(session, 0):
        sys.exit("not connected")
    for tag in whole_tags(sys.stdin.buffer):
        if rtmp.RTMP_Write(session, tag, len(tag)) <= 0:
            sys.exit("not written")
    rtmp.RTMP_Close(session)
    rtmp.RTMP_Free(session)


def whole_tags(file):
    """The tags as they are: librtmp loses its place if it is given parts of a tag's header."""
    file.read(FILE_HEADER_BYTES)
    while len(header := file.read(TAG_HEADER_BYTES)) == TAG_HEADER_BYTES:
        yield header + file.read(int.from_bytes(header[1:4], "big") + TAG_END_BYTES)


if __name__ == "__main__":
    main(sys.argv[1])
