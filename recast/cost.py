"""What a picture costs, from a config alone: parameters, FLOPs and bytes. Nothing is loaded, and torch is not needed.

Three kinds of numbers, of falling certainty. Parameters are exact. FLOPs count the products (matrix, attention,
convolution; 2 a b c for (a, b) x (b, c)), which `FlopCounterMode` counts too. Bytes count the tensors that are alive
at the same time in `recast.flow.layers` and `recast.latents.autoencoder` as they are written; what an allocator or a
library's workspace adds comes on top, see `Estimate`.

Letters: `n` target tokens, `m` text tokens, `r` context tokens, `s` = n + m + r, `d` width, `h` width inside an MLP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from recast.config import AutoencoderConfig, FlowConfig, ModelConfig

BYTES = {"fp32": 4, "bf16": 2}
BAND_ABOVE_PX, BAND_ROWS = 2 << 20, 64  # as `recast.pipeline`, where importing them would import torch

# Widths of d (or channels) that are alive, per token (or pixel), at the worst moment of a layer.
SINGLE_ALIVE = 21  # text and image 1, x 1, linear1 7, q 1, k 1, attended 1, gelu 4, cat 5
# On a CPU, what a process keeps beside its tensors (`kept_bytes`).
TOUCHED_BYTES = 27 << 20  # 20 MiB of torch's own code, read in by the first product of each kind, and Python's objects
HEAP_BLOCK_BYTES = 32 << 20  # glibc gives blocks of this size back at once: DEFAULT_MMAP_THRESHOLD_MAX in mallopt(3)


# Sizes of text encoders: the published ones, and that of `nano`.


@dataclass(frozen=True, kw_only=True)
class T5Sizes:
    """The sizes of a T5 v1.1 encoder, named as in its `config.json`."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32

    @property
    def per_layer(self) -> int:
        """Weights of the matrices of one layer."""
        return self.d_model * (4 * self.num_heads * self.d_kv + 3 * self.d_ff)

    @property
    def parameters(self) -> int:
        norms = (2 * self.num_layers + 1) * self.d_model
        bias = self.relative_attention_num_buckets * self.num_heads
        return self.vocab_size * self.d_model + self.num_layers * self.per_layer + norms + bias

    def flops(self, tokens: int) -> int:
        attention = 4 * tokens**2 * self.num_heads * self.d_kv
        return self.num_layers * (2 * tokens * self.per_layer + attention)


@dataclass(frozen=True, kw_only=True)
class ClipSizes:
    """The sizes of CLIP's text encoder."""

    vocab_size: int = 49_408
    width: int = 768
    num_layers: int = 12
    length: int = 77

    @property
    def parameters(self) -> int:
        d = self.width
        layer = 4 * (d * d + d) + 2 * 4 * d * d + 4 * d + d + 4 * d
        return (self.vocab_size + self.length) * d + self.num_layers * layer + 2 * d

    def flops(self, tokens: int) -> int:
        return self.num_layers * (2 * tokens * 12 * self.width**2 + 4 * tokens**2 * self.width)


T5_XXL = T5Sizes(vocab_size=32_128, d_model=4096, d_kv=64, d_ff=10_240, num_layers=24, num_heads=64)
BYTE_T5 = T5Sizes(vocab_size=384, d_model=192, d_kv=32, d_ff=512, num_layers=4, num_heads=6)
CLIP_L = ClipSizes()


def text_encoders(config: ModelConfig) -> dict[str, tuple[T5Sizes | ClipSizes, int]]:
    """The text encoders of a model and how many tokens each reads."""
    if config.text.kind == "byte_t5":
        return {"byte_t5": (BYTE_T5, config.text.max_length)}
    return {"t5": (T5_XXL, config.text.max_length), "clip": (CLIP_L, config.text.clip_length)}


# Parameters: exact.


def flow_parameters(config: FlowConfig) -> int:
    """How many numbers a flow transformer holds."""
    d, h = config.hidden_size, config.mlp_hidden
    bias = int(config.qkv_bias)
    stream = _linear(d, 6 * d) + _linear(d, 3 * d, bias) + 2 * config.head_dim + _linear(d, d)
    double = 2 * (stream + _linear(d, h) + _linear(h, d))
    single = _linear(d, 3 * d) + _linear(d, 3 * d + h, bias) + _linear(d + h, d) + 2 * config.head_dim
    embedders = [256, *([256] if config.guidance_embed else []), *([config.vec_in_dim] if config.vec_in_dim else [])]
    stem = _linear(config.in_channels, d) + _linear(config.context_in_dim, d)
    stem += sum(_linear(width, d) + _linear(d, d) for width in embedders)
    head = _linear(d, config.out_channels) + _linear(d, 2 * d)
    return stem + config.depth * double + config.depth_single_blocks * single + head


def autoencoder_parameters(config: AutoencoderConfig) -> int:
    """How many numbers an autoencoder holds."""
    layers = [*_encoder(config), *_decoder(config)]
    return sum(layer.parameters for layer in layers)


# FLOPs.


class Work(NamedTuple):
    """FLOPs by kind, since each kind runs at a rate of its own."""

    linear: int = 0
    attention: int = 0
    convolution: int = 0

    @property
    def total(self) -> int:
        return sum(self)

    def plus(self, other: Work) -> Work:
        return Work(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def times(self, count: int) -> Work:
        return Work(*(count * number for number in self))


def step_work(config: FlowConfig, *, target: int, text: int, context: int = 0, batch: int = 1) -> Work:
    """One evaluation of the flow transformer. After its first matrix, the last block has the target's rows alone."""
    d, h, n = config.hidden_size, config.mlp_hidden, target
    is_cached = config.context_attention == "cached"
    s = n + text + (0 if is_cached else context)  # rows
    keys = n + text + context
    blocks = config.depth + config.depth_single_blocks
    per_token = 4 * d * d + 2 * d * h
    linear = (blocks - 1) * 2 * s * per_token
    linear += 2 * s * (3 * d * d + d * h) + 2 * n * (d * d + d * h)  # the last block
    linear += 2 * d * d * (12 * config.depth + 3 * config.depth_single_blocks + 2)  # modulations, of one row
    linear += 2 * (256 * d + d * d) + 2 * n * d * (config.in_channels + config.out_channels)
    attention = 4 * d * keys * ((blocks - 1) * s + n)
    return Work(linear=batch * linear, attention=batch * attention)


def condition_work(config: FlowConfig, *, text: int, context: int = 0) -> Work:
    """What is computed once for a request: embedded text and context, and in cached mode the context's keys."""
    d, h, r = config.hidden_size, config.mlp_hidden, context
    linear = 2 * text * config.context_in_dim * d
    linear += 2 * (config.vec_in_dim * d + d * d) if config.vec_in_dim else 0
    linear += 2 * (256 * d + d * d) if config.guidance_embed else 0
    linear += 2 * r * config.in_channels * d
    if not r or config.context_attention != "cached":
        return Work(linear=linear)
    blocks = config.depth + config.depth_single_blocks
    linear += 2 * (256 * d + d * d) + blocks * 2 * r * (4 * d * d + 2 * d * h)
    linear += 2 * d * d * (6 * config.depth + 3 * config.depth_single_blocks)
    return Work(linear=linear, attention=blocks * 4 * d * r * r)


def encode_work(config: AutoencoderConfig, *, width: int, height: int) -> Work:
    """Pixels to latents."""
    return _convolutions(config, _encoder(config), width, height)


def decode_work(config: AutoencoderConfig, *, width: int, height: int) -> Work:
    """Latents to pixels."""
    return _convolutions(config, _decoder(config), width, height)


# Bytes alive at once.


def step_bytes(
    config: FlowConfig, *, target: int, text: int, context: int = 0, batch: int = 1, item: int = 4, texts: int = 1
) -> int:
    """The peak of one evaluation, with what the request keeps for all of them. item: bytes a number."""
    d = config.hidden_size
    blocks = config.depth + config.depth_single_blocks
    is_cached = config.context_attention == "cached"
    rows = target + text + (0 if is_cached else context)
    alive = SINGLE_ALIVE * rows
    if is_cached:  # before the worst moment, keys and values of rows and context side by side
        alive = max(alive, alive - 8 * rows + 2 * (rows + context))
    kept = (texts * text + (2 * blocks if is_cached else 1) * context) * d * item
    kept += rows * config.head_dim // 2 * 8  # rotary positions, complex64
    state = 4 * batch * target * config.out_channels * 4  # x, its successor, two velocities: always fp32
    return batch * alive * d * item + kept + state


def encode_bytes(config: AutoencoderConfig, *, width: int, height: int, rows: int | None = None, item: int = 4) -> int:
    """The peak of encoding one picture. rows: of a band; None for `BAND_ROWS` above `BAND_ABOVE_PX`, else all."""
    widths, band = _widths(config), _band_share(width, height, rows)
    numbers = []
    for level, inner in enumerate(widths):
        before = widths[max(level - 1, 0)]
        numbers.append(width * height / 4**level * max(_block(before, inner, band), _block(inner, inner, band)))
    return int(item * (max(numbers) + config.in_channels * width * height))


def decode_bytes(config: AutoencoderConfig, *, width: int, height: int, rows: int | None = None, item: int = 4) -> int:
    """The peak of decoding one picture. rows: as in `encode_bytes`."""
    widths, band = _widths(config), _band_share(width, height, rows)
    numbers = []
    for level, inner in enumerate(widths):
        before = widths[min(level + 1, len(widths) - 1)]
        places = width * height / 4**level
        numbers.append(places * max(_block(before, inner, band), _block(inner, inner, band)))
        if level > 0:  # the doubling at its end: four times the places, and a convolution of those
            doubled = 2 * 4 * inner if band == 1 else 4 * inner * (1 + 3 * band)
            numbers.append(places * (inner + doubled))
    return int(item * max(numbers))


def graph_bytes(config: AutoencoderConfig, part: Literal["encoder", "decoder"], *, width: int, height: int) -> int:
    """What a gradient through the frozen encoder or decoder keeps of one picture, in fp32: inputs of its layers.

    A norm keeps what it reads and what the SiLU after it reads, a convolution or a product what it reads.
    """
    numbers = 0
    for layer in _encoder(config) if part == "encoder" else _decoder(config):
        places = width // layer.shrink * (height // layer.shrink)
        numbers += places * layer.width_in * (2 if layer.kernel == 0 else 3 if layer.kernel < 0 else 1)
    return 4 * numbers


# The whole of a request.


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: sizes are those the model works at, multiples of a token."""

    width: int
    height: int
    contexts: tuple[tuple[int, int], ...] = ()  # (width, height) of each context picture
    evaluations: int = 28  # network calls a picture, by the sampler alone
    true_guidance: float = 1.0  # other than 1, every call is two
    num_images: int = 1
    batch_size: int = 1
    dtype: str = "fp32"  # of the transformer and the text encoder; the autoencoder is in fp32


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a request costs.

    parameters are exact. weights_bytes are what they fill, in the request's dtype. step_bytes, encode_bytes and
    decode_bytes are tensors alive at once; `peak_bytes` is the weights and the worst of the three. Not in it: Python
    and torch themselves, and what a library's workspace and the allocator's gaps add; `kept_bytes` is that on a CPU.
    """

    tokens: dict[str, int]
    parameters: dict[str, int]
    weights_bytes: dict[str, int]
    step_bytes: int
    encode_bytes: int
    decode_bytes: int
    kept_bytes: int
    text: Work
    condition: Work
    encode: Work
    step: Work  # one evaluation of one batch
    evaluations: int  # of a batch, in all
    decode: Work  # all pictures

    @property
    def peak_bytes(self) -> int:
        return sum(self.weights_bytes.values()) + self.activation_bytes

    @property
    def activation_bytes(self) -> int:
        return max(self.step_bytes, self.encode_bytes, self.decode_bytes)

    @property
    def sampling(self) -> Work:
        return self.step.times(self.evaluations)


def estimate(config: ModelConfig, request: Request) -> Estimate:
    """The cost of a request, before anything is loaded."""
    side, item = config.pixels_per_token, BYTES[request.dtype]
    target = request.width // side * (request.height // side)
    context = sum(width // side * (height // side) for width, height in request.contexts)
    text = config.text.max_length
    batch = min(request.batch_size, request.num_images)
    passes = 1 if request.true_guidance == 1.0 else 2
    encoders = text_encoders(config)
    parameters = {
        "flow": flow_parameters(config.flow),
        "autoencoder": autoencoder_parameters(config.autoencoder),
        **{name: sizes.parameters for name, (sizes, _) in encoders.items()},
    }
    counts = {"target": target, "text": text, "context": context}
    encode = Work()
    for width, height in request.contexts:
        encode = encode.plus(encode_work(config.autoencoder, width=width, height=height))
    decode = decode_work(config.autoencoder, width=request.width, height=request.height)
    return Estimate(
        tokens=counts,
        parameters=parameters,
        weights_bytes={n: count * (4 if n == "autoencoder" else item) for n, count in parameters.items()},
        step_bytes=step_bytes(config.flow, **counts, batch=batch, item=item, texts=passes),
        encode_bytes=max((encode_bytes(config.autoencoder, width=w, height=h) for w, h in request.contexts), default=0),
        decode_bytes=decode_bytes(config.autoencoder, width=request.width, height=request.height),
        kept_bytes=kept_bytes(config, request),
        text=Work(linear=passes * sum(sizes.flops(tokens) for sizes, tokens in encoders.values())),
        condition=condition_work(config.flow, text=passes * text, context=context),
        encode=encode,
        step=step_work(config.flow, **counts, batch=batch),
        evaluations=passes * request.evaluations * -(-request.num_images // batch),
        decode=decode.times(request.num_images),
    )


def resident_bytes(cost: Estimate, device: str) -> int:
    """What a request occupies on a device: `peak_bytes`, and on a CPU what the process keeps beside."""
    return cost.peak_bytes + (cost.kept_bytes if device.startswith("cpu") else 0)


def kept_bytes(config: ModelConfig, request: Request) -> int:
    """What a process keeps beside its tensors on a CPU: pages of code, and what glibc's allocator cannot give back.

    Two kinds of holes in its heap. The autoencoder's weights as they were read, in pieces too small for a picture,
    after `Pipeline` has put them into the order that convolutions like. And places of the largest block that is not
    given back at once: of a residual block's four that are alive, two are made anew while they lie beside their own
    holes, which an aligned block of the same size does not fit into, so that it takes six places; and after
    encoding, whose holes the convolutions' own small blocks keep apart, one more. Where a further picture has another
    shape, its blocks do not fit into the holes of the first, and there are twice as many; of a third they do.
    """
    pictures = [(request.width, request.height), *request.contexts]
    places = 2 if not request.contexts else 3 if len({*pictures}) == 1 else 6
    place = max(heap_blocks(config.autoencoder, pictures, 4), default=0)
    return TOUCHED_BYTES + 4 * autoencoder_parameters(config.autoencoder) + places * place


def heap_blocks(config: AutoencoderConfig, pictures: Sequence[tuple[int, int]], item: int) -> list[int]:
    """The bytes of one tensor of each level of the autoencoder, of pictures (width, height): those in glibc's heap."""
    sizes = [
        width * height // 4**level * channels * item
        for width, height in pictures
        for level, channels in enumerate(_widths(config))
    ]
    return [size for size in sizes if size < HEAP_BLOCK_BYTES]


# The layers of the autoencoder, as arithmetic.


class _Layer(NamedTuple):
    """A convolution whose output has 1/shrink of the picture's side; or a norm (kernel 0), or attention (-1)."""

    width_in: int
    width_out: int
    kernel: int
    shrink: int

    @property
    def parameters(self) -> int:
        if self.kernel == 0:
            return 2 * self.width_in
        return 0 if self.kernel < 0 else self.kernel**2 * self.width_in * self.width_out + self.width_out


def _convolutions(config: AutoencoderConfig, layers: Iterator[_Layer], width: int, height: int) -> Work:
    convolution = attention = 0
    for layer in layers:
        pixels = width // layer.shrink * (height // layer.shrink)
        if layer.kernel > 0:
            convolution += 2 * pixels * layer.kernel**2 * layer.width_in * layer.width_out
        elif layer.kernel < 0:
            attention += 4 * pixels**2 * layer.width_in
    return Work(convolution=convolution, attention=attention)


def _encoder(config: AutoencoderConfig) -> Iterator[_Layer]:
    widths = _widths(config)
    yield _Layer(config.in_channels, config.ch, 3, 1)
    width = config.ch
    for level, inner in enumerate(widths):
        shrink = 2**level
        for _ in range(config.num_res_blocks):
            yield from _resnet(width, inner, shrink)
            width = inner
        if level < len(widths) - 1:
            yield _Layer(inner, inner, 3, 2 * shrink)
    yield from _middle(width, shrink)
    yield _Layer(width, width, 0, shrink)
    yield _Layer(width, 2 * config.z_channels, 3, shrink)


def _decoder(config: AutoencoderConfig) -> Iterator[_Layer]:
    widths = _widths(config)
    width, shrink = widths[-1], config.downscale
    yield _Layer(config.z_channels, width, 3, shrink)
    yield from _middle(width, shrink)
    for level in reversed(range(len(widths))):
        for _ in range(config.num_res_blocks + 1):
            yield from _resnet(width, widths[level], shrink)
            width = widths[level]
        if level > 0:
            shrink //= 2
            yield _Layer(width, width, 3, shrink)
    yield _Layer(width, width, 0, 1)
    yield _Layer(width, config.out_ch, 3, 1)


def _middle(width: int, shrink: int) -> Iterator[_Layer]:
    yield from _resnet(width, width, shrink)
    yield _Layer(width, width, 0, shrink)
    yield _Layer(width, width, -1, shrink)
    for _ in range(4):  # q, k, v, projection
        yield _Layer(width, width, 1, shrink)
    yield from _resnet(width, width, shrink)


def _resnet(width_in: int, width_out: int, shrink: int) -> Iterator[_Layer]:
    yield _Layer(width_in, width_in, 0, shrink)
    yield _Layer(width_in, width_out, 3, shrink)
    yield _Layer(width_out, width_out, 0, shrink)
    yield _Layer(width_out, width_out, 3, shrink)
    if width_in != width_out:
        yield _Layer(width_in, width_out, 1, shrink)


def _widths(config: AutoencoderConfig) -> list[int]:
    return [config.ch * multiple for multiple in config.ch_mult]


def _block(width_in: int, width_out: int, band: float) -> float:
    """Channels alive per place at the worst moment of a block. band: share of the rows in each band, 1 for all.

    Of a picture in one band, that is its input, normed, and the first convolution's output, or the block's input
    and the second convolution's, normed, and output. In bands, the temporaries are those of one band.
    """
    if band == 1:
        return max(2 * width_in + width_out, 4 * width_out)
    return max(width_in + width_out + band * (2 * width_in + width_out), (2 + 4 * band) * width_out)


def _band_share(width: int, height: int, rows: int | None) -> float:
    if rows is None:
        rows = BAND_ROWS if width * height > BAND_ABOVE_PX else height
    return min(1.0, (rows + 2) / height)


def _linear(width_in: int, width_out: int, bias: int = 1) -> int:
    return width_in * width_out + bias * width_out
