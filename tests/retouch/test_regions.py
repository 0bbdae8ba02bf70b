"""Parts of a merge on the disk: the same bytes as the merge, whole or not at all, damage found."""

import hashlib
import json
import os
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from recast.errors import InputError
from recast.pixels.image import encode
from recast.retouch import regions as parts_file
from recast.retouch.certificate import read_certificate, verify
from recast.retouch.compose import composite, layer, margin, support
from recast.retouch.layer_files import pack
from recast.retouch.original import Original, encode_original, read_original
from recast.retouch.regions import Region, read_parts, set_accepted, write_parts
from recast.retouch.thresholds import THRESHOLDS

BENT = replace(THRESHOLDS.composing, seam_delta=-1)


def merged(dtype=np.uint8, count=3, side=256):
    """A source, its edit, and layers and regions of `count` squares that changed."""
    source = cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    edited = np.clip(source.astype(int) + 3, 0, 255).astype(np.uint8)
    places = [(20 + 75 * (n % 3), 20 + 75 * (n // 3)) for n in range(count)]
    for n, (x, y) in enumerate(places):
        edited[y : y + 30, x : x + 30] = (200, 30 * n, 60)
    levels = np.iinfo(dtype).max
    own, theirs = (each.astype(np.float32) * np.float32(levels / 255) for each in (source, edited))
    layers, regions, k = [], [], margin(1)
    for n, (x, y) in enumerate(places):
        box = (max(x - k, 0), max(y - k, 0), min(x + 30 + k, side), min(y + 30 + k, side))
        cut = np.s_[box[1] : box[3], box[0] : box[2]]
        core = np.zeros((side, side), bool)
        core[y : y + 30, x : x + 30] = True
        delta = np.full((side, side), 1.2, np.float32)
        layers.append(layer(own[cut], theirs[cut], core[cut], delta[cut], box=box, levels=levels, thresholds=BENT))
        regions.append(Region(n + 1, (x, y, x + 30, y + 30), 900, 21.5, "content", ("face",) * (n == 1), n != 2))
    samples = source.astype(dtype) * dtype(levels // 255)
    return samples, edited, layers, regions


def put(folder, samples, edited, layers, regions, **options):
    source = encode_original(Original(samples), "png", certificate=None, recipe=None)
    write_parts(
        folder, source=source, edit=encode(edited, "jpg"), aligned=edited, layers=layers, regions=regions,
        levels=np.iinfo(samples.dtype).max, **options,
    )  # fmt: skip
    return source


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_parts_give_the_bytes_of_the_merge(tmp_path, dtype):
    samples, edited, layers, regions = merged(dtype)
    source = put(tmp_path / "a.parts", samples, edited, layers, regions, certificate="{}")
    parts = read_parts(tmp_path / "a.parts")
    assert parts.regions == tuple(regions)
    assert parts.certificate == "{}"
    assert parts.accepted == (1, 2)
    for chosen in ([], [1], [2, 3], [1, 2, 3]):
        some = [layers[n - 1] for n in chosen]
        assert parts.merged(chosen).samples.tobytes() == composite(samples, some).tobytes()
        assert (parts.support(chosen) == support(some, samples.shape[:2])).all()
    assert parts.merged().samples.tobytes() == composite(samples, layers[:2]).tobytes()
    assert parts.merged([]).samples.tobytes() == samples.tobytes()
    assert parts.path("source").read_bytes() == source
    assert parts.path("source").name == "source.png"
    assert parts.path("edit").read_bytes() == encode(edited, "jpg")
    assert parts.path("edit").name == "edit.jpg"
    assert (parts.aligned.rgb == edited).all()


def test_the_same_merge_leaves_the_same_files(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name, *merged())
    one, other = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert one == other
    assert sorted(one) == ["aligned.png", "edit.jpg", "layers.npz", "parts.json", "source.png"]


def test_numpy_reads_the_layers(tmp_path):
    _, _, layers, _ = merged()
    (tmp_path / "layers.npz").write_bytes(pack(layers, 255))
    with np.load(tmp_path / "layers.npz") as arrays:
        assert (arrays["alpha_1"] / np.float32(65535) == layers[1].alpha).all()
        assert arrays["pixels_1"].shape == ((layers[1].alpha > 0).sum(), 3)


def test_what_is_accepted_can_be_changed_later(tmp_path):
    samples, edited, layers, regions = merged()
    put(tmp_path / "p", samples, edited, layers, regions, certificate="old")
    before = {f.name: f.read_bytes() for f in (tmp_path / "p").iterdir() if f.name != "parts.json"}
    set_accepted(tmp_path / "p", [3], "new")
    parts = read_parts(tmp_path / "p")
    assert parts.accepted == (3,)
    assert parts.certificate == "new"
    assert parts.merged().samples.tobytes() == composite(samples, layers[2:]).tobytes()
    assert {f.name: f.read_bytes() for f in (tmp_path / "p").iterdir() if f.name != "parts.json"} == before
    set_accepted(tmp_path / "p", [])
    assert read_parts(tmp_path / "p").certificate is None


def test_another_choice_is_certified_written_and_kept(tmp_path):
    samples, edited, layers, regions = merged()
    put(tmp_path / "p", samples, edited, layers, regions)
    other = read_parts(tmp_path / "p").accepting([3])
    assert other.write(tmp_path / "out.png") == []
    result, proof = read_original(tmp_path / "out.png"), read_certificate(tmp_path / "out.png")
    assert result.samples.tobytes() == composite(samples, layers[2:]).tobytes()
    assert verify(other.source, result, proof).is_kept
    assert read_parts(tmp_path / "p").accepted == (1, 2)
    other.keep()
    assert read_parts(tmp_path / "p").accepted == (3,)
    assert read_parts(tmp_path / "p").certificate == proof.to_json()
    assert "certificate does not hold" in other.write(tmp_path / "out.jpg")[0]


def test_unknown_regions_are_refused(tmp_path):
    put(tmp_path / "p", *merged())
    with pytest.raises(InputError, match="no region 7; 1, 2, 3 accepted"):
        read_parts(tmp_path / "p").merged([1, 7])
    with pytest.raises(InputError, match="no region 7"):
        set_accepted(tmp_path / "p", [7])
    assert read_parts(tmp_path / "p").accepted == (1, 2)


@pytest.mark.parametrize("name", ["source.png", "edit.jpg", "aligned.png", "layers.npz"])
@pytest.mark.parametrize("fault", ["missing", "cut", "flipped"])
def test_a_damaged_file_is_found_and_named(tmp_path, name, fault):
    put(tmp_path / "p", *merged())
    path = tmp_path / "p" / name
    data = bytearray(path.read_bytes())
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: (missing|\d+ bytes|another SHA-256)"):
        read_parts(tmp_path / "p")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: index.update(format="recast-parts-9"), "'recast-parts-1' accepted"),
        (lambda index: index["files"].pop("layers"), "KeyError 'layers'"),
        (lambda index: index["files"]["source"].update(file="../source.png"), "no name of a file in this folder"),
        (lambda index: index["regions"].pop(), "6 arrays for 2 layers"),
        (lambda index: index["regions"][0].update(id=2), "two regions with one id"),
        (lambda index: index["regions"][0]["layer"].update(box=[0, 0, 9999, 9999]), "is not inside 256x256"),
        (lambda index: index["regions"][0]["layer"].update(box=[0, 0, 9, 9]), r"alpha_0: .* accepted"),
        (lambda index: index.update(levels=65535), "the source has 255"),
        (lambda index: index.update(certificate=5), "no text"),
        (lambda index: index.clear(), "format"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(tmp_path, change, reason):
    put(tmp_path / "p", *merged())
    path = tmp_path / "p" / "parts.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(InputError, match=reason):
        read_parts(tmp_path / "p")


@pytest.mark.parametrize("text", ["", "[1, 2]", "null", "[" * 100_000, '{"format": "recast-parts-1"}', "\x00\xff"])
def test_garbage_for_an_index_is_refused(tmp_path, text):
    (tmp_path / "parts.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"parts\.json"):
        read_parts(tmp_path)
    with pytest.raises(InputError, match=r"parts\.json"):
        set_accepted(tmp_path, [])


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no zip"])
def test_layers_that_are_none_are_refused_even_with_the_right_hash(tmp_path, content):
    put(tmp_path / "p", *merged())
    (tmp_path / "p" / "layers.npz").write_bytes(content)
    path = tmp_path / "p" / "parts.json"
    index = json.loads(path.read_text())
    index["files"]["layers"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(index))
    with pytest.raises(InputError, match="layers"):
        read_parts(tmp_path / "p")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"No such file.*merge again"):
        read_parts(tmp_path / "nothing")


def test_parts_are_replaced_at_once_and_strangers_are_not(tmp_path):
    samples, edited, layers, regions = merged()
    put(tmp_path / "p", samples, edited, layers, regions)
    put(tmp_path / "p", samples, edited, layers[:1], regions[:1])
    assert len(read_parts(tmp_path / "p").regions) == 1
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something else than parts"):
        put(tmp_path / "own", samples, edited, layers, regions)
    assert [f.name for f in (tmp_path / "own").iterdir()] == ["notes.txt"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["own", "p"]


@pytest.mark.parametrize("failing", ["_store", "_publish", "_sync"])
def test_a_disk_that_fails_leaves_what_was_there(tmp_path, monkeypatch, failing):
    samples, edited, layers, regions = merged()
    put(tmp_path / "p", samples, edited, layers, regions)
    before = {f.name: f.read_bytes() for f in (tmp_path / "p").iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts_file, failing, full)
    with pytest.raises(InputError, match="No space left"):
        put(tmp_path / "p", samples, edited, layers[:1], regions[:1])
    if failing == "_store":
        with pytest.raises(InputError, match="No space left"):
            set_accepted(tmp_path / "p", [])
    assert {f.name: f.read_bytes() for f in (tmp_path / "p").iterdir()} == before
    assert [f.name for f in tmp_path.iterdir()] == ["p"]


def test_a_rename_that_fails_brings_the_old_parts_back(tmp_path, monkeypatch):
    samples, edited, layers, regions = merged()
    put(tmp_path / "p", samples, edited, layers, regions)
    real, calls = os.rename, []

    def second_fails(a, b, **options):
        calls.append(a)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return real(a, b, **options)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(InputError, match="Input/output error"):
        put(tmp_path / "p", samples, edited, layers[:1], regions[:1])
    assert len(read_parts(tmp_path / "p").regions) == 3
    assert [f.name for f in tmp_path.iterdir()] == ["p"]


def test_layers_that_a_file_cannot_keep_exactly_are_refused(tmp_path):
    samples, edited, layers, regions = merged()
    off = replace(layers[0], alpha=layers[0].alpha * np.float32(0.7))
    with pytest.raises(InputError, match="layer 0 has values between the steps"):
        put(tmp_path / "p", samples, edited, [off, *layers[1:]], regions)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="2 for 3 layers"):
        put(tmp_path / "p", samples, edited, layers, regions[:2])


def test_regions_survive_json():
    region = Region(3, (1, 2, 30, 40), 500, 12.25, "colour", ("face", "text"), False)
    assert Region.from_dict(json.loads(json.dumps(region.to_dict()))) == region


def test_rejecting_one_of_thirty_regions_takes_a_fifth_of_a_second(tmp_path):
    """At one megapixel; the processor's time, so that other work does not count."""
    samples = cv2.resize(data.coffee(), (1248, 832), interpolation=cv2.INTER_CUBIC)
    rng, layers, regions = np.random.default_rng(0), [], []
    for n in range(30):
        x, y = (int(v) for v in rng.integers(0, (1048, 632)))
        core = np.zeros((200, 200), np.uint8)
        cv2.circle(core, (100, 100), 80, 1, -1)
        box = (x, y, x + 200, y + 200)
        cut = samples[y : y + 200, x : x + 200].astype(np.float32)
        delta = np.zeros((200, 200), np.float32)
        layers.append(layer(cut, cut * np.float32(0.9), core > 0, delta, box=box, levels=255))
        regions.append(Region(n + 1, box, 20_000, 9.0, "content"))
    put(tmp_path / "p", samples, samples, layers, regions)
    parts, spent = read_parts(tmp_path / "p"), []
    for _ in range(3):
        started = time.process_time()
        parts.merged(range(1, 30))
        spent.append(time.process_time() - started)
    assert min(spent) < 0.2
