"""The examples of README and docs run as they stand, page by page, in a folder with a photograph and a logo.

Those of the README as anyone runs them; those of the other pages as forks of a Python that has torch loaded, and with
a `nano` that has its own weights and works on pictures of a quarter of its usual pixels.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from recast.nano import NANO
from tests import ready

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SMALL = {"width": 128, "height": 128, "min_tokens": 49, "max_tokens": 64}
FENCE = re.compile(r"(<!-- not run: [^>]+ -->\n)?```(sh|python)\n(.*?)```", re.DOTALL)


def examples(page: Path) -> list[tuple[str, str]]:
    """Language and text of the examples of a page that are meant to run."""
    return [(language, text) for skip, language, text in FENCE.findall(page.read_text()) if not skip]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the programs that start at once and whose `nano` works on small pictures."""
    nano = tmp_path_factory.mktemp("nano")
    for file in NANO.iterdir():
        if file.name != "config.json":
            (nano / file.name).symlink_to(file)
    config = json.loads((NANO / "config.json").read_text())
    assert config["defaults"].keys() >= SMALL.keys()
    (nano / "config.json").write_text(json.dumps(config | {"defaults": config["defaults"] | SMALL}))
    with ready.programs(nano) as folder:
        yield folder


@pytest.mark.parametrize("page", [p for p in PAGES if examples(p)], ids=lambda p: p.stem)
def test_the_examples_of_a_page_run(page: Path, quick: Path, tmp_path: Path):
    photograph = Image.open(ROOT / "examples" / "cat.png").convert("RGB")
    photograph.crop((0, 0, 299, 211)).save(tmp_path / "photo.png")  # odd on both sides
    logo = Image.new("RGB", (96, 80), "white")
    ImageDraw.Draw(logo).ellipse((20, 12, 76, 68), fill="red")
    logo.save(tmp_path / "logo.png")
    installed = Path(sys.executable).parent
    programs = [installed] if page.stem == "README" else [quick, installed]
    environment = {**os.environ, "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]])}
    for language, text in examples(page):
        command = [shutil.which("sh"), "-euc", text] if language == "sh" else [str(programs[0] / "python"), "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout}\n{done.stderr}"


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    missing = [page.name for page in PAGES if page.name != "README.md" and f"docs/{page.name}" not in readme]
    assert missing == []


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
