"""Who may import whom: the table of docs/layout.md, checked against every import statement."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "recast"
CORE = {"errors", "config", "pixels", "latents", "flow", "context", "weights", "recipe", "options", "cost"}
CORE |= {"run", "request", "provenance", "pipeline", "loading", "models", "selftest", "nano"}
CORE |= {"cpu_units", "alone", "user_cache"}
ROOMS = {"quality", "retouch", "safety", "serve", "speed", "studio", "thumbnails", "train", "world"}
MAY = {
    "errors": set(),
    "config": {"errors"},
    "pixels": {"errors"},
    "latents": {"config", "errors"},
    "flow": {"config", "errors"},
    "context": {"latents", "pixels", "config", "errors"},
    "weights": {"user_cache", "config", "errors"},
    "cpu_units": set(),
    "alone": {"errors"},
    "user_cache": set(),
    "recipe": {"config", "errors"},
    "options": {"config", "errors"},
    "cost": {"config", "errors"},
    "run": {"pixels", "recipe", "errors"},
    "request": {"context", "flow", "pixels", "options", "recipe", "config", "errors"},
    "provenance": {"request", "pixels", "recipe", "cpu_units", "config", "errors"},
    "pipeline": CORE - {"loading", "models", "selftest"},
    "models": {"config", "cost", "weights", "nano", "errors"},
    "loading": CORE - {"selftest"},
    "selftest": CORE,
    **dict.fromkeys(ROOMS, CORE),
    "studio": set(),
    "train": CORE | {"world"},
    "quality": CORE | {"world"},
    "cli": CORE | ROOMS,
    "nano": {"user_cache", "errors"},
    "__main__": {"cli"},
    "__init__": CORE | {"retouch"},  # by name only, in its table of public names
}


def parts(path: Path) -> Iterator[tuple[str, int]]:
    """Top-level names of our package that a file imports, relative imports included."""
    package = path.relative_to(PACKAGE.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = list(package[: len(package) - node.level + 1])
            names = [[*base, *node.module.split(".")] if node.module else [*base, a.name] for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module.split(".") if node.module != "recast" else ["recast", a.name] for a in node.names]
        else:
            continue
        yield from ((name[1], node.lineno) for name in names if name[0] == "recast" and len(name) > 1)


def wrong_imports(package: Path) -> list[str]:
    """The imports of a package that turn outward, with file and line."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        top = path.relative_to(package).parts[0].removesuffix(".py")
        for target, line in parts(path):
            if target != top and target not in MAY[top]:
                wrong.append(f"{path.name}:{line}: {top} may not import {target}")
    return wrong


def test_imports_point_inward():
    assert wrong_imports(PACKAGE) == []


def test_an_import_that_turns_outward_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "recast")
    for place, statement in {
        "flow/path.py": "from recast.latents import tokens",
        "pixels/image.py": "from ..config import nano",
        "errors.py": "import recast.config",
        "context/text.py": "from recast import weights",
    }.items():
        file = tmp_path / "recast" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'"""A file."""\n{statement}\n')
    assert len(wrong_imports(tmp_path / "recast")) == 4


def test_the_size_of_the_core_is_known(record_property):
    """Reported, not enforced: the core is meant to be read in one sitting."""
    rows = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        top = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if top in CORE:
            rows[top] = rows.get(top, 0) + len(path.read_text().splitlines())
    record_property("core_lines", sum(rows.values()))
    print(f"core: {sum(rows.values())} lines; " + ", ".join(f"{name} {lines}" for name, lines in rows.items()))
    assert set(rows) == CORE


def test_importing_recast_loads_no_library():
    libraries = "('torch', 'numpy', 'PIL', 'cv2', 'transformers')"
    code = f"import sys, recast; print([m for m in {libraries} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_public_name_exists():
    import recast

    for name in recast.__all__:
        assert getattr(recast, name) is not None
