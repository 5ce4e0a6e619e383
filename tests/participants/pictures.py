"""Test pictures that carry their number and their source, so that a decoded picture can be compared with its original.

16 squares of 16 pixels at the top left are the bits of a number, the least significant one first: 12 bits count frames, one is
the source, and three have known values.
"""

import functools
import math
import subprocess

import imageio_ffmpeg
import numpy

SIDE, BITS = 16, 16
COUNTED, SOURCE = 12, 12
KNOWN = {13: 1, 14: 0, 15: 1}


def graph(width, height, rate, source=0):
    """FFmpeg's description of the pictures."""
    bits = f"if(lt(X,{COUNTED}),mod(floor(N/pow(2,X)),2),if(eq(X,{SOURCE}),{source},mod(X,2)))"
    strip = f"color=black:size={BITS}x2:rate={rate},geq=lum='16+219*{bits}':cb=128:cr=128"
    strip += f",scale={BITS * SIDE}:{SIDE}:flags=neighbor"
    picture = f"testsrc2=size={width}x{height}:rate={rate}"
    return f"{picture}[picture];{strip}[strip];[picture][strip]overlay=shortest=1,format=yuv420p"


def label(picture):
    """The source and the number of a picture (the planes of I420 as rows of one array), or `None` if it is damaged."""
    centres = SIDE // 2 + SIDE * numpy.arange(BITS)
    if picture.shape[1] < BITS * SIDE:
        return None
    bits = [int(value) for value in picture[SIDE // 2, centres] > 128]
    if any(bits[at] != value for at, value in KNOWN.items()):
        return None
    return bits[SOURCE], sum(bit << at for at, bit in enumerate(bits[:COUNTED]))


@functools.cache
def original(width, height, rate, source, number):
    """The picture with a number, as the encoder gets it."""
    selected = f"{graph(width, height, rate, source)},trim=start_frame={number}:end_frame={number + 1}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi", "-i", selected]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True)
    return numpy.frombuffer(done.stdout, numpy.uint8).reshape(height * 3 // 2, width)


def psnr(picture, expected):
    """The peak signal-to-noise ratio over all planes, in decibels."""
    assert picture.shape == expected.shape, (picture.shape, expected.shape)
    error = numpy.mean((picture.astype(float) - expected) ** 2)
    return 10 * math.log10(255**2 / max(error, 1e-9))
