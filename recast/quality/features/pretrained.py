"""Folders as transformers saves them: network, picture processor and tokenizer, from local files and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.quality.features.files import transformers_files
from recast.weights.files import checksum, few


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network ready to run, with what prepares its inputs. tokenizer: None for networks without text."""

    folder: Path
    network: Any
    processor: Any
    tokenizer: Any
    device: str

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record: files by checksum, preprocessing, versions, device."""
        import torch
        import transformers

        with_text = self.tokenizer is not None
        files = transformers_files(self.folder, self.folder.name, with_text=with_text)
        return {
            "files": {file.name: checksum(file) for file in files},
            "network": self.network.config.model_type,
            "preprocessing": type(self.processor).__name__,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "device": self.device,
        }


def load(folder: str | Path, auto_class: str, *, place: str, with_text: bool, device: str = "cpu") -> Pretrained:
    """The network of a folder in float32, on `device`, with its published preprocessing.

    auto_class: the class of transformers that opens it. place: the folder's name in the layout, for messages.
    Pillow prepares the pictures wherever torchvision may also be installed: the two round differently.
    Raises MissingWeights for missing files, ConfigError without transformers, WeightsError for a folder that is
    damaged, of another kind, or without all the weights of its network (which would otherwise be random).
    """
    folder = Path(folder)
    try:
        transformers_files(folder, place, with_text=with_text)
    except MissingWeights as error:
        raise MissingWeights(f"{place}={str(folder)!r}: {error}; get the whole folder") from error
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(f"{place}: needs the package {error.name}; pip install 'recast[text]'") from error
    local = {"local_files_only": True}
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()  # it would be drawn over the caller's own
    try:
        opener = getattr(transformers, auto_class)
        network, info = opener.from_pretrained(folder, **local, dtype=torch.float32, output_loading_info=True)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **local, backend="pil")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local) if with_text else None
    except Exception as error:  # transformers raises whatever its readers raise
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{place}={str(folder)!r}: {why}; a folder of {auto_class} accepted; get it again"
        ) from error
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()
    absent = {str(name) for name in info["missing_keys"]} | {str(entry) for entry in info["mismatched_keys"]}
    if absent:
        raise WeightsError(f"{place}={str(folder)!r}: without weights for {few(absent)}; get the whole file again")
    return Pretrained(folder, network.eval().requires_grad_(False).to(device), processor, tokenizer, device)
