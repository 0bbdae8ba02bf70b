"""A loop to a file that a platform takes: WebP or MP4, the best that its limit of bytes allows."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from recast.errors import ConfigError, GateFailed
from recast.pixels import image
from recast.thumbnails.animate import Loop
from recast.thumbnails.profiles import MB
from recast.thumbnails.stages import sha256

LIMITS = {".webp": 5 * MB, ".mp4": 8 * MB}
"""Bytes, where none are given."""
THINNED = (1, 2, 3)
"""Every frame, every second or every third: tried in this order once no quality is small enough."""
WEBP_QUALITIES = (90, 80, 70, 60, 50, 40)
CRF = (16, 20, 24, 28, 32, 36)
"""Of H.264, from hardly any loss to clearly visible."""
CODECS = ("libx264", "libopenh264", "mpeg4")
"""The first that PyAV was built with is taken; players know the first two as H.264."""
SHARES = (0.9, 0.6, 0.35, 0.2)
"""Of the limit, as the rate that a codec without constant quality is asked for."""
BT709 = 1
"""Primaries, transfer and matrix, as H.264 (ITU-T H.264, annex E) numbers them."""


@dataclass(frozen=True, kw_only=True)
class Animated:
    """A file that was written, and how its size was reached. quality: of WebP; crf: of H.264; rate: bits a second."""

    file: str
    format: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    bytes: int
    limit_bytes: int
    sha256: str
    codec: str | None = None
    quality: int | None = None
    crf: int | None = None
    rate: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def kind_of(path: Path) -> str:
    """The suffix of a loop's file. Raises ConfigError for another than .webp and .mp4, or without PyAV for .mp4."""
    suffix = path.suffix.lower()
    if suffix not in LIMITS:
        raise ConfigError(f"out={str(path)!r}: .webp or .mp4 accepted; end the name so")
    if suffix == ".mp4":
        _codec(None)
    return suffix


def write(loop: Loop, path: Path, *, limit_bytes: int | None = None, codec: str | None = None) -> Animated:
    """Write the loop: the best quality within the limit (usual: LIMITS), then fewer frames of the same length.

    Pixels that stand still do so before compression; codecs spend next to nothing on them, and may move them by a
    level. WebP repeats by itself; MP4 where its player is told to. codec: of CODECS, None for the first there is.
    Raises ConfigError like `kind_of`, GateFailed where nothing tried is small enough.
    """
    kind = kind_of(path)
    limit = LIMITS[kind] if limit_bytes is None else limit_bytes
    smallest: int | None = None
    for data, said in _webps(loop) if kind == ".webp" else _mp4s(loop, limit, _codec(codec)):
        if len(data) <= limit:
            image.write_bytes(data, path)
            written = sha256(path)
            assert written is not None
            height, width = loop.frames[0].shape[:2]
            every = said.pop("every")
            return Animated(
                file=path.name,
                format=kind.removeprefix("."),
                width=width,
                height=height,
                frames=len(loop.frames) // every,
                fps=loop.fps / every,
                seconds=loop.seconds,
                bytes=len(data),
                limit_bytes=limit,
                sha256=written,
                **said,
            )
        smallest = len(data) if smallest is None else min(smallest, len(data))
    raise GateFailed(
        f"{path.name}: {smallest:,} bytes is the smallest try; {limit:,} accepted; make it narrower, or shorter"
    )


def _webps(loop: Loop) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for every in THINNED:
        ends = [round(1000 * i / loop.fps) for i in range(0, len(loop.frames) + 1, every)]
        runs: list[tuple[Image.Image, int]] = []
        last = None
        for frame, (start, end) in zip(loop.frames[::every], pairwise(ends), strict=True):
            if frame is last:  # a key picture that is held: one frame that lasts
                runs[-1] = runs[-1][0], runs[-1][1] + end - start
            else:
                runs.append((Image.fromarray(frame), end - start))
            last = frame
        (first, *rest), durations = [each for each, _ in runs], [ms for _, ms in runs]
        for quality in WEBP_QUALITIES:
            file = io.BytesIO()
            first.save(
                file,
                "WEBP",
                save_all=True,
                append_images=rest,
                duration=durations,
                loop=0,
                quality=quality,
                **image.metadata("WEBP", None),
            )
            yield file.getvalue(), {"every": every, "quality": quality}


def _mp4s(loop: Loop, limit: int, codec: str) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for every in THINNED:
        if codec == "libx264":
            for crf in CRF:
                data = _mp4(loop, every, codec, options={"crf": str(crf), "preset": "slow"})
                yield data, {"every": every, "codec": codec, "crf": crf}
        else:
            for share in SHARES:
                rate = int(8 * limit * share / loop.seconds)
                yield _mp4(loop, every, codec, rate=rate), {"every": every, "codec": codec, "rate": rate}


def _mp4(
    loop: Loop, every: int, codec: str, *, options: dict[str, str] | None = None, rate: int | None = None
) -> bytes:
    """The bytes of an MP4 in yuv420p, BT.709, with its index in front, so that it plays while it loads."""
    import av

    height, width = loop.frames[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:  # the index is moved by reading the file again, by its name
        path = Path(folder) / "loop.mp4"
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            stream: Any = container.add_stream(codec, rate=Fraction(loop.fps, every), options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            if rate is not None:
                stream.bit_rate = rate
            context = stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = BT709
            context.color_range = 1  # 16..235, as players expect
            for frame in loop.frames[::every]:
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                planes = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
                container.mux(stream.encode(planes))
            container.mux(stream.encode())
        return path.read_bytes()


def _codec(wanted: str | None) -> str:
    """The codec to use. Raises ConfigError without PyAV or the codec."""
    try:
        import av
    except ImportError:
        raise ConfigError("out: .mp4 needs PyAV; pip install 'recast[video]', or name a .webp") from None
    found = [name for name in CODECS if name in av.codecs_available]
    if (wanted is not None and wanted not in found) or not found:
        raise ConfigError(f"codec={wanted!r}: PyAV has {', '.join(found) or 'none'} of {', '.join(CODECS)}; use .webp")
    return wanted or found[0]
