"""Which files hold a part of a model: a single file, a folder of BFL files, a diffusers folder, or one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recast.errors import MissingWeights, WeightsError
from recast.weights.files import Header, few, read_header, read_json, require_local

Part = Literal["flow", "autoencoder", "text_encoder", "text_encoder_2"]
Layout = Literal["bfl", "diffusers", "recast"]

FORMAT = "recast-1"
PARTS: tuple[Part, ...] = ("flow", "autoencoder", "text_encoder", "text_encoder_2")
FOLDERS: Mapping[str, str] = {"flow": "transformer", "autoencoder": "vae"}  # diffusers; others go by their own name
_OURS = {"flow": "flow.safetensors", "autoencoder": "ae.safetensors"}
_STEMS = {"flow": "diffusion_pytorch_model", "autoencoder": "diffusion_pytorch_model"}  # others: model


class Absent(MissingWeights):
    """The path is fine and does not hold this part."""


@dataclass(frozen=True)
class Found:
    headers: list[Header]
    layout: Layout | None  # None: the names will tell
    hints: list[str]
    settings: dict[str, Any]  # the config.json beside the files


def find_files(path: Path, part: Part) -> Found:
    """The files that hold a part, or may: a single file's names decide later."""
    require_local(path)
    if path.is_file():
        return Found([read_header(path)], None, [path.name, path.parent.name], {})
    settings = settings_of(path)
    folder = path / FOLDERS.get(part, part)
    if settings.get("format") == FORMAT:
        if part in _OURS:
            return Found(_if_there(path / _OURS[part], part), "recast", [path.name], settings)
        return _shards(folder, part, "recast", [path.name])
    bfl = _bfl_files(path, part)
    if bfl:
        return Found([read_header(bfl)], None, [bfl.name, path.name], {})
    hints = [path.name, str(settings.get("_name_or_path", ""))]
    if (path / "model_index.json").exists():
        hints.append(str(read_json(path / "model_index.json").get("_class_name")))
    if folder.is_dir():
        return _shards(folder, part, "diffusers", hints)
    own = {"FluxTransformer2DModel": "flow", "AutoencoderKL": "autoencoder"}.get(str(settings.get("_class_name")))
    own = own or {"t5": "text_encoder_2", "clip_text_model": "text_encoder"}.get(str(settings.get("model_type")))
    if own == part:
        return _shards(path, part, "diffusers", [*hints, path.resolve().parent.name])
    pickles = [file.name for file in path.iterdir() if file.suffix in (".ckpt", ".pt", ".pth", ".bin")]
    raise Absent(
        f"weights={str(path)!r}: no {part} here{f', only pickles ({pickles[0]})' if pickles else ''}; a folder "
        f"holds {folder.name}/ (diffusers), {_OURS.get(part, part)} (recast) or one BFL file; check the path"
    )


def _bfl_files(path: Path, part: Part) -> Path | None:
    if part == "autoencoder":
        return path / "ae.safetensors" if (path / "ae.safetensors").is_file() else None
    if part != "flow":
        return None
    files = [path / "flow.safetensors"] if (path / "flow.safetensors").is_file() else []
    files += [
        file for file in sorted(path.glob("flux1-*.safetensors")) if not file.stem.endswith(("lora", "redux-dev"))
    ]
    if len(files) > 1:
        raise WeightsError(
            f"weights={str(path)!r}: {len(files)} models here: {', '.join(file.name for file in files)}; "
            "one is read; pass the path of the file"
        )
    return files[0] if files else None


def _shards(folder: Path, part: Part, layout: Layout, hints: list[str]) -> Found:
    """The one file of a diffusers or transformers folder, or all that its index names."""
    settings = settings_of(folder)
    hints = [*hints, str(settings.get("_name_or_path", ""))]
    stem = _STEMS.get(part, "model")
    index_path = folder / f"{stem}.safetensors.index.json"
    if not index_path.exists():
        return Found(_if_there(folder / f"{stem}.safetensors", part), layout, hints, settings)
    index = read_json(index_path).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise WeightsError(f"{index_path.name}: without weight_map; tensor to shard is expected; get it again")
    files = sorted(set(map(str, index.values())))
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise WeightsError(
                f"{index_path.name}: shard {name!r}; the plain name of a .safetensors file in the same folder is "
                "accepted; get the folder again"
            )
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise MissingWeights(
            f"weights={str(folder)!r}: {len(missing)} of {len(files)} shards missing: {', '.join(missing[:10])}; "
            "all are needed; get the rest"
        )
    headers = [read_header(folder / name) for name in files]
    _check_index(index_path.name, index, headers)
    return Found(headers, layout, hints, settings)


def _if_there(file: Path, part: Part) -> list[Header]:
    if not file.is_file():
        pickles = [other.name for other in file.parent.glob("*.bin")] if file.parent.is_dir() else []
        raise Absent(
            f"weights={str(file)!r}: no {part} here"
            + (f", only {pickles[0]}, a pickle; get the .safetensors files" if pickles else "; check the path")
        )
    return [read_header(file)]


def _check_index(index_name: str, index: Mapping[str, str], headers: list[Header]) -> None:
    """Raises WeightsError unless every tensor lies in the shard that the index names, and in no other."""
    where = [(name, header.path.name) for header in headers for name in header.tensors]
    wrong = {name for name, _ in set(where) ^ set(index.items())}
    if wrong:
        raise WeightsError(
            f"{index_name}: tensors in another shard than it names, or in two, or in none: {few(wrong)}; "
            "index and shards must be of one download; get them again"
        )


def settings_of(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return read_json(file) if file.is_file() else {}
