"""A trained network as what it changes of its base: pairs of low rank by truncated SVD, and the error of that.

The best pair of rank r holds the r largest singular values of a matrix's change (Eckart & Young 1936). They come from
the smaller Gram matrix in fp64, which costs one product and one decomposition of that size.
Where a matrix of ours is several of diffusers' (q, k, v, and the MLP of a single block), each of these has a pair of
its own, as `adapters` trains them: a rank means the same in both, and a student of adapters is held whole by theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recast.errors import WeightsError
from recast.weights import names
from recast.weights.checkpoint import Checkpoint
from recast.weights.delta_weights import PREFIX
from recast.weights.files import few
from recast.weights.reading import read_tensor

EMBEDDING = "guidance_in."
"""What a student may have that its base lacks."""
NOISE = 1e-4
"""The share of a change's length below which it is rounding: adding a change to a weight in fp32 leaves about 1e-5."""


@dataclass
class Split:
    """The tensors of a delta, and how much of the change they do not hold."""

    tensors: dict[str, Tensor] = field(default_factory=dict)  # by the names of an adapter file
    rank: int = 0  # the largest of its pairs
    changed: float = 0.0  # squared length of the whole change
    left: float = 0.0  # and of what the tensors, rounded as they are, do not hold of it
    worst: tuple[float, str] = (0.0, "")  # relative error and name of what is held worst, by the file's modules
    _tails: list[Tensor] = field(default_factory=list)

    @property
    def error(self) -> float:
        """The length of what is left over that of the change, over all parameters."""
        return math.sqrt(self.left / self.changed) if self.changed else 0.0

    def rank_for(self, error: float) -> int:
        """The smallest rank at which the error, rounding aside, is at most this."""
        most = max(map(len, self._tails), default=1)
        total = torch.zeros(most, dtype=torch.float64)
        for tail in self._tails:
            total[: len(tail)] += tail
        return int((total > error**2 * self.changed).sum())


def split(
    student: Mapping[str, Tensor],
    base: Checkpoint,
    *,
    rank: int,
    dtype: torch.dtype = torch.bfloat16,
    device: str | torch.device = "cpu",
) -> Split:
    """What `student`, a flow transformer's tensors, changes of `base`, in tensors of `dtype` on the CPU.

    Each matrix, or each part of a fused one, gets a pair of this rank, or is held whole where that is smaller, as
    vectors are; what did not change is left out. device: where the decompositions are done. Raises WeightsError for a
    student of another network, for numbers that are not finite, and for one in which nothing changed.
    """
    _check(student, base)
    table = names.modules_of("flow", base.tensors)
    hidden_size = base.tensors["img_in.weight"].shape[0]
    made = Split()
    for name, tensor in sorted(student.items()):
        module, _, leaf = name.rpartition(".")
        whole_role = "diff_b" if leaf == "bias" else "diff"
        if name not in base.tensors:  # its biases are added to zeros
            role = "diff_b" if leaf == "bias" else "set_weight"
            made.tensors[f"{PREFIX}{module}.{role}"] = tensor.detach().to("cpu", dtype)
            continue
        whole = tensor.detach().to(device, torch.float32) - read_tensor(base.tensors[name], torch.float32, device)
        for part, change in _parts(module, whole, table, hidden_size):
            length = float(change.double().square().sum())
            if not length:
                continue
            held = f"{PREFIX}{part}"
            if change.ndim == 2 and rank * sum(change.shape) < change.numel():
                up, down, tail = _pair(change, rank)
                up, down = up.to(dtype), down.to(dtype)
                made.tensors[f"{held}.lora_B.weight"] = up.cpu().contiguous()
                made.tensors[f"{held}.lora_A.weight"] = down.cpu().contiguous()
                made.rank, found = max(made.rank, len(down)), up.float() @ down.float()
                made._tails.append(tail.cpu())
            else:
                rounded = change.to(dtype)
                made.tensors[f"{held}.{whole_role}"] = rounded.cpu().contiguous()
                found = rounded.float()
            left = float((change - found).double().square().sum())
            made.changed += length
            made.left += left
            made.worst = max(made.worst, (math.sqrt(left / length), f"{part}.{leaf}"))
    if not made.changed:
        raise WeightsError("student: has the weights of its base; one that was trained accepted; is it the right run?")
    return made


def _parts(module: str, change: Tensor, table: names.Table, hidden_size: int) -> Iterator[tuple[str, Tensor]]:
    """A change by the names that an adapter file has for its rows: of a fused matrix those of diffusers, else ours."""
    parts = table[module] if change.ndim == 2 and len(table.get(module, ())) > 1 else (module,)
    for part, first, rows in names.spans(parts, len(change), hidden_size):
        yield part, change[first : first + rows]


def _pair(change: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best B (m, r) and A (r, n) for a change (m, n); and for each rank from 0, the squared length that is left.

    r is `rank`, or less where less leaves nothing but the rounding of sums in fp32.
    """
    exact = change.double()
    wide = exact if exact.shape[0] <= exact.shape[1] else exact.T
    squares, vectors = torch.linalg.eigh(wide @ wide.T)  # from the smallest on
    tail = squares.clamp(min=0).cumsum(0).flip(0)
    rank = max(1, min(rank, int((tail > NOISE**2 * tail[0]).sum())))
    left = vectors[:, -rank:]
    right = left.T @ wide
    up, down = (left, right) if wide is exact else (right.T, left.T)
    tail[math.ceil(exact.numel() / sum(exact.shape)) :] = 0  # from that rank on it is held whole
    return up.float(), down.float(), tail


def _check(student: Mapping[str, Tensor], base: Checkpoint) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in student.items()}
    found = {name: source.shape for name, source in base.tensors.items()}
    odd = {
        "missing": found.keys() - shapes.keys(),
        "unexpected": {name for name in shapes.keys() - found.keys() if not name.startswith(EMBEDDING)},
        "misshapen": {name for name in found if shapes.get(name, found[name]) != found[name]},
        "not finite": {name for name, tensor in student.items() if not tensor.isfinite().all()},
    }
    listed = [f"{kind}: {few(names)}" for kind, names in odd.items() if names]
    if listed:
        raise WeightsError(f"student: {'; '.join(listed)}; the network of {str(base.path)!r}, trained on, accepted")
