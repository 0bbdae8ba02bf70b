"""Small pictures, files and sources for the tests of data."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from recast.errors import InputError
from recast.train.data.example import Example, Shape
from recast.train.data.pictures import shape_of


def picture(seed: int, width: int = 32, height: int = 32) -> np.ndarray:
    """A picture (height, width, 3) uint8 like no other: coarse blocks of colour."""
    cells = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.kron(cells, np.ones((8, 8, 1), np.uint8))


def png(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pair(n: int, **more: object) -> dict[str, bytes]:
    """The members of one record of the general layout."""
    about = {"instruction": f"change {n}", **more}
    return {
        f"{n:03d}.source.png": png(picture(2 * n)),
        f"{n:03d}.target.png": png(picture(2 * n + 1)),
        f"{n:03d}.json": json.dumps(about).encode(),
    }


class Memory:
    """A source of examples that are there; numbers in `bad` cannot be read."""

    def __init__(self, examples: list[Example], bad: tuple[int, ...] = (), name: str = "memory") -> None:
        self.examples, self.bad, self.name = examples, bad, name

    @property
    def length(self) -> int:
        return len(self.examples)

    def shape(self, index: int) -> Shape:
        return shape_of(self.examples[index])

    def example(self, index: int) -> Example:
        if index in self.bad:
            raise InputError(f"{self.name}.tar:{index}.png: broken; fetch it again")
        return self.examples[index]

    def id(self, index: int) -> str:
        return self.examples[index].id

    def about(self) -> dict[str, object]:
        return {"kind": "memory", "name": self.name, "examples": len(self.examples)}


def memory(
    count: int, sizes: tuple[tuple[int, int], ...] = ((32, 32),), bad: tuple[int, ...] = (), name: str = "memory"
) -> Memory:
    """Pairs, every third with a second context, of sizes in turn."""
    examples = []
    for n in range(count):
        size = sizes[n % len(sizes)]
        contexts = tuple(picture(1000 * k + n, *size) for k in range(2 if n % 3 == 2 else 1))
        examples.append(
            Example(
                id=f"{name}-{n}",
                contexts=contexts,
                target=picture(5000 + n, *size),
                instruction=f"change {n}",
                captions=(None,) * (len(contexts) + 1),
            )
        )
    return Memory(examples, bad, name)
