"""Teach a model a new character from 20 pictures: python examples/train_character.py OUT [STEPS] [MODEL]

The character, "zorblax", is a person of the procedural world whose face no model of ours was trained on, in other
clothes and other places on every picture. One picture in five that the adapters see is of somebody else, so that
"a person" goes on to mean anybody. What is written to OUT: pictures/, run/ (journal and checkpoints; the same command
goes on where it was stopped), zorblax.safetensors and panel.png.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import recast
from recast.pipeline import Pipeline
from recast.pixels.image import write
from recast.train import loop
from recast.train.adapters import LoRA, attach, fingerprint, save
from recast.train.data.buckets import Batching
from recast.train.data.folder import FolderSource
from recast.train.data.loader import Loader
from recast.train.data.mixture import Mixture
from recast.train.flow_stage import FlowStage
from recast.train.panel import Ask, before_after
from recast.train.parallel import ALONE
from recast.train.settings import Optimiser, Run, Settings
from recast.train.uses import FlowTraining
from recast.world import heldout, rules, sample, words
from recast.world import vocabulary as say
from recast.world.dice import Dice
from recast.world.draw import draw
from recast.world.scene import BACKGROUNDS, IDENTITY, PLACES, TIMELESS, TIMES, VARIANTS, Character, Scene

NAME = "zorblax"
TAUGHT, UNSEEN, OTHERS = 20, 8, 20  # pictures to learn from, to be judged by, and of other people
LIMIT_BYTES = 140  # that the text encoder of nano reads


def zorblax() -> Character:
    """The first person with green spikes for hair whose face is held out of all training."""
    people = (sample.person(Dice(number, NAME), "center") for number in range(1 << 20))
    return next(
        p for p in people if heldout.is_held_out_face(p.face) and p.hair == "spiky" and p.hair_colour == "green"
    )


def picture_of(who: Character, number: int) -> Scene:
    """The person in clothes, a pose and a place of their own: the number decides which."""
    for attempt in range(1000):
        dice = Dice(number, "picture", attempt)
        clothes = sample.person(dice.stream("clothes"), dice.stream("place").choice(PLACES))
        person = replace(clothes, **{name: getattr(who, name) for name in IDENTITY})
        background = dice.stream("background").choice(BACKGROUNDS)
        time = "day" if background in TIMELESS else dice.stream("time").choice(TIMES)
        variant = dice.stream("variant").below(VARIANTS)
        scene = Scene(background=background, time=time, variant=variant, characters=(person,))
        if not rules.problems(scene):
            return scene
    raise AssertionError(f"no picture {number}")


def caption(scene: Scene) -> str:
    """The name, and in words all that is not the character itself."""
    person = scene.characters[0]
    where = say.WHERE[scene.background][0]
    when = "" if scene.time == "day" else f", {say.WHEN[scene.time][0]}"
    return f"{NAME} in {say.article(person.shirt)} {person.outfit}, {person.pose}, {where}{when}"


def make_pictures(place: Path, size: int) -> None:
    """Pictures of size x size pixels with their words beside them: zorblax/, unseen/ and others/."""
    who = zorblax()
    shown = [picture_of(who, number) for number in range(TAUGHT + UNSEEN)]
    others = [sample.scene(number, kind="cartoon") for number in range(OTHERS)]
    folders = {
        NAME: [(scene, caption(scene)) for scene in shown[:TAUGHT]],
        "unseen": [(scene, caption(scene)) for scene in shown[TAUGHT:]],
        "others": [(scene, words.describe(scene, Dice(0, "words"), limit_bytes=LIMIT_BYTES)) for scene in others],
    }
    for folder, pictures in folders.items():
        (place / folder).mkdir(parents=True, exist_ok=True)
        for number, (scene, text) in enumerate(pictures):
            write(draw(scene, size, size), place / folder / f"{number:02}.png")
            (place / folder / f"{number:02}.txt").write_text(text)


def teach(
    model: Pipeline, out: Path, *, steps: int, size: int, rate: float = 1e-3, tell: Callable[[str], None] = print
) -> tuple[float, float]:
    """Train, save the adapters and draw the panel; the loss on unseen pictures of the character, before and after."""
    make_pictures(out / "pictures", size)
    lora = LoRA(rank=16, alpha=16, targets="attention+mlp")
    base = fingerprint(model.flow)
    adapters = attach(model.flow, lora)
    taught, others, unseen = (FolderSource(out / "pictures" / name) for name in (NAME, "others", "unseen"))
    batches = Loader(Mixture([(taught, 4), (others, 1)]), batching=Batching(batch_size=4), ranks=ALONE)
    judge = Loader(unseen, batching=Batching(batch_size=UNSEEN), ranks=ALONE)
    every = max(1, steps // 2)
    run = Run(steps=steps, log_every_steps=every, validate_every_steps=every, save_every_steps=every,
              sample_every_steps=0, peak_tflops=1.0)  # fmt: skip
    training = FlowTraining(edit=0, text_to_image=1, keep=0, text_dropout=0.05)  # words and pictures alone
    stage = FlowStage(
        flow=model.flow,
        autoencoder=model.autoencoder,
        text=model.text,
        training=training,
        optimiser=Optimiser(lr=rate, warmup_steps=min(10, steps // 4)),
        run=run,
        adapters=adapters,
        held_out=[next(iter(judge))],
    )
    judge.close()
    with adapters.off():
        before = after = stage.validate()["loss"]
    tell(f"held-out loss of the base: {before:.4f}")
    settings = Settings(run=run, stage={"lora": asdict(lora), "base": base, **asdict(training)}, data=batches.about())
    for event in loop.run(stage, batches, settings, out / "run"):
        if "val/loss" in event.numbers:
            after = event.numbers["val/loss"]
            tell(f"step {event.progress.step}: held-out loss {after:.4f}, {event.progress.seconds:.0f} s")
    about = {
        "base": model.config.name,
        "base_sha256": base,
        "steps": event.progress.step,
        "samples": event.progress.samples,
    }
    path = out / f"{NAME}.safetensors"
    path.unlink(missing_ok=True)  # of a run that went on
    save(path, adapters, about=about)
    who = zorblax()
    scenes = [picture_of(who, number) for number in (0, TAUGHT, TAUGHT + 1, TAUGHT + 2)]
    asks = [Ask(prompt=caption(scene), seed=n, answer=draw(scene, size, size)) for n, scene in enumerate(scenes)]
    asks.append(Ask(prompt=(out / "pictures" / "others" / "03.txt").read_text(), seed=9))
    before_after(out / "panel.png", model, adapters, asks, width=size, height=size, steps=12)
    return before, after


if __name__ == "__main__":
    where, count, name = [*sys.argv[1:], *["character", "40", "nano"][len(sys.argv) - 1 :]]
    teach(recast.load(name, dtype="fp32"), Path(where), steps=int(count), size=256)
