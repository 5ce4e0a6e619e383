"""Parser of the examples in the aws CLI's documentation (reStructuredText): commands and their expected output."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import awscli

FOLDER = Path(awscli.__file__).parent / "examples" / "ivs-realtime"


@dataclass(frozen=True)
class Example:
    """One command in one file, with its documented output (empty: "produces no output")."""

    file: str
    number: int
    command: str
    output: str

    @property
    def key(self):
        return (self.file, self.number)


def examples(folder=FOLDER):
    """All examples of the installed package, in file and text order."""
    return [example for path in sorted(folder.glob("*.rst")) for example in parse(path.stem, path.read_text())]


def parse(file, text):
    """The examples in one file's text. A command without documented output or "produces no output" is an error."""
    starts = [m.start() for m in re.finditer(r"^ +aws ivs-realtime ", text, re.M)]
    found = []
    for number, start in enumerate(starts, 1):
        end = starts[number] if number < len(starts) else len(text)
        command, rest = literal_block(text[start:end])
        printed = re.match(r"\s*Output::\n\n", rest)
        if printed:
            output, _ = literal_block(rest[printed.end() :])
        elif rest.lstrip().startswith("This command produces no output."):
            output = ""
        else:
            raise ValueError(f"{file}, example {number}: the output is not documented")
        found.append(Example(file, number, command, output))
    return found


def literal_block(text):
    """Splits an indented block from the text after it, and dedents it."""
    block = re.match(r"(?:[ \t]+\S.*\n|[ \t]*\n)+", text).group()
    return textwrap.dedent(block).strip(), text[len(block) :]
