"""What all key pictures share stands still to the byte, keys are shown as they are, files stay within their bytes."""

import io
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from recast.errors import ConfigError, GateFailed, InputError
from recast.pixels import image
from recast.thumbnails import loop_files
from recast.thumbnails.animate import Key, Loop, Timing, along, animate
from recast.thumbnails.keys import read_keys
from tests.thumbnails.finished import HEIGHT, LETTERED_PX, STILL, WIDTH, finished_set, noise
from tests.tiny import tiny_pipeline


def key(seed: int, *, still: bool = True, cover: np.ndarray | None = None) -> Key:
    """Noise with a grey block that all keys have; where covered, white is shown."""
    rgb = noise(seed, still=still)
    cover = np.zeros((HEIGHT, WIDTH), np.float32) if cover is None else cover
    shown = np.where(cover[..., None] > 0, 255, rgb).astype(np.uint8)
    return Key(f"key{seed}", shown, rgb, cover)


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def run(keys, pipeline, **options) -> Loop:
    options.setdefault("timing", Timing(seconds=3, fps=6))
    work = animate(keys, pipeline, **options)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


@pytest.fixture(scope="module")
def loop(pipeline) -> Loop:
    return run([key(1), key(2), key(3)], pipeline)


def test_what_all_keys_share_is_the_same_bytes_in_every_frame(loop):
    assert loop.static[STILL].all()
    assert loop.static.mean() < 0.3
    first = key(1).rgb
    assert all(np.array_equal(frame[loop.static], first[loop.static]) for frame in loop.frames)


def test_keys_are_held_as_they_are_and_everything_between_moves(loop):
    assert len(loop.frames) == 18
    assert loop.seconds == 3
    starts = [loop.frames[i] for i in (0, 6, 12)]
    assert all(np.array_equal(frame, key(seed).rgb) for frame, seed in zip(starts, (1, 2, 3), strict=True))
    held = set(loop.keys)
    assert held == {0, 1, 2, 6, 7, 8, 12, 13, 14}
    for i in set(range(18)) - held:
        assert (loop.frames[i] != loop.frames[i - 1]).any()
        assert (loop.frames[i] != loop.frames[(i + 1) % 18]).any()


def test_the_loop_closes(loop):
    """The last frames lie between the last key and the first: their changes from frame to frame are no jump."""
    apart = [np.abs(loop.frames[i].astype(int) - loop.frames[(i + 1) % 18]).mean() for i in range(18)]
    within = [apart[i] for i in (3, 4, 5)]
    assert apart[17] < 1.5 * max(within)


def test_between_keys_the_latents_add_to_the_cross_fade_but_softly_at_the_border(pipeline):
    loop = run([key(1), key(2)], pipeline, border=0.25)
    i = next(i for i in range(18) if i not in loop.keys)
    shares = {i: share for i, (_, share) in enumerate(Timing(seconds=3, fps=6).plan(2))}
    a, b = (each.rgb.astype(np.float32) for each in (key(1), key(2)))
    adds = np.abs(loop.frames[i] - (a + shares[i] * (b - a))).max(-1)
    beside = np.zeros_like(loop.static)
    beside[STILL[0], 48:50] = True
    assert adds[:, :30].mean() > 3
    assert adds[beside].mean() < 0.25 * adds[:, :30].mean()


def test_lettering_over_a_moving_ground_stands_still(pipeline):
    cover = np.zeros((HEIGHT, WIDTH), np.float32)
    cover[5:15, 5:30] = 1
    loop = run([key(1, cover=cover), key(2, cover=cover)], pipeline)
    assert all((frame[5:15, 5:30] == 255).all() for frame in loop.frames)


def test_keys_that_share_nothing_move_everywhere(pipeline):
    loop = run([key(1, still=False), key(2, still=False)], pipeline)
    assert not loop.static[:, :40].all()


def test_along_the_arc_latents_keep_their_length():
    a, b = torch.randn(2, 1, 16, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = [x.norm(dim=1) for x in (a, b, along(a, b, 0.5, way="spherical"), along(a, b, 0.5))]
    torch.testing.assert_close(lengths[2], (lengths[0] + lengths[1]) / 2)
    assert (lengths[3] < 0.9 * lengths[2]).all()
    for way in ("linear", "spherical"):
        torch.testing.assert_close(along(a, b, 0.0, way=way), a)
        torch.testing.assert_close(along(a, b, 1.0, way=way), b)
        torch.testing.assert_close(along(a, 2 * a, 0.5, way=way), 1.5 * a)  # one direction: no arc
    with pytest.raises(ConfigError, match="way='cubic'"):
        along(a, b, 0.5, way="cubic")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": 2.5}, "3 to 6"),
        ({"seconds": 3.2}, "half seconds"),
        ({"fps": 10}, "12 is usual"),
        ({"hold": 1}, "hold"),
    ],
)
def test_a_timing_that_cannot_be_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        Timing(**change)


def test_as_many_keys_as_do_not_flicker(pipeline):
    with pytest.raises(ConfigError, match="up to 6 accepted"):
        run([key(i) for i in range(7)], pipeline)
    with pytest.raises(ConfigError, match="two or more"):
        run([key(1)], pipeline)


def test_keys_must_be_of_one_size_and_differ(pipeline):
    with pytest.raises(InputError, match="one picture"):
        run([key(1), key(1)], pipeline)
    wide = replace(key(2), rgb=np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8))
    with pytest.raises(InputError, match=r"96x64 .*192x64"):
        run([key(1), wide], pipeline)


# Files.


def frames_of_webp(data: bytes) -> list[tuple[int, np.ndarray]]:
    """Milliseconds and picture of each frame of a file."""
    found = []
    with Image.open(io.BytesIO(data)) as file:
        assert file.info["loop"] == 0  # for ever
        for i in range(file.n_frames):
            file.seek(i)
            file.load()
            found.append((file.info["duration"], np.asarray(file.convert("RGB"))))
    return found


@pytest.fixture(scope="module")
def smooth() -> Loop:
    """Eighteen frames of a slow wave, of which the first nine are one picture that is held."""
    _, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    made = [np.dstack([128 + 90 * np.sin(4 * x + k + i / 6) for k in range(3)]).astype(np.uint8) for i in range(10)]
    frames = (made[0],) * 9 + tuple(made[1:])
    return Loop(frames, 6, np.zeros((HEIGHT, WIDTH), bool), tuple(range(9)))


def test_a_webp_lasts_as_long_as_the_loop_and_repeats(smooth, tmp_path: Path):
    written = loop_files.write(smooth, tmp_path / "loop.webp")
    found = frames_of_webp((tmp_path / "loop.webp").read_bytes())
    assert sum(ms for ms, _ in found) == 3000
    assert found[0][0] == 1500
    assert np.abs(found[0][1].astype(int) - smooth.frames[0]).mean() < 4
    assert (written.quality, written.fps, written.seconds) == (90, 6, 3)
    assert written.bytes == (tmp_path / "loop.webp").stat().st_size


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_an_mp4_has_the_frames_in_the_colours_of_bt709(smooth, tmp_path: Path, codec):
    written = loop_files.write(smooth, tmp_path / "loop.mp4", codec=codec)
    with av.open(str(tmp_path / "loop.mp4")) as container:
        stream = container.streams.video[0]
        frames = [
            each.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray() for each in container.decode(stream)
        ]
        assert (stream.width, stream.height, stream.codec_context.pix_fmt) == (WIDTH, HEIGHT, "yuv420p")
        assert float(stream.duration * stream.time_base) == pytest.approx(3)
    assert len(frames) == written.frames == 18
    assert np.abs(frames[0].astype(int) - smooth.frames[0]).mean() < 8
    assert written.codec == codec


@pytest.mark.parametrize("name", ["loop.webp", "loop.mp4"])
def test_the_limit_holds_by_quality_then_by_frames_and_is_refused_at_last(loop, tmp_path: Path, name, monkeypatch):
    monkeypatch.setattr(loop_files, "WEBP_QUALITIES", (90, 30))
    monkeypatch.setattr(loop_files, "CRF", (16, 36))
    monkeypatch.setattr(loop_files, "THINNED", (1, 2))
    best = loop_files.write(loop, tmp_path / name, limit_bytes=10**7)
    less = loop_files.write(loop, tmp_path / name, limit_bytes=best.bytes // 2)
    assert less.bytes <= best.bytes // 2
    assert (tmp_path / name).stat().st_size == less.bytes
    assert (less.quality or -less.crf) < (best.quality or -best.crf)
    assert less.seconds == best.seconds
    tries = loop_files._webps(loop) if name.endswith("webp") else loop_files._mp4s(loop, 0, "libx264")
    smallest = min(len(data) for data, said in tries if said["every"] == 1)
    fewer = loop_files.write(loop, tmp_path / name, limit_bytes=smallest - 1)
    assert fewer.fps < best.fps
    assert fewer.frames == fewer.fps * fewer.seconds
    before = (tmp_path / name).read_bytes()
    with pytest.raises(GateFailed, match="smallest"):
        loop_files.write(loop, tmp_path / name, limit_bytes=100)
    assert (tmp_path / name).read_bytes() == before


def test_other_files_are_refused(smooth, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\.webp or \.mp4"):
        loop_files.write(smooth, tmp_path / "loop.gif")
    with pytest.raises(ConfigError, match="codec='theora'"):
        loop_files.write(smooth, tmp_path / "loop.mp4", codec="theora")


# Keys of a set.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return finished_set(tmp_path / "set")


def test_the_keys_of_a_set_are_what_it_shipped_with_its_lettering(folder):
    keys, notes = read_keys(folder, width=WIDTH)
    assert [each.name for each in keys] == ["night", "beach"]
    assert notes == []
    assert np.array_equal(keys[0].plain, key(1).plain)
    assert (keys[0].rgb[:, :LETTERED_PX] == 255).all()
    assert np.array_equal(keys[0].rgb[:, LETTERED_PX:], noise(1)[:, LETTERED_PX:])
    assert keys[0].cover[0, :LETTERED_PX].min() == 1
    assert read_keys(folder, width=48)[0][0].rgb.shape == (32, 48, 3)


def test_a_variant_that_is_not_shipped_leaves_all_without_lettering_and_says_so(folder):
    keys, notes = read_keys(folder, ("rain", "night"), width=WIDTH)
    assert [each.name for each in keys] == ["rain", "night"]
    assert np.array_equal(keys[1].rgb, key(1).plain)
    assert "rain not shipped" in notes[0]


def test_variants_of_another_base_are_refused(folder):
    path = folder / "variants" / "night.png"
    for rgb, words in (
        (key(1, still=False).plain, "what was to be kept differs"),
        (np.zeros((64, 64, 3), np.uint8), "64x64 came, 96x64 accepted"),
    ):
        image.write(rgb, path)
        with pytest.raises(InputError, match=f"no edit of .*{words}"):
            read_keys(folder, width=WIDTH)
    image.write(key(1).plain, path, recipe='{"images": [{"sha256": "0123"}]}')
    with pytest.raises(InputError, match="as its recipe says"):
        read_keys(folder, width=WIDTH)


@pytest.mark.parametrize(
    ("names", "words"),
    [(("snow",), "night, beach, rain"), (("lost", "night"), "rejected"), (("night", "night"), "each once")],
)
def test_names_must_be_of_variants_that_passed(folder, names, words):
    with pytest.raises(InputError, match=words):
        read_keys(folder, names, width=WIDTH)
