"""Many processes as one: who does what, what they agree on, and a network that is shared out among them.

The processes form a grid of replicate x shard x context x tensor, the last counted first. Those that differ in
replicate or shard work on different examples; those that differ in context or tensor work on the same ones.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd import Variable
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import Shard
from torch.nn.attention import SDPBackend, sdpa_kernel

from recast.errors import ConfigError
from recast.flow.layers import attention
from recast.flow.transformer import FlowTransformer
from recast.train import context_parallel, tensor_parallel
from recast.train.activations import blocks, checkpoint_blocks
from recast.train.compiling import compile_blocks
from recast.train.settings import Parallel, Precision, Run

log = logging.getLogger(__name__)

_LOST = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "Broken pipe", "[gloo/", "NCCL")
_ATTENTIONS = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


@dataclass(frozen=True)
class Ranks:
    """One process among those of a run."""

    rank: int = 0
    size: int = 1
    data_rank: int = 0  # which part of a batch is this process's
    data_size: int = 1  # into how many parts a batch is cut
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mesh: DeviceMesh | None = None  # replicate x shard x tensor; the shards of context parallel are counted as shards
    context: dist.ProcessGroup | None = None  # the processes that share a sequence with this one

    def agree(self, x: float) -> float:
        """The first process's x."""
        if self.size == 1:
            return x
        value = torch.tensor([x], dtype=torch.float64)
        dist.broadcast(value, src=0)
        return float(value)

    def any(self, x: bool) -> bool:
        """Whether x is true in one process at least."""
        if self.size == 1:
            return x
        value = torch.tensor([int(x)])
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean of each scalar over the processes that have a number for it; nan where none has.

        The names must be the same in all processes. One exchange, whatever their count.
        """
        if not values:
            return {}
        names = sorted(values)
        own = torch.stack([values[name].detach().double().to("cpu") for name in names])
        sums = torch.stack([own.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf), (~own.isnan()).double()])
        if self.size > 1:
            dist.all_reduce(sums)
        return dict(zip(names, (sums[0] / sums[1]).tolist(), strict=True))

    def gather(self, thing: Any) -> list[Any]:
        """The thing of every process, by rank. It must pickle."""
        if self.size == 1:
            return [thing]
        every: list[Any] = [None] * self.size
        dist.all_gather_object(every, thing)
        return every

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.any(False)

    def measure_peak(self, on_cpu: Precision = "fp32") -> float:
        """TFLOP/s of all processes together in a large matrix product: bf16 on an accelerator, `on_cpu` on a CPU."""
        is_cpu = self.device.type == "cpu"
        side, is_wide = (1024, on_cpu == "fp32") if is_cpu else (8192, False)
        matrix = torch.randn(side, side, device=self.device, dtype=torch.float32 if is_wide else torch.bfloat16)
        fastest = float("inf")
        for _ in range(8):
            self._wait()
            begun = time.perf_counter()
            matrix @ matrix
            self._wait()
            fastest = min(fastest, time.perf_counter() - begun)
        return sum(self.gather(2 * side**3 / fastest / 1e12))

    def peak_gib(self) -> float:
        """The most memory that any process has used so far: of the device, or of the process on a CPU."""
        if self.device.type == "cuda":
            used = torch.cuda.max_memory_allocated(self.device)
        else:
            import resource

            unit = 1 if sys.platform == "darwin" else 1024
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return max(self.gather(used / 2**30))

    def has_lost(self, problem: BaseException) -> bool:
        """Whether a problem says that another process of the run is gone, or does not answer."""
        is_ours = isinstance(problem, dist.DistBackendError | dist.DistNetworkError)
        return self.size > 1 and (is_ours or any(sign in str(problem) for sign in _LOST))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


ALONE = Ranks()
"""One process on the CPU."""


def start(
    parallel: Parallel,
    *,
    rank: int = 0,
    size: int = 1,
    local_rank: int = 0,
    device: str | torch.device = "cpu",
    meeting: str = "env://",
    timeout_s: float = 600,
) -> Ranks:
    """Meet the other processes of the run; alone if size is 1.

    rank, size, local_rank: as `torchrun` says. device: cpu or cuda, of which this process takes number local_rank.
    meeting: where processes find each other, in torch's words. timeout_s: after it a process that does not answer
    counts as lost. Raises ConfigError if the layout does not need exactly `size` processes.
    """
    if parallel.processes != size:
        raise ConfigError(
            f"parallel: replicate {parallel.replicate} x shard {parallel.shard} x context {parallel.context} x tensor "
            f"{parallel.tensor} = {parallel.processes} processes, and {size} came; start that many, or change a factor"
        )
    kind = torch.device(device).type
    own = torch.device(kind, local_rank) if kind == "cuda" else torch.device(device)
    if kind == "cuda":
        torch.cuda.set_device(own)
    if size == 1:
        return Ranks(device=own)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
        init_method=meeting,
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout_s),
    )
    counts = (parallel.replicate, parallel.shard * parallel.context, parallel.tensor)
    mesh = init_device_mesh(kind, counts, mesh_dim_names=("replicate", "shard", "tensor"))
    return Ranks(
        rank=rank,
        size=size,
        data_rank=rank // (parallel.context * parallel.tensor),
        data_size=parallel.data,
        device=own,
        mesh=mesh,
        context=_context_group(parallel, size) if parallel.context > 1 else None,
    )


def stop(ranks: Ranks) -> None:
    """Leave the other processes."""
    if ranks.size > 1:
        dist.destroy_process_group()


def wrap(network: nn.Module, run: Run, parallel: Parallel, ranks: Ranks) -> nn.Module:
    """The network, ready to be trained: on the device, and shared out in place; before its optimiser is built.

    A transformer is cut by tensor, then by context, its blocks are checkpointed and compiled, and its parameters,
    gradients and optimiser state are cut by shard (FSDP2), or by shard within replicate (HSDP). With bf16, blocks
    are gathered in bf16 and gradients summed in fp32; in which precision operations run is autocast's matter.
    Any other network stays whole in every process, and its gradients are averaged after each backward pass, in
    which every process must use it. Parameters start as they are in the first process; names stay.
    Raises ConfigError for what a network cannot do.
    """
    if not isinstance(network, FlowTransformer):
        checkpoint_blocks(network, run.checkpointing)
        network.to(ranks.device)
        _same_start(network, ranks)
        if ranks.size > 1:
            _average_gradients(network, ranks)
        return network

    if ranks.device.type == "cuda":
        for block in blocks(network):
            if block.attend is attention:
                block.attend = prioritised_attention
    if ranks.size == 1 or ranks.mesh is None:
        network.to(ranks.device)
    else:
        _same_start(network, ranks)
        if parallel.tensor > 1:
            network.to(ranks.device)
            tensor_parallel.parallelise(network, ranks.mesh["tensor"])
        if ranks.context is not None:
            context_parallel.parallelise(network, ranks.context)
    checkpoint_blocks(network, run.checkpointing)
    if run.compile:
        compile_blocks(network, is_whole=parallel.tensor == parallel.context == 1)
    if ranks.mesh is not None and ranks.size > parallel.tensor:
        _shard(network, run, parallel, ranks.mesh)
    return network.to(ranks.device) if parallel.tensor == ranks.size else network


def prioritised_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attention` by the first of cuDNN, Flash, memory-efficient and plain that can do it."""
    with sdpa_kernel(_ATTENTIONS, set_priority=True):
        return attention(q, k, v)


def _context_group(parallel: Parallel, size: int) -> dist.ProcessGroup:
    """The processes that differ from this one in context alone. All processes make all groups."""
    stride = parallel.tensor
    groups = [
        [first + i * stride + tensor for i in range(parallel.context)]
        for first in range(0, size, stride * parallel.context)
        for tensor in range(stride)
    ]
    group, _ = dist.new_subgroups_by_enumeration(groups)
    assert group is not None
    return group


def _same_start(network: nn.Module, ranks: Ranks) -> None:
    """Every parameter and buffer as it is in the first process."""
    if ranks.size == 1:
        return
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            there = tensor.to(ranks.device).contiguous()
            dist.broadcast(there, src=0)
            tensor.copy_(there)


def _average_gradients(network: nn.Module, ranks: Ranks) -> None:
    """After each backward pass, replace the gradients by their mean over all processes: one exchange for all.

    A gradient of an earlier pass that was not cleared is the same in all processes, and so is its mean.
    """
    is_asked = False

    def reduce() -> None:
        nonlocal is_asked
        is_asked = False
        moved = [parameter for parameter in network.parameters() if parameter.requires_grad]
        with torch.no_grad():
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in moved])
            dist.all_reduce(flat)
            flat /= ranks.size
            for parameter, mean in zip(moved, flat.split([p.numel() for p in moved]), strict=True):
                shaped = mean.view_as(parameter).to(parameter.dtype)
                parameter.grad = shaped.clone() if parameter.grad is None else parameter.grad.copy_(shaped)

    def ask(_: Tensor) -> None:
        nonlocal is_asked
        if not is_asked:
            is_asked = True
            Variable._execution_engine.queue_callback(reduce)

    for parameter in network.parameters():  # the frozen ones too: they may be thawed
        was_trained = parameter.requires_grad
        parameter.requires_grad_(True).register_post_accumulate_grad_hook(ask)
        parameter.requires_grad_(was_trained)


def _shard(network: FlowTransformer, run: Run, parallel: Parallel, mesh: DeviceMesh) -> None:
    """Cut parameters, gradients and optimiser state of every block, and of every embedder, over the mesh."""
    over = mesh["replicate", "shard"] if parallel.replicate > 1 else mesh["shard"]
    count = parallel.shard * parallel.context
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    policy = half if run.precision == "bf16" else MixedPrecisionPolicy()

    def place(parameter: nn.Parameter) -> Shard | None:
        cut = tensor_parallel.sharded_dimension(parameter)
        if cut is None:
            return None
        other = 1 - cut
        if parameter.shape[other] % count:
            raise ConfigError(
                f"shard={parallel.shard}, context={parallel.context}: with tensor={parallel.tensor} their product "
                f"must divide every width of the blocks, and {parameter.shape[other]} is one; choose a divisor"
            )
        return Shard(other)

    # Linear layers return views; nothing in our networks writes into one.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
    for block in blocks(network):
        fully_shard(block, mesh=over, mp_policy=policy, shard_placement_fn=place)
        register_fsdp_forward_method(block, "context_alone") if hasattr(block, "context_alone") else None
    for name, part in network.named_children():
        if name not in ("double_blocks", "single_blocks"):  # each its own: gradients of some arrive late
            fully_shard(part, mesh=over)
    fully_shard(network, mesh=over)
    for method in ("condition", "with_text", "cache_context"):
        register_fsdp_forward_method(network, method)
