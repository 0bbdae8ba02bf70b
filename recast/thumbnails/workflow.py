"""From a brief to a finished set, stage by stage; each goes on where an earlier call, finished or killed, has left it.

    concepts → base → variants → designs → checks → rank → export

A set lives in one folder; what each stage has made is recorded there (`stages`), and nothing finished is made again
while what it was made from is the same. Progress is data: `make` yields steps, and whoever stops iterating stops the
work; what was finished until then stays finished.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recast.alone import alone
from recast.errors import ConfigError, GateFailed
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails import base as bases
from recast.thumbnails import logos, made_from
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import Brief, Level, variant_name
from recast.thumbnails.candidates import checked, designed, nobody, ranked, undesigned
from recast.thumbnails.checks import Evidence
from recast.thumbnails.delivery import Finished, deliver
from recast.thumbnails.findings import Finding
from recast.thumbnails.habits import read_habits
from recast.thumbnails.identity import Sheet, cast, sheet
from recast.thumbnails.instructions import concepts, named_images
from recast.thumbnails.kit import Kit
from recast.thumbnails.manifest import Entry
from recast.thumbnails.profiles import Profile
from recast.thumbnails.rank import Measure
from recast.thumbnails.seeing import Sight
from recast.thumbnails.setting import checked_in, design, profiles_of, reframed, text_of
from recast.thumbnails.stages import Record, Stages, sha256
from recast.thumbnails.variants import SEED_STRIDE, TOGETHER, Asked, Made, Step, make, unedited

LOCK = "stages/running.lock"
STAGES = ("concepts", "base", "variants", "designs", "checks", "rank", "export")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a set is made with.

    generator: loads what makes and edits pictures when it is first needed (recast.retouch around recast.pipeline, or
    anything with their `start_generate` and `start_edit`). model: what decides its pictures, for the records: name,
    plan, adapters. size: width and height at which it makes a 16:9 picture from words. keeps: whether `start_edit`
    takes `mask` and `preserve`. steps: that it takes where the brief says none, for the manifest. certificate: from a
    file to its certificate, or None. measure: see `rank`.
    """

    generator: Callable[[], Any]
    model: Mapping[str, Any]
    size: tuple[int, int]
    keeps: bool = True
    steps: int | None = None
    sight: Sight = field(default_factory=Sight)
    certificate: Callable[[Path], str | None] | None = None
    measure: Measure | None = None
    together: int = TOGETHER
    licences: Mapping[str, str] = field(default_factory=dict)


class Set:
    """One brief on its way. `make` runs every stage; `until` ends after one of STAGES."""

    def __init__(self, brief: Brief, kit: Kit, folder: Path, tools: Tools) -> None:
        self.brief, self.kit, self.folder, self.tools = brief, kit, folder, tools
        self.stages = Stages(folder)
        self.did: list[str] = []
        self.entries: tuple[Entry, ...] = ()  # what is known of the variants so far
        self.findings: tuple[Finding, ...] = ()  # of those to be shipped together
        self.seen: dict[str, Evidence] = {}

    def make(self, *, until: str = "export") -> Generator[Step, None, Finished | None]:
        """Every stage up to `until`; the finished set, or None where the work ended before the export.

        Raises what stands in the way: InputError and ConfigError of the brief's files, InputError while another process
        works on the set, GateFailed where no variant passes. Bad input is found before anything is written.
        """
        if until not in STAGES:
            raise ConfigError(f"until={until!r}: one of {', '.join(STAGES)} accepted")
        self.check()
        with alone(self.folder, "set", file=LOCK):
            return (yield from self._through(until))

    def _through(self, until: str) -> Generator[Step, None, Finished | None]:
        last = STAGES.index(until)
        self._concepts()
        if last >= STAGES.index("base"):
            yield from self._base()
        if last >= STAGES.index("variants"):
            made = yield from self._variants()
            self.entries = tuple(undesigned(self, each) for each in made)
        if last >= STAGES.index("designs"):
            designs = yield from designed(self, made)
        if last >= STAGES.index("checks"):
            entries = yield from checked(self, made, designs)
            self.entries = tuple(entries)
        if last < STAGES.index("rank"):
            return None
        entries, findings = ranked(self, entries, designs)
        self.entries, self.findings = tuple(entries), findings
        if last < STAGES.index("export"):
            if not any(each.is_shipped for each in entries):
                raise GateFailed(nobody(self, entries))
            return None
        return (yield from deliver(self, entries, findings, designs))

    def check(self) -> None:
        """Raise for whatever would stop the work later: references without a face, the frame, and fonts, logos and
        titles of every level in every profile.
        """
        base, sight = self.brief.base, self.tools.sight
        picture = Picture(np.full((*bases.MASTER_PX[::-1], 3), 128, np.uint8))
        if base.frame is not None:
            picture = bases.given(base)
            bases.free(base, picture, sight.faces)
        elif base.keep == "characters" and base.keep_mask is None and sight.faces is None:
            raise ConfigError("base.keep='characters': nothing finds faces; give keep_boxes, or keep: nothing")
        if self.brief.text_in_scene and sight.text is None:
            raise ConfigError(f"text_in_scene: nothing reads text; {sight.why.get('text', 'leave it out')}")
        if self.kit.look.style is not None:
            read_habits(self.kit.look.style)
        seen = set()
        for level in self.brief.levels:
            shown = (text_of(self.brief, level), level.layout, level.colour)
            if shown not in seen:
                seen.add(shown)
                plan = design(picture, self.brief, self.kit, level, None, profile=self.first)
                for profile in self.profiles:
                    reframed(plan, self.brief, self.kit, level, [], profile=profile)
        _ = self.sheets
        if self.wanted and self.tools.sight.faces is None:
            why = self.tools.sight.why.get("faces", "pass a face recogniser")
            raise ConfigError(f"characters={', '.join(self.wanted)}: nothing can tell who is in a picture; {why}")

    @property
    def wanted(self) -> tuple[str, ...]:
        """The characters that must show."""
        return self.brief.characters

    @cached_property
    def sheets(self) -> list[Sheet]:
        faces = self.tools.sight.faces
        people = [each for each in self.kit.characters if each.id in self.wanted]
        return [] if faces is None else [sheet(each, faces) for each in people]

    @cached_property
    def profiles(self) -> list[Profile]:
        return profiles_of(self.brief, self.kit)

    @cached_property
    def references(self) -> dict[str, list[Path]]:
        """The files of context images, by the name that instructions call them by."""
        named = {each.id: list(each.references) for each in self.kit.characters}
        if self.kit.logo is not None:
            named["logo"] = [self.kit.logo.file]
        return named | {name: [path] for name, path in self.brief.images.items()}

    def context(self, instructions: Sequence[str | None]) -> dict[str, list[Path | Picture]]:
        """The context images that instructions call by name; an SVG as pixels, on white."""
        called = named_images([each for each in instructions if each], list(self.references))
        return {
            name: [logos.on_white(path) if path.suffix.lower() == ".svg" else path for path in self.references[name]]
            for name in called
        }

    def context_hashes(self, instructions: Sequence[str | None]) -> list[str | None]:
        """What of their files decides a picture."""
        called = named_images([each for each in instructions if each], list(self.references))
        return made_from.hashes([path for name in called for path in self.references[name]])

    # The stages, in their order.

    def _concepts(self) -> None:
        inputs = {
            "brief": self._said("title", "topic", "text", "hooks", "characters", "seed"),
            "kit": [asdict(each) for each in self.kit.palette],
            "rules": asdict(self.kit.rules),
        }
        if self.stages.find("concepts", inputs) is None:
            ideas = [each.to_dict() for each in concepts(self.brief, self.kit)]
            self.done("concepts", inputs, {"concepts": ideas}, [])

    def _base(self) -> Generator[Step, None, None]:
        """folder/base.png, and folder/free.png where something of it is to be kept."""
        said = self.brief.base
        inputs = {
            "base": asdict(said),
            "files": made_from.hashes([said.frame, said.keep_mask]),
            "model": None if said.frame and not said.edit else dict(self.tools.model),
            "seed": self.brief.seed,
            "steps": self.brief.steps,
            "faces": made_from.name(self.tools.sight.faces),
            "context": self.context_hashes([said.prompt, said.edit]),
        }
        if self.stages.find("base", inputs) is not None:
            return
        yield Step("base", 0, 1, "reading")
        notes: list[str] = []
        path, files = self.folder / "base.png", [self.folder / "base.png"]
        if said.frame is not None:
            picture = bases.given(said)
            image.write(picture, path)
        else:
            picture, _, notes = yield from bases.generated(
                said,
                self.tools.generator(),
                size=self.tools.size,
                references=self.context([said.prompt]),
                seed=self.brief.seed,
                steps=self.brief.steps,
            )
            image.write(picture, path)
        if said.edit is not None:
            picture = yield from self._edited_base(picture, path)
        faces = self.tools.sight.faces
        may_change = bases.free(said, picture, faces)
        if may_change is not None:
            files.append(image.write(np.dstack([may_change] * 3), self.folder / "free.png"))
        seen = [_sides(each) for each in bases.faces_of(picture, faces)]
        self.done("base", inputs, {"notes": notes, "faces": seen}, files)

    def _edited_base(self, picture: Picture, path: Path) -> Generator[Step, None, Picture]:
        """The base after its own edit, what is kept of it as it was."""
        options = self._options(bases.free(self.brief.base, picture, self.tools.sight.faces))
        context = self.context([self.brief.base.edit])
        named = {"references": context} if context else {}
        run = self.tools.generator().start_edit(path, self.brief.base.edit, seed=self.brief.seed, **named, **options)
        for step, _ in enumerate(run, start=1):
            yield Step("base", step, run.of, "its edit")
        run.result.save(path)
        edited: Picture = run.result.pictures[0]
        return edited

    def _variants(self) -> Generator[Step, None, list[Made]]:
        """folder/variants/NAME.png: every level with every seed."""
        folder, base_path = self.folder / "variants", self.folder / "base.png"
        free = self.folder / "free.png"
        has_mask = "free.png" in self.stages.last("base").files
        asked = self.asked()
        prompts = [each.prompt for each in asked]
        shared = {
            "base": sha256(base_path),
            "free": sha256(free) if has_mask else None,
            "references": self.context_hashes(prompts),
            "sheets": made_from.identity(self.sheets),
            "model": dict(self.tools.model),
            "steps": self.brief.steps,
        }
        made: dict[str, Made] = {}
        missing: list[Asked] = []
        for each in asked:
            record = self.stages.find(f"variant-{each.name}", {**shared, "asked": asdict(each)})
            if record is None:
                missing.append(each)
            else:
                made[each.name] = _made(record)
        yield Step("variants", len(made), len(asked), "")
        plain = [each for each in missing if not each.prompt]
        for each in plain:
            made[each.name] = unedited(each, base_path, folder, self._judge)
            self._keep(made[each.name], each, shared)
        edits = [each for each in missing if each.prompt]
        if edits:
            options = self._options(free if has_mask else None)
            work = make(
                edits,
                generator=self.tools.generator(),
                base=base_path,
                folder=folder,
                judge=self._judge,
                options=options,
                references=self.context(prompts),
                together=self.tools.together,
            )
            for event in work:
                if isinstance(event, Made):
                    made[event.name] = event
                    self._keep(event, next(each for each in edits if each.name == event.name), shared)
                    yield Step("variants", len(made), len(asked), event.name)
                else:
                    share = (event.done / event.all) * len(edits) + (len(asked) - len(edits))
                    yield Step("variants", round(100 * share), 100 * len(asked), event.say)
        return [made[each.name] for each in asked]

    def asked(self) -> list[Asked]:
        """Every variant of the brief: levels by seeds; a level without an edit is the base, and once is enough."""
        variants = self.brief.variants
        asked: list[Asked] = []
        for again in range(variants.seeds_per_level):
            for level in variants.levels:
                if again and not level.edit:
                    continue
                first = self.brief.seed + len(asked)
                tries = tuple(first + SEED_STRIDE * attempt for attempt in range(1 + variants.retries))
                name = variant_name(level, again)
                asked.append(Asked(name=name, level=level, prompt=level.edit or "", tries=tries))
        return asked

    # What stages are made from.

    def _judge(self, rgb: np.ndarray) -> tuple[Mapping[str, float | None], str]:
        faces = self.tools.sight.faces
        if faces is None or not self.sheets:
            return {}, ""
        seen = cast(rgb, self.sheets, faces)
        return {each.character: each.similarity for each in seen.matches}, seen.reason()

    def _options(self, free: Path | np.ndarray | None) -> dict[str, Any]:
        options: dict[str, Any] = {} if self.brief.steps is None else {"steps": self.brief.steps}
        if not self.tools.keeps:
            return options
        return options | ({"preserve": "auto"} if free is None else {"mask": free, "preserve": "strict"})

    def _keep(self, made: Made, asked: Asked, shared: Mapping[str, Any]) -> None:
        files = [] if made.file is None else [self.folder / "variants" / made.file]
        self.done(f"variant-{made.name}", {**shared, "asked": asdict(asked)}, asdict(made), files)

    def done(self, stage: str, inputs: Mapping[str, Any], result: Mapping[str, Any], files: Sequence[Path]) -> Record:
        """Record that a stage is over."""
        self.did.append(stage)
        return self.stages.done(stage, inputs, result, files)

    def _said(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self.brief, name) for name in names}

    def level(self, made: Made) -> Level:
        return next(each for each in self.brief.levels if each.name == made.level)

    @cached_property
    def first(self) -> Profile:
        """The profile in which candidates are checked."""
        return checked_in(self.brief, self.kit)


def _made(record: Record) -> Made:
    found = dict(record.result)
    found["tried"] = tuple((seed, fate) for seed, fate in found["tried"])
    return Made(**found)


def _sides(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]
