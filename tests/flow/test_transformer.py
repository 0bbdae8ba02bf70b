"""The transformer: golden embeddings, positions, and what each input may and may not reach."""

import pytest
import torch
from torch.nn import functional as F

from recast.errors import ConfigError, ShapeError
from recast.flow.layers import DoubleStreamBlock, SingleStreamBlock, gelu, rotary_table, rotate, sinusoid
from recast.flow.sampler import euler
from recast.flow.schedule import times
from recast.latents.tokens import positions
from tests.tiny import tiny_flow

GRID = (3, 4)


def inputs(seed: int = 0, *, contexts: tuple[tuple[int, int], ...] = ((2, 5), (4, 2)), batch: int = 1):
    """x, t and the keyword arguments of `condition` for a target of GRID and context images of these grids."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    given = {
        "positions": positions(GRID),
        "text": draw(batch, 7, 24),
        "pooled": draw(batch, 24),
        "guidance": torch.full((batch,), 2.5),
    }
    if contexts:
        given["context"] = torch.cat([draw(batch, h * w, 64) for h, w in contexts], dim=1)
        given["context_positions"] = torch.cat(
            [positions(grid, index=k) for k, grid in enumerate(contexts, start=1)], dim=1
        )
    return draw(batch, GRID[0] * GRID[1], 64), torch.full((batch,), 0.6), given


def test_sinusoid_golden_values():
    e = sinusoid(torch.tensor([0.5]))[0]
    assert [e[i].item() for i in (0, 1, 127)] == pytest.approx([-0.883849, 0.945946, 0.998557], abs=1e-5)
    assert [e[i].item() for i in (128, 129, 255)] == pytest.approx([-0.467772, 0.324325, 0.053705], abs=1e-5)


def test_in_bf16_a_guidance_of_two_and_a_half_is_2496():
    """The product with 1000 is rounded to bf16 before the angles are taken: the published weights have learned it."""
    frequencies = torch.exp(-torch.log(torch.tensor(10_000.0)) * torch.arange(128) / 128)
    expected = torch.cat([(2496 * frequencies).cos(), (2496 * frequencies).sin()]).bfloat16()
    torch.testing.assert_close(sinusoid(torch.tensor([2.5], dtype=torch.bfloat16))[0], expected, rtol=0, atol=0.02)


def test_rotary_golden_values():
    table = rotary_table(torch.tensor([[[1.0, 3.0, 5.0]]]), (16, 56, 56), 10_000)[0, 0, 0]
    golden = {
        0: (0.540302, 0.841471),
        1: (0.950415, 0.310984),
        8: (-0.989992, 0.14112),
        9: (-0.554915, 0.831907),
        36: (0.283662, -0.958924),
        63: (1.0, 0.000695),
    }
    for pair, (cos, sin) in golden.items():
        assert (table[pair].real.item(), table[pair].imag.item()) == pytest.approx((cos, sin), abs=1e-5)


def test_rotation_turns_interleaved_pairs():
    """out[2p] = cos x[2p] - sin x[2p+1]; out[2p+1] = sin x[2p] + cos x[2p+1]."""
    x = torch.randn(1, 2, 3, 8, dtype=torch.float64).float()
    angle = torch.randn(1, 1, 3, 4)
    out = rotate(x, torch.polar(torch.ones_like(angle), angle))
    torch.testing.assert_close(out[..., 0::2], angle.cos() * x[..., 0::2] - angle.sin() * x[..., 1::2])
    torch.testing.assert_close(out[..., 1::2], angle.sin() * x[..., 0::2] + angle.cos() * x[..., 1::2])


def test_attention_sees_relative_positions_only():
    """The product of two rotated vectors depends on the difference of their positions."""
    q, k = torch.randn(2, 1, 1, 1, 16)

    def product(a: float, b: float) -> float:
        turned = [rotate(v, rotary_table(torch.tensor([[[0.0, p, 0.0]]]), (4, 8, 4), 100)) for v, p in ((q, a), (k, b))]
        return (turned[0] * turned[1]).sum().item()

    assert product(3, 1) == pytest.approx(product(9, 7), abs=1e-5)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-3)


@pytest.mark.parametrize("grad", [False, True])
def test_the_written_out_gelu_is_the_library_s(grad: bool):
    x = torch.linspace(-8, 8, 4001)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(gelu(x), F.gelu(x, approximate="tanh"), rtol=0, atol=1e-6)


def test_the_velocity_is_that_of_the_target_tokens():
    x, t, given = inputs()
    model = tiny_flow()
    assert model(x, t, model.condition(**given)).shape == x.shape


@pytest.mark.parametrize("mode", ["full", "cached"])
def test_reading_the_target_rows_alone_equals_the_whole_last_block(mode: str, monkeypatch):
    """The last block leaves out rows that nobody reads, and that changes nothing."""
    x, t, given = inputs()
    model = tiny_flow(context_attention=mode)
    short = model(x, t, model.condition(**given))
    forward = SingleStreamBlock.forward

    def whole(self, x, vector, rotary, context=None, rows=slice(None)):
        out, kept = forward(self, x, vector, rotary, context)
        return out[:, rows], kept

    monkeypatch.setattr(SingleStreamBlock, "forward", whole)
    torch.testing.assert_close(model(x, t, model.condition(**given)), short, rtol=0, atol=2e-6)


@pytest.mark.parametrize("mode", ["full", "cached"])
@pytest.mark.parametrize("changed", ["text", "pooled", "guidance", "context"])
def test_every_input_reaches_the_velocity(mode: str, changed: str):
    x, t, given = inputs()
    model = tiny_flow(context_attention=mode)
    before = model(x, t, model.condition(**given))
    after = model(x, t, model.condition(**{**given, changed: given[changed] + 0.5}))
    assert (before - after).abs().max() > 1e-3


def test_context_images_are_told_apart_by_their_virtual_time():
    """Two images of one size, exchanged: the same tokens at other positions give another velocity."""
    x, t, given = inputs(contexts=((3, 4), (3, 4)))
    model = tiny_flow()
    first, second = given["context"].chunk(2, dim=1)
    swapped = {**given, "context": torch.cat([second, first], dim=1)}
    before, after = (model(x, t, model.condition(**g)) for g in (given, swapped))
    assert (before - after).abs().max() > 1e-3
    moved = {**swapped, "context_positions": torch.cat(given["context_positions"].chunk(2, dim=1)[::-1], dim=1)}
    torch.testing.assert_close(model(x, t, model.condition(**moved)), before, rtol=0, atol=1e-5)


def test_no_context_is_the_same_path_as_an_empty_one():
    x, t, given = inputs(contexts=())
    model = tiny_flow()
    empty = {**given, "context": torch.zeros(1, 0, 64), "context_positions": torch.zeros(1, 0, 3)}
    torch.testing.assert_close(
        model(x, t, model.condition(**given)), model(x, t, model.condition(**empty)), rtol=0, atol=1e-6
    )


def masked_reference(model, x, t, given):
    """Cached attention as one joint pass, written independently of the cache: a mask, and two vectors.

    Sequence [text | target | context]; context rows see context columns alone, and are modulated by t = 0 without
    text or guidance; all other rows see everything.
    """
    text, context = given["text"], given["context"]
    m, n, r = text.shape[1], x.shape[1], context.shape[1]
    mask = torch.ones(m + n + r, m + n + r, dtype=torch.bool)
    mask[m + n :, : m + n] = False
    places = torch.cat([torch.zeros(1, m, 3), given["positions"], given["context_positions"]], dim=1)
    rotary = rotary_table(places, model.config.axes_dim, model.config.theta)
    vector = model.time_in(sinusoid(t)) + model.guidance_in(sinusoid(given["guidance"]))
    vector = vector + model.vector_in(given["pooled"])
    still = model.time_in(sinusoid(torch.zeros_like(t)))
    heads = model.config.num_heads

    def norm(h):
        return F.layer_norm(h, h.shape[-1:], eps=1e-6)

    def parts(modulate, count, lengths):
        """`count` x (shift, scale, gate) for every row: from `vector`, and for context rows from `still`."""
        moving, fixed = (modulate.lin(F.silu(v)).chunk(3 * count, dim=-1) for v in (vector, still))
        return [
            torch.cat([a[:, None].expand(-1, lengths[0], -1), b[:, None].expand(-1, lengths[1], -1)], dim=1)
            for a, b in zip(moving, fixed, strict=True)
        ]

    def attend(q, k, v):
        q, k = rotate(q, rotary), rotate(k, rotary)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    words, image = model.txt_in(text), model.img_in(torch.cat([x, context], dim=1))
    for block in model.double_blocks:
        a = parts(block.txt_mod, 2, (m, 0))
        b = parts(block.img_mod, 2, (n, r))
        qkv_text = block.txt_attn((1 + a[1]) * norm(words) + a[0])
        qkv_image = block.img_attn((1 + b[1]) * norm(image) + b[0])
        out = attend(*(torch.cat(pair, dim=2) for pair in zip(qkv_text, qkv_image, strict=True)))
        words = words + a[2] * block.txt_attn.proj(out[:, :m])
        words = words + a[5] * block.txt_mlp((1 + a[4]) * norm(words) + a[3])
        image = image + b[2] * block.img_attn.proj(out[:, m:])
        image = image + b[5] * block.img_mlp((1 + b[4]) * norm(image) + b[3])
    joint = torch.cat([words, image], dim=1)
    for block in model.single_blocks:
        shift, scale, gate = parts(block.modulation, 1, (m + n, r))
        qkv, hidden = block.linear1((1 + scale) * norm(joint) + shift).split(block.widths, dim=-1)
        out = attend(*block.norm(qkv, heads))
        joint = joint + gate * block.linear2(torch.cat([out, F.gelu(hidden, approximate="tanh")], dim=-1))
    return model.final_layer(joint[:, m : m + n], vector)


def test_the_cache_equals_a_masked_joint_pass():
    x, t, given = inputs()
    model = tiny_flow(context_attention="cached")
    torch.testing.assert_close(
        model(x, t, model.condition(**given)), masked_reference(model, x, t, given), rtol=0, atol=1e-5
    )


def test_sampling_with_the_cache_equals_sampling_without_it():
    """Keys and values made once and reused in every step, against a joint pass that recomputes them at each."""
    x, _, given = inputs()
    model = tiny_flow(context_attention="cached")
    once = model.condition(**given)
    grid = times(8, mu=0.5)

    def at(time: float) -> torch.Tensor:
        return torch.full((1,), time)

    *_, with_cache = euler(lambda x, time: model(x, at(time), once), x, grid)
    *_, without = euler(lambda x, time: masked_reference(model, x, at(time), given), x, grid)
    torch.testing.assert_close(with_cache.x, without.x, rtol=0, atol=1e-5)


def test_the_cache_depends_on_the_pictures_alone():
    _, _, given = inputs()
    model = tiny_flow(context_attention="cached")
    before = model.condition(**given).context
    other = {**given, "text": given["text"] + 1, "pooled": given["pooled"] - 1, "guidance": given["guidance"] + 3}
    for (k, v), (k2, v2) in zip(before, model.condition(**other).context, strict=True):
        assert torch.equal(k, k2)
        assert torch.equal(v, v2)


def test_cached_and_full_are_different_models():
    x, t, given = inputs()
    full, cached = tiny_flow(), tiny_flow(context_attention="cached")
    difference = full(x, t, full.condition(**given)) - cached(x, t, cached.condition(**given))
    assert difference.abs().max() > 1e-3


def test_one_cache_serves_a_batch_of_variants():
    _, _, given = inputs()
    model = tiny_flow(context_attention="cached")
    condition = model.condition(**given)
    x = torch.randn(3, GRID[0] * GRID[1], 64)
    together = model(x, torch.full((3,), 0.4), condition)
    for i in range(3):
        alone = model(x[i : i + 1], torch.full((1,), 0.4), condition)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


def test_an_item_of_a_batch_is_that_item_alone():
    x, t, given = inputs(batch=3)
    model = tiny_flow()
    together = model(x, t, model.condition(**given))
    alone = {k: v[2:3] if v.shape[0] == 3 else v for k, v in given.items()}
    torch.testing.assert_close(together[2:3], model(x[2:3], t[2:3], model.condition(**alone)), rtol=0, atol=1e-5)


def test_another_prompt_shares_everything_but_its_text():
    x, t, given = inputs()
    model = tiny_flow()
    other = {**given, "text": torch.randn(1, 7, 24), "pooled": torch.randn(1, 24)}
    shared = model.with_text(model.condition(**given), other["text"], other["pooled"])
    torch.testing.assert_close(model(x, t, shared), model(x, t, model.condition(**other)), rtol=0, atol=1e-6)


def test_each_block_attends_through_a_seam():
    x, t, given = inputs()
    model = tiny_flow()
    calls = []
    for block in model.modules():
        if isinstance(block, DoubleStreamBlock | SingleStreamBlock):
            plain = block.attend
            block.attend = lambda q, k, v, plain=plain: calls.append(q.shape) or plain(q, k, v)
    model(x, t, model.condition(**given))
    assert len(calls) == len(model.double_blocks) + len(model.single_blocks)


def test_fill_and_control_take_extra_channels_beside_the_target():
    """in_channels 128 (Control) and 384 (Fill): the condition rides on the channels of every target token."""
    for channels in (128, 384):
        x, t, given = inputs(contexts=())
        model = tiny_flow(in_channels=channels)
        extra = torch.randn(1, x.shape[1], channels - 64)
        out = model(x, t, model.condition(**given, extra=extra))
        assert out.shape == x.shape
        assert (out - model(x, t, model.condition(**given, extra=extra + 1))).abs().max() > 1e-3
        with pytest.raises(ConfigError, match="extra: missing"):
            model.condition(**given)


def test_room_is_left_for_the_next_generation():
    """Four position axes, no pooled vector, no guidance, another theta: numbers in the config, not other code."""
    model = tiny_flow(axes_dim=(4, 4, 4, 4), vec_in_dim=None, guidance_embed=False, theta=2000, qkv_bias=False)
    places = F.pad(positions(GRID), (0, 1))
    x = torch.randn(1, 12, 64)
    out = model(x, torch.tensor([0.5]), model.condition(positions=places, text=torch.randn(1, 5, 24)))
    assert out.shape == x.shape
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pooled": None}, ConfigError, "pooled: missing"),
        ({"guidance": None}, ConfigError, "guidance: missing"),
        ({"extra": torch.zeros(1, 12, 64)}, ConfigError, "extra: got a tensor"),
        ({"context_positions": None}, ConfigError, "context_positions: missing"),
        ({"positions": torch.zeros(1, 12, 2)}, ShapeError, "positions: 3 axes needed"),
        ({"context": torch.zeros(1, 18, 16)}, ShapeError, "context: tokens of 64 channels"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_by_name(change, error, message):
    _, _, given = inputs()
    with pytest.raises(error, match=message):
        tiny_flow().condition(**{**given, **change})


def test_a_time_that_would_broadcast_is_refused():
    x, _, given = inputs()
    model = tiny_flow()
    with pytest.raises(ShapeError, match="t: one time per sample"):
        model(x, torch.tensor([0.5, 0.5]), model.condition(**given))


def test_gradients_reach_every_parameter():
    """Nothing is detached or left out on the way: a training step would move each weight."""
    x, t, given = inputs()
    model = tiny_flow().requires_grad_(True)
    model(x, t, model.condition(**given)).square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []
