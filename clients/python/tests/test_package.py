"""The package: its version, types, style and files."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import greenroom_testkit

TOP = Path(__file__).resolve().parents[1]


def python(*arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_are_right(tmp_path):
    python("mypy", "--cache-dir", str(tmp_path))


def test_the_style_is_right():
    python("ruff", "check", "--no-cache", "src", "tests")
    python("ruff", "format", "--no-cache", "--check", "src", "tests")


def test_the_package_has_its_files(tmp_path):
    python("build", "--no-isolation", "--outdir", str(tmp_path))
    name = f"greenroom_testkit-{greenroom_testkit.__version__}"
    wheel = zipfile.ZipFile(tmp_path / f"{name}-py3-none-any.whl")
    assert {f"{name}.dist-info/licenses/LICENSE", "greenroom_testkit/py.typed"} <= set(wheel.namelist())
    assert "greenroom = greenroom_testkit.pytest_plugin" in wheel.read(f"{name}.dist-info/entry_points.txt").decode()
    metadata = wheel.read(f"{name}.dist-info/METADATA").decode()
    assert re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.MULTILINE) == ["botocore>=1.34"]
    with tarfile.open(tmp_path / f"{name}.tar.gz") as archive:
        files = archive.getnames()
    assert f"{name}/LICENSE" in files and f"{name}/README.md" in files


def test_the_readme_and_the_package_have_the_same_version():
    assert f"greenroom-testkit {greenroom_testkit.__version__}" in (TOP / "README.md").read_text()
