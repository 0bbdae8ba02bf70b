"""`make demo` once installed: the script that it runs, as it stands, with programs that take few steps."""

import subprocess
import sys
from pathlib import Path

import recast

ROOT = Path(__file__).parent.parent.parent


def test_the_demo_edits_a_photograph_and_makes_a_thumbnail(tmp_path: Path):
    for folder in ("scripts", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "scripts").unlink()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "demo").write_text((ROOT / "scripts" / "demo").read_text())
    installed, programs = Path(sys.executable).parent, tmp_path / "programs"
    programs.mkdir()
    # sets of thumbnails have a test of their own (test_channel): here only that the demo asks for one that can be made
    few = 'case $1 in thumbnails) set -- "$@" --until concepts ;; *) set -- "$@" --steps 8 ;; esac'
    for name, more in (("recast", few), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\n{more}\nexec "{installed / name}" "$@"\n')
        (programs / name).chmod(0o755)
    command = ["sh", str(tmp_path / "scripts" / "demo"), str(programs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=400)
    *pictures, made = done.stdout.split()
    assert pictures == ["demo/cat-sketch.png", "demo/thumbnail.png", "demo/side-by-side.png"]
    assert made == "demo/channel/set"
    sketch, thumbnail, sheet = (recast.read(tmp_path / path) for path in pictures)
    assert (sketch.width, sketch.height) == (451, 300)
    assert (thumbnail.width, thumbnail.height) == (336, 192)
    assert sheet.width > sketch.width * 2 + thumbnail.width
    assert thumbnail.rgb.std() > 20
