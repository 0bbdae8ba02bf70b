"""Where the networks of the real-picture measures lie, which of them are there, and what exactly they are.

MODELS/
  yunet/       face_detection_yunet_2023mar.onnx
  auraface/    glintr100.onnx
  clip/        a CLIP folder as transformers saves it
  dinov2/      a DINOv2 folder as transformers saves it
  lpips/       AlexNet (alexnet.safetensors, alexnet.pth or alexnet-owt-7be5be79.pth) and linear weights
               (alex.safetensors or alex.pth)
  ocr/         one *det*.onnx, one *rec*.onnx of PaddleOCR, and its list of characters (*.txt) unless it is in rec
  boxes/       a Grounding DINO, OWL-ViT or OWLv2 folder as transformers saves it
  judge.json   {"url": ..., "model": ...} of an OpenAI-compatible chat endpoint; its key is in RECAST_JUDGE_KEY
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

from recast.errors import MissingWeights
from recast.weights.files import checksum

AURAFACE, YUNET = "glintr100.onnx", "face_detection_yunet_2023mar.onnx"
PUBLISHED = {
    AURAFACE: "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60",  # fal/AuraFace-v1 at af6d057c
    YUNET: "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",  # OpenCV zoo
}
ALEXNET = ("alexnet.safetensors", "alexnet.pth", "alexnet-owt-7be5be79.pth")
LINEAR = ("alex.safetensors", "alex.pth")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZER = ("tokenizer.json", "vocab.json", "vocab.txt")
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
LOADED = {".json", ".txt", ".safetensors", ".bin", ".model"}  # what transformers may read from a folder


@dataclass(frozen=True, kw_only=True)
class Availability:
    """Whether one measure can be taken. reason: a sentence, if not. files: name to SHA-256, if so.

    notes: what is worth knowing though it stops nothing: a published file that was changed (a fine-tuned one is legal).
    """

    ready: bool
    reason: str | None = None
    files: dict[str, str] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Models:
    """The local files of every measure, each optional. judge_url, judge_model: of a chat endpoint, kept elsewhere."""

    auraface: Path | None = None
    yunet: Path | None = None
    clip: Path | None = None
    dino: Path | None = None
    lpips: Path | None = None
    ocr: Path | None = None
    boxes: Path | None = None
    judge_url: str | None = None
    judge_model: str | None = None

    @classmethod
    def within(cls, folder: str | Path, *, judge_url: str | None = None, judge_model: str | None = None) -> Models:
        """The places of the layout above within a folder, whether or not anything lies there yet.

        Raises MissingWeights if there is no such folder: a mistyped path must not read as "nothing installed".
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise MissingWeights(f"models={str(folder)!r}: no such folder; a folder of models accepted; check the path")
        return cls(
            auraface=folder / "auraface" / AURAFACE,
            yunet=folder / "yunet" / YUNET,
            clip=folder / "clip",
            dino=folder / "dinov2",
            lpips=folder / "lpips",
            ocr=folder / "ocr",
            boxes=folder / "boxes",
            judge_url=judge_url,
            judge_model=judge_model,
        )

    def available(self) -> dict[str, Availability]:
        """For each measure, whether it is ready, and with which files; or what is missing. Hashes every file found."""
        return {
            "identity": _local(self._identity, "onnxruntime", "cv2", "scipy"),
            "clip": _local(lambda: transformers_files(self.clip, "clip", with_text=True), "torch", "transformers"),
            "dino": _local(lambda: transformers_files(self.dino, "dinov2", with_text=False), "torch", "transformers"),
            "lpips": _local(lambda: list(lpips_files(self.lpips)), "torch"),
            "ocr": _local(lambda: [file for file in ocr_files(self.ocr) if file], "onnxruntime", "cv2"),
            "boxes": _local(lambda: transformers_files(self.boxes, "boxes", with_text=True), "torch", "transformers"),
            "judge": self._judge(),
        }

    def _identity(self) -> list[Path]:
        return [
            existing(self.yunet, f"yunet/{YUNET}"),
            existing(self.auraface, f"auraface/{AURAFACE}"),
        ]

    def _judge(self) -> Availability:
        lacking = [name for name in ("judge_url", "judge_model") if not getattr(self, name)]
        if lacking:
            return Availability(
                ready=False, reason=f"{' and '.join(lacking)} not given; name a chat endpoint and model"
            )
        return Availability(ready=True, files={}, notes=("a hosted model may change under the same name",))

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not field.name.startswith("judge"):
                object.__setattr__(self, field.name, Path(value))


def existing(path: Path | None, place: str) -> Path:
    """The path. Raises MissingWeights if it was not given or no file is there; place: where it lies in the layout."""
    if path is None:
        raise MissingWeights(f"no path was given; it would lie at MODELS/{place}")
    if not path.is_file():
        raise MissingWeights(f"{path.name} is missing; it would lie at {path}")
    return path


def one_of(folder: Path | None, names: tuple[str, ...], place: str) -> Path:
    """The first of these files that the folder has. Raises MissingWeights if it has none of them."""
    if folder is None:
        raise MissingWeights(f"no path was given; it would lie at MODELS/{place}/")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    few = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    raise MissingWeights(f"{few} is missing; it would lie in {folder}/")


def transformers_files(folder: Path | None, place: str, *, with_text: bool) -> list[Path]:
    """The files of a folder as transformers saves it, all that a network of its kind needs being there.

    Raises MissingWeights naming the first that is not.
    """
    needed = [("config.json",), PREPROCESSING, WEIGHTS, *([TOKENIZER] if with_text else [])]
    for names in needed:
        one_of(folder, names, place)
    assert folder is not None
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in LOADED)


def lpips_files(folder: Path | None) -> tuple[Path, Path]:
    """AlexNet's weights and the linear ones. Raises MissingWeights."""
    return one_of(folder, ALEXNET, "lpips"), one_of(folder, LINEAR, "lpips")


def ocr_files(folder: Path | None) -> tuple[Path, Path, Path | None]:
    """The detector, the recogniser and the list of characters, None where the recogniser has to carry it.

    Raises MissingWeights for a missing network, and where two could be meant: a guess would change every score.
    """
    if folder is None:
        raise MissingWeights("no path was given; it would lie at MODELS/ocr/")
    found = {pattern: sorted(folder.glob(pattern)) for pattern in ("*det*.onnx", "*rec*.onnx", "*.txt")}
    for pattern, files in found.items():
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise MissingWeights(f"{folder}/ has {names}; one {pattern} accepted; move the others away")
        if not files and pattern != "*.txt":
            raise MissingWeights(f"{pattern} is missing; it would lie in {folder}/")
    (detector,), (recogniser,) = found["*det*.onnx"], found["*rec*.onnx"]
    return detector, recogniser, next(iter(found["*.txt"]), None)


def _local(find: Callable[[], list[Path]], *packages: str) -> Availability:
    """What `find` finds, with checksums; or why the measure is absent: a file, or a package that would read it."""
    try:
        paths = find()
    except MissingWeights as error:
        return Availability(ready=False, reason=str(error))
    lacking = [name for name in packages if find_spec(name) is None]
    if lacking:
        return Availability(ready=False, reason=f"the files are there, but not the package {' and '.join(lacking)}")
    files = {path.name: checksum(path) for path in paths}
    changed = [name for name, came in files.items() if PUBLISHED.get(name, came) != came]
    notes = tuple(f"{name} is not the published file (sha256 {PUBLISHED[name][:12]}...)" for name in changed)
    return Availability(ready=True, files=files, notes=notes)
