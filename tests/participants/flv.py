"""FLV, the format of encoders' messages."""

from dataclasses import dataclass

AUDIO, VIDEO, DATA = 8, 9, 18
FILE_HEADER_BYTES = 13


@dataclass(frozen=True)
class Tag:
    """An audio, video or data message."""

    kind: int
    timestamp: int
    body: bytes

    @property
    def is_configuration(self):
        return self.kind != DATA and self.body[1:2] == b"\0"

    @property
    def is_frame(self):
        return self.kind != DATA and self.body[1:2] == b"\1"


def tags(file):
    """Reads tags from a binary file, as they arrive if it is a pipe."""
    file.read(FILE_HEADER_BYTES)
    while len(header := file.read(11)) == 11:
        size, low, high = int.from_bytes(header[1:4], "big"), int.from_bytes(header[4:7], "big"), header[7]
        body = file.read(size)
        file.read(4)
        yield Tag(header[0], high << 24 | low, body)
