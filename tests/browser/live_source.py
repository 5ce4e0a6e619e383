"""Live pictures with a clock in them, and FFmpeg that sends them.

The number of a picture (see `pictures`) is the time at which it was made, in milliseconds modulo 4,096.
"""

import subprocess
import threading
import time
from contextlib import suppress

import imageio_ffmpeg
import numpy

from pictures import BITS, COUNTED, KNOWN, SIDE

WIDTH, HEIGHT, RATE = 640, 360, 30
PICTURES = f"-f rawvideo -pix_fmt yuv420p -video_size {WIDTH}x{HEIGHT} -framerate {RATE} -i pipe:0".split()
SOUND = "-re -f lavfi -i sine=frequency=440:sample_rate=48000 -c:a aac -b:a 128k".split()
H264 = "-c:v libx264 -preset veryfast -tune zerolatency -b:v 1500k -sc_threshold 0".split()
# By default, FFmpeg keeps a picture until it has the sound of that time: about 60 ms. AAC begins 21 ms before zero, and what is sent
# first decides whether FFmpeg can move it.
OUTPUT = "-max_interleave_delta 1000 -output_ts_offset 1 -flush_packets 1 -f flv".split()


class LiveEncoder:
    """FFmpeg with a source of its own. `sink` is a URL, or a pipe if there is none."""

    def __init__(self, sink=None, gop=30):
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-probesize", "32", "-analyzeduration", "0"]
        command += [*PICTURES, *SOUND, *H264, "-g", str(gop), *OUTPUT, sink or "pipe:1"]
        output = subprocess.DEVNULL if sink else subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output)
        # When each picture was made.
        self.made = []
        self.running = True
        self.thread = threading.Thread(target=self._make_pictures)
        self.thread.start()

    def stop(self):
        self.running = False
        self.thread.join()
        self.process.terminate()
        self.process.wait(20)

    def _make_pictures(self):
        noise = numpy.random.default_rng(1).integers(60, 180, (HEIGHT // 8, WIDTH // 8), numpy.uint8)
        texture = noise.repeat(8, axis=0).repeat(8, axis=1)
        picture = numpy.full((HEIGHT * 3 // 2, WIDTH), 128, numpy.uint8)
        began = time.monotonic()
        with suppress(BrokenPipeError), self.process.stdin as output:
            while self.running:
                time.sleep(max(0, began + len(self.made) / RATE - time.monotonic()))
                picture[:HEIGHT] = numpy.roll(texture, 2 * len(self.made), axis=1)
                self.made.append(time.time())
                write_clock(picture, int(1000 * self.made[-1]))
                output.write(picture.data)


def write_clock(picture, ms):
    bits = [ms >> bit & 1 for bit in range(COUNTED)] + [0] + [KNOWN[bit] for bit in sorted(KNOWN)]
    picture[:SIDE, : BITS * SIDE] = numpy.repeat(numpy.where(bits, 235, 16), SIDE)
