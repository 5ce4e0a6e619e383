"""Reading of files that another process may be writing."""

import os
from pathlib import Path


def complete_lines(file):
    """The lines of a file, given by its path or its descriptor, without a last one that has no newline yet. A descriptor is
    read without moving its offset: a child process that inherited it writes there."""
    if isinstance(file, int):
        content = os.pread(file, os.fstat(file).st_size, 0)
    else:
        content = Path(file).read_bytes()
    return content.decode(errors="replace").split("\n")[:-1]
