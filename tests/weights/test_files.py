"""Nothing but whole, well-formed safetensors files is read, and each refusal says why."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from recast.errors import MissingWeights, WeightsError
from recast.weights import checksum, open_checkpoint
from recast.weights.files import TensorFile, arriving, read_header

ROOT = Path(__file__).parents[2]
Write = Callable[..., Path]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_a_header_of_the_library_is_read_as_the_library_reads_it(write: Write) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16), "c": torch.tensor(7)}
    path = write(tensors, format="pt", note="x")
    header = read_header(path)
    assert header.metadata == {"format": "pt", "note": "x"}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            stored = header.tensors[name]
            data = path.read_bytes()[stored.start : stored.start + stored.size_bytes]
            assert data == file.get_tensor(name).reshape(-1).view(torch.uint8).numpy().tobytes()
            assert stored.shape == tuple(tensors[name].shape)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "renamed.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_unread_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="pickle, which can run any code"):
        open_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


def test_a_header_whose_length_begins_like_a_pickle_is_no_pickle(write_raw: Write) -> None:
    """640 bytes, little-endian, are b"\\x80\\x02": the first bytes of every pickle of protocol 2."""
    text = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    assert list(read_header(write_raw(text.ljust(640), b"x")).tensors) == ["a"]


def test_other_quantisers_files_are_refused_by_name(tmp_path: Path, write: Write) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(WeightsError, match="GGUF"):
        open_checkpoint(tmp_path / "model.gguf")
    for name, kind in {
        "double_blocks.0.img_mod.lin.weight.quant_state.bitsandbytes__nf4": "nf4",
        "double_blocks.0.img_mod.lin.weight.absmax": "bitsandbytes",
        "transformer_blocks.0.attn.to_q.wscales": "SVDQuant",
        "transformer_blocks.0.attn.to_q.qweight": "SVDQuant",
    }.items():
        with pytest.raises(WeightsError, match=kind):
            open_checkpoint(write({"img_in.weight": torch.ones(1), name: torch.ones(1)}))


def one(start: int, end: int, shape: list[int], dtype: str = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "data"),
    {
        "hole": ({"a": one(0, 1, [1]), "b": one(2, 3, [1])}, b"abc"),
        "overlap": ({"a": one(0, 2, [2]), "b": one(1, 3, [2])}, b"abc"),
        "overlap and hole": ({"a": one(0, 2, [2]), "b": one(1, 3, [2])}, b"abcd"),
        "tail": ({"a": one(0, 1, [1])}, b"ab"),
        "short": ({"a": one(0, 4, [4])}, b"ab"),
        "wrong shape": ({"a": one(0, 4, [3])}, b"abcd"),
        "negative": ({"a": one(0, 4, [-2, -2])}, b"abcd"),
        "boolean side": ({"a": one(0, 1, [True])}, b"a"),
        "rank": ({"a": one(0, 1, [1] * 9)}, b"a"),
        "dtype": ({"a": one(0, 1, [1], "F4")}, b"a"),
        "no dtype": ({"a": {"shape": [1], "data_offsets": [0, 1]}}, b"a"),
        "long name": ({"a" * 600: one(0, 1, [1])}, b"a"),
        "control character": ({"a\u0007": one(0, 1, [1])}, b"a"),
        "twice": (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],'
                  b'"data_offsets":[0,1]}}', b"a"),
        "list": (b"[1, 2]", b""),
        "entry is no object": ({"a": 3}, b""),
        "not JSON": (b"{" + b"x" * 50, b""),
        "not UTF-8": (b'{"\xff": 1}', b""),
        "deep": (b"[" * 200_000, b""),
    }.values(),
)  # fmt: skip
def test_a_malformed_header_is_a_weights_error(
    header: bytes | dict[str, object], data: bytes, write_raw: Write
) -> None:
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        read_header(write_raw(header, data))


def test_a_file_cut_anywhere_is_a_weights_error(write: Write, tmp_path: Path) -> None:
    whole = write({"img_in.weight": torch.ones(9), "txt_in.weight": torch.ones(4)}).read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in (0, 4, 8, 9, 60, len(whole) - 17, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="not a whole safetensors file"):
            open_checkpoint(cut)


def test_absurd_headers_are_refused_at_once(write_raw: Write, tmp_path: Path) -> None:
    many = {str(i): one(0, 0, [0]) for i in range(70_000)}
    giant = tmp_path / "giant.safetensors"
    giant.write_bytes(b"\xff" * 7 + b"\x7f" + b"{}")
    start = time.perf_counter()
    for path in (write_raw(many), write_raw(b"{" + b" " * (9 << 20) + b"}"), giant):
        with pytest.raises(WeightsError, match="not a whole safetensors file"):
            read_header(path)
    assert time.perf_counter() - start < 2.0


def test_a_hub_name_says_how_to_get_the_files_and_a_path_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"nothing is downloaded.*licence.*hf download"):
        open_checkpoint("black-forest-labs/FLUX.1-Kontext-dev")
    for path in (tmp_path / "none.safetensors", Path("models/none.safetensors")):
        with pytest.raises(MissingWeights, match=r"no such file or folder; a \.safetensors file"):
            open_checkpoint(path)
    with pytest.raises(MissingWeights, match="no flow here"):
        open_checkpoint(tmp_path)


def test_the_checksum_of_a_file_is_its_sha256_and_follows_its_content(write: Write) -> None:
    path = write({"a": torch.ones(3)})
    assert checksum(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    folder = checksum(path.parent)
    write({"a": torch.zeros(3)})
    assert checksum(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checksum(path.parent) != folder


def test_tensors_may_be_written_in_any_order_and_all_are_aligned(tmp_path: Path) -> None:
    entries = {"byte": ("U8", (3,)), "wide": ("F64", (2,)), "half": ("BF16", (5,)), "none": ("F32", (0, 4))}
    data = {"byte": b"abc", "wide": bytes(range(16)), "half": bytes(range(10)), "none": b""}
    path = tmp_path / "x.safetensors"
    with TensorFile(path, entries, {"note": "y"}) as file:
        for name in ("half", "none", "byte", "wide"):
            file.put(name, data[name])
    for name, stored in read_header(path).tensors.items():
        assert path.read_bytes()[stored.start : stored.start + stored.size_bytes] == data[name]
        assert stored.start % {"U8": 1, "F64": 8, "BF16": 2, "F32": 4}[stored.dtype] == 0
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"format": "pt", "note": "y"}
        assert opened.get_tensor("none").shape == (0, 4)


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(target: Path) -> None:
        with arriving(target) as partial:
            if target.suffix:
                partial.write_text("x")
            else:
                partial.mkdir()
                (partial / "x").write_text("x")
            raise RuntimeError("half way")

    for name in ("folder", "file.safetensors"):
        with pytest.raises(RuntimeError, match="half way"):
            fail(tmp_path / name)
        assert list(tmp_path.iterdir()) == []


def test_looking_at_a_file_needs_no_torch(write: Write) -> None:
    path = write({"txt_in.weight": torch.ones(2, 2)})
    code = (
        "import sys; from recast.weights import summary, checksum; "
        f"print(summary({str(path)!r}, with_checksum=True).parts['flow'].parameters, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["4", "False"]
