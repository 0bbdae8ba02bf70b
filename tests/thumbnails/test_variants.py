"""Variants of one base: what they share is made once."""

from pathlib import Path
from typing import Any

import numpy as np

from recast.pixels import image
from recast.thumbnails.brief import Level
from recast.thumbnails.variants import Asked, Made, make
from tests.thumbnails.standins import Painter


class Looker(Painter):
    """A painter that looks at a base before its edits."""

    def look_at(self, base: Path) -> tuple[str, Path]:
        self.options.append({"looked at": base})
        return "looked", base

    def start_edit(self, source: Any, *args: Any, **options: Any) -> Any:
        said, base = source
        assert said == "looked"
        return super().start_edit(base, *args, **options)


def test_a_base_is_looked_at_once_for_all_groups_and_retries(tmp_path):
    base = image.write(np.full((36, 64, 3), 90, np.uint8), tmp_path / "base.png")
    asked = [
        Asked(name=f"v{i}", level=Level(name=f"v{i}", edit="x"), prompt=f"make it {i}", tries=(i, 1000 + i))
        for i in range(5)
    ]
    refused = iter(["lost"])
    painter = Looker()
    made = make(
        asked, generator=painter, base=base, folder=tmp_path / "out", together=2, options={},
        judge=lambda rgb: ({}, next(refused, "")),
    )  # fmt: skip
    kept = [each for each in made if isinstance(each, Made)]
    assert sorted(each.name for each in kept if each.is_kept) == ["v0", "v1", "v2", "v3", "v4"]
    assert [seed for _, seed in painter.asked] == [0, 1000, 2, 4]
    assert painter.options == [{"looked at": base}, {}, {}, {}, {}]
