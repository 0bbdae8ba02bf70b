"""Where a flow transformer starts when it starts from nothing."""

from __future__ import annotations

import torch
from torch import nn

from recast.flow.layers import Embedder, Modulate, RMSNorm
from recast.flow.transformer import FlowTransformer
from recast.train.objective import generator


@torch.no_grad()
def initialise(flow: FlowTransformer, seed: int) -> FlowTransformer:
    """The same network with fresh weights, in place: every block passes its input on, and the velocity is 0.

    Matrices Xavier-uniform, those of embedders normal with 0.02, biases 0, norms 1; modulations and the last layer
    0, so that a block begins to act as training opens its gates. Each parameter is drawn by the seed and its name, so
    a network with another depth starts the same where it is the same.
    Source: Peebles & Xie 2022 (arXiv 2212.09748), section 3.2 (adaLN-Zero).
    """
    for name, module in flow.named_modules():
        if isinstance(module, RMSNorm):
            module.scale.fill_(1.0)
        if not isinstance(module, nn.Linear):
            continue
        if module.bias is not None:
            module.bias.zero_()
        parent = flow.get_submodule(name.rpartition(".")[0])
        draws = generator(seed, 0, name)
        if isinstance(parent, Modulate) or name.startswith("final_layer"):
            module.weight.zero_()
        elif isinstance(parent, Embedder):
            nn.init.normal_(module.weight, std=0.02, generator=draws)
        else:
            nn.init.xavier_uniform_(module.weight, generator=draws)
    return flow
