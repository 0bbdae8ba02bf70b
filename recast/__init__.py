"""Make and edit pictures with one in-context flow model.

    import recast

    model = recast.load()                          # `nano`, inside the package; or a path to weights
    result = model.edit("photo.png", "make it night", seed=7)
    result.save("night.png")

    editor = recast.Editor(model)                  # the same, and all that the edit left alone keeps its bytes
    editor.edit("photo.png", "remove the sign").save("without.png")
    recast.merge("before.png", "after.png").write("merged.png")  # an edit by any other program

Reading order: `pipeline` (what happens), `flow/path` (the one convention), `flow/sampler`, `flow/transformer`,
`flow/layers`, `latents/tokens`, `latents/autoencoder`, `context`, `pixels`, `config`, `weights`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recast.config import VERSION

if TYPE_CHECKING:
    from recast.errors import RecastError
    from recast.loading import load
    from recast.pipeline import Pipeline
    from recast.pixels.image import Picture, read
    from recast.recipe import Recipe
    from recast.retouch.editor import Editor
    from recast.retouch.merge import merge
    from recast.retouch.thread import Thread
    from recast.run import Result, Run, Step

__version__ = VERSION

_HOMES = {
    "load": "recast.loading",
    "Pipeline": "recast.pipeline",
    "Result": "recast.run",
    "Run": "recast.run",
    "Step": "recast.run",
    "Picture": "recast.pixels.image",
    "read": "recast.pixels.image",
    "Recipe": "recast.recipe",
    "RecastError": "recast.errors",
    "Editor": "recast.retouch.editor",
    "Thread": "recast.retouch.thread",
    "merge": "recast.retouch.merge",
}

__all__ = [
    "Editor",
    "Picture",
    "Pipeline",
    "RecastError",
    "Recipe",
    "Result",
    "Run",
    "Step",
    "Thread",
    "__version__",
    "load",
    "merge",
    "read",
]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: `import recast` alone loads no library."""
    if name not in _HOMES:
        raise AttributeError(f"module 'recast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
