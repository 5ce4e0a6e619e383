"""Parser of the documentation: pages, sections, code blocks and tables."""

import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
# The address in the examples. Tests replace it by the address of their server.
ENDPOINT = "127.0.0.1:4600"


def page(name):
    return (TOP / name).read_text()


def pages():
    """The paths of all pages with commands for users or contributors."""
    return ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(TOP)) for path in TOP.glob("docs/**/*.md"))]


def section(name, title):
    """The text under a heading of a page, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no heading '{title}'"
    return found.group(1)


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(text):
    """The cells of all table rows, without backquotes."""
    lines = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [[cell.strip().strip("`") for cell in line.split(" | ")] for line in lines]


def masked(text):
    """The text with ids, keys and times masked, as they differ from run to run."""
    text = re.sub(r'(stage/|participant |"participantId": ")[A-Za-z0-9]{12}', r"\1ID", text)
    text = re.sub(r"AKIA[A-Z0-9]{16}", "KEY", text)
    text = re.sub(r"(secret access key  )[A-Za-z0-9]{40}", r"\1SECRET", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[0-9:]+(Z|\+00:00)", "TIME", text)
