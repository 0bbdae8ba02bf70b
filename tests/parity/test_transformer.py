"""Our transformer against diffusers' FluxTransformer2DModel, on shared random weights, fp32, CPU."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel

from recast import weights
from recast.config import FlowConfig
from recast.flow.transformer import FlowTransformer
from recast.latents.tokens import positions
from tests.tiny import randomise

LIMIT = 1e-5  # outputs reach about 6


def pair(folder: Path, **changes) -> tuple[FluxTransformer2DModel, FlowTransformer]:
    """A diffusers network with random weights, and ours, read from the files that diffusers wrote."""
    sizes = {"in_channels": 64, "num_layers": 2, "num_single_layers": 3, "attention_head_dim": 16,
             "num_attention_heads": 3, "joint_attention_dim": 24, "pooled_projection_dim": 20,
             "guidance_embeds": True, "axes_dims_rope": (4, 6, 6)} | changes  # fmt: skip
    theirs = FluxTransformer2DModel(**sizes).eval()
    randomise(theirs, 0)
    theirs.save_pretrained(folder / "transformer", max_shard_size="100KB")
    checkpoint = weights.open_checkpoint(folder, variant="kontext_dev" if sizes["guidance_embeds"] else "schnell")
    assert isinstance(checkpoint.config, FlowConfig)
    with torch.device("meta"):
        ours = FlowTransformer(checkpoint.config)
    weights.load_into(ours, checkpoint)
    return theirs, ours.eval()


@pytest.mark.parametrize("guidance_embeds", [True, False])
@pytest.mark.parametrize("contexts", [(), ((4, 6),), ((2, 5), (6, 3))])
def test_velocities_agree_with_0_1_and_2_context_images(tmp_path, contexts, guidance_embeds):
    theirs, ours = pair(tmp_path, guidance_embeds=guidance_embeds)
    torch.manual_seed(1)
    grid, batch = (4, 5), 2
    n = grid[0] * grid[1]
    x, text, pooled = torch.randn(batch, n, 64), torch.randn(batch, 9, 24), torch.randn(batch, 20)
    t = torch.tensor([0.83, 0.21])
    guidance = torch.tensor([2.5, 3.5]) if guidance_embeds else None
    places = [positions(grid), *(positions(g, index=k) for k, g in enumerate(contexts, start=1))]
    tokens = [torch.randn(batch, g[0] * g[1], 64) for g in contexts]
    with torch.inference_mode():
        expected = theirs(
            hidden_states=torch.cat([x, *tokens], dim=1),
            encoder_hidden_states=text,
            pooled_projections=pooled,
            timestep=t,
            guidance=guidance,
            img_ids=torch.cat(places, dim=1)[0],
            txt_ids=torch.zeros(9, 3),
        ).sample[:, :n]
        condition = ours.condition(
            positions=places[0],
            text=text,
            pooled=pooled,
            guidance=guidance,
            context=torch.cat(tokens, dim=1) if tokens else None,
            context_positions=torch.cat(places[1:], dim=1) if tokens else None,
        )
        got = ours(x, t, condition)
    assert expected.abs().mean() > 0.05, "outputs too small for the limit to mean anything"
    assert (got - expected).abs().max() <= LIMIT


def test_a_wrong_position_would_be_seen(tmp_path):
    """The comparison is not blind to positions: context at axis 0 = 0 moves the velocity far above the limit."""
    _, ours = pair(tmp_path)
    torch.manual_seed(1)
    x, text, context = torch.randn(1, 20, 64), torch.randn(1, 9, 24), torch.randn(1, 20, 64)
    outputs = [
        ours(x, torch.tensor([0.5]), ours.condition(
            positions=positions((4, 5)), text=text, pooled=torch.ones(1, 20), guidance=torch.tensor([2.5]),
            context=context, context_positions=positions((4, 5), index=index),
        ))
        for index in (0, 1)
    ]  # fmt: skip
    assert (outputs[0] - outputs[1]).abs().max() > 100 * LIMIT
