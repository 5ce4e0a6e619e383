"""C libraries that are loaded before a program, and replace functions of its C library."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def build(source, folder):
    """Compiles a source file of this folder into `folder`; returns the library."""
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("functions are replaced on Linux, with a compiler for C")
    source = Path(__file__).with_name(source)
    library = folder / f"{source.stem}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


class Setting:
    """A file that such a library reads. A reader sees the former text or the new one."""

    def __init__(self, file):
        self.file = file

    def set(self, text):
        draft = self.file.with_suffix(".draft")
        draft.write_text(str(text))
        draft.rename(self.file)
