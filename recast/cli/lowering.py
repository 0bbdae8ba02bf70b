"""An editor whose pictures are tried once more with less memory, where it has run out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from recast.run import Run

if TYPE_CHECKING:
    from recast.cli.planned import Ready
    from recast.pipeline import Pipeline
    from recast.pixels.image import Source
    from recast.run import Result, Step


class Lowering:
    """An `Editor` round a model by its plan. A run whose memory ran out goes on with the steps of another.

    That is the same request from its beginning, with the plan's next recipe of less memory; `warn` is told.
    """

    def __init__(self, ready: Ready, warn: Callable[[Iterable[str]], None]) -> None:
        from recast.retouch.editor import Editor

        self.ready, self.warn, self.editor = ready, warn, Editor(ready.pipeline)

    def edit(
        self, image: Source, prompt: str, *, on_step: Callable[[Step], None] | None = None, **options: Any
    ) -> Result:
        """As of the editor."""
        return self.start_edit(image, prompt, **options).finish(on_step)

    def start_edit(self, image: Source, prompt: str, **options: Any) -> Run:
        """As of the editor."""
        return self._run(lambda: self.editor.start_edit(image, prompt, **options))

    def start_generate(self, prompt: str, **options: Any) -> Run:
        """As of the editor."""
        return self._run(lambda: self.editor.start_generate(prompt, **options))

    def __getattr__(self, name: str) -> Any:
        """What else an editor has."""
        return getattr(self.editor, name)

    def _run(self, start: Callable[[], Run]) -> Run:
        begun = [start()]
        of, request = begun[0].of, begun[0].request

        def once(_: Pipeline) -> Generator[Step, None, Result]:
            run = begun.pop() if begun else start()
            yield from run
            return run.result

        def steps() -> Generator[Step, None, Result]:
            result, lowered = yield from self.ready.steps(once)
            if lowered:
                self.warn([lowered])
            return result

        return Run(steps(), of, request)
