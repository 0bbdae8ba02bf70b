"""Encoded pictures are kept beside a thread: found again by the same bits alone, and gone without a trace."""

import shutil
import threading
from pathlib import Path

import pytest
import skimage.data
import torch

from recast.pipeline import Pipeline
from recast.pixels.image import Picture
from recast.retouch.editor import Editor
from recast.retouch.thread import Anchors, Node, Thread
from recast.retouch.thread.anchors import TOKENS
from recast.retouch.thread.encoded import Encoded
from recast.speed.autoencoder import FastAutoencoder
from tests.tiny import tiny_pipeline

ROOT = Picture(skimage.data.astronaut()[:48, :64].copy())
OPTIONS = {"preserve": "off", "steps": 1}


class Watched:
    """A pipeline as a new process has it, and an editor of it. encoded: the sizes that its encoder has seen."""

    def __init__(self, **changes) -> None:
        self.pipeline: Pipeline = tiny_pipeline()
        vars(self.pipeline).update(changes)
        self.editor, self.encoded = Editor(self.pipeline), []
        encode = self.pipeline.autoencoder.encode
        self.pipeline.autoencoder.encode = (
            lambda pixels, band=None: (  # type: ignore[method-assign]
                self.encoded.append(tuple(pixels.shape[-2:])) or encode(pixels, band=band)
            )
        )


@pytest.fixture
def thread(tmp_path) -> Thread:
    """After its first turn. Its root rides."""
    thread = Thread.create(tmp_path / "t", ROOT, anchors=Anchors(rides=True))
    thread.edit(Watched().editor, "x", seed=0, **OPTIONS)
    return thread


def second(thread: Thread, watched: Watched, **options) -> Node:
    return thread.edit(watched.editor, "y", seed=1, **{**OPTIONS, **options})


def without(thread: Thread) -> Thread:
    """A copy of the thread in which nothing is kept."""
    copy = thread.folder.with_name("copy")
    shutil.copytree(thread.folder, copy, ignore=shutil.ignore_patterns("encoded"))
    return Thread.open(copy, anchors=thread.anchors)


def kept(thread: Thread) -> list[Path]:
    return sorted((thread.folder / "encoded").glob("*"))


def test_a_turn_in_another_process_encodes_nothing_that_did_not_change(thread):
    plain, anew = without(thread), Watched()
    wanted = second(plain, anew)
    assert anew.encoded == [(48, 64)], "the root"
    watched = Watched()
    made = second(thread, watched)
    assert watched.encoded == []
    assert (made.pixels_sha256, made.files[TOKENS]) == (wanted.pixels_sha256, wanted.files[TOKENS])
    assert made.warnings == wanted.warnings
    other = Picture(ROOT.rgb[:32])
    second(thread, watched, references=[other])
    assert watched.encoded == [(32, 64)], "a reference that is new"
    second(thread, watched, references=[other])
    assert len(watched.encoded) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"checksums": lambda: {"tiny": "other weights"}},
        {"checksums": dict},
        {"recalled": lambda: {"tiny": "other weights"}},
        {"plan": "lossless"},
        {"_arithmetic": lambda: {**tiny_pipeline()._arithmetic(), "threads": 7}},
    ],
)
def test_what_was_encoded_otherwise_is_not_trusted(thread, changes):
    """The tokens of the node are of other weights too, in two of the cases: its picture is encoded as well."""
    (held,) = kept(thread)
    before, watched = held.read_bytes(), Watched(**changes)
    node = second(thread, watched)
    assert watched.encoded[-1] == (48, 64)
    assert node.warnings == thread.node(node.parent).warnings
    assert (held.read_bytes() != before) == (changes.get("checksums") is not dict), (
        "kept anew, if its weights are known"
    )


def test_tokens_of_another_autoencoder_or_of_another_cpu_are_not_trusted(thread, monkeypatch):
    watched = Watched()
    fast = FastAutoencoder(watched.pipeline.autoencoder, dtype=torch.bfloat16)
    other = Watched(autoencoder=fast)
    assert fast.computes != watched.pipeline.autoencoder.computes
    second(thread, other)
    assert other.encoded[-1] == (48, 64)
    monkeypatch.setattr("recast.provenance.cpu_units", lambda: ("AVX9000",))
    elsewhere = Watched(autoencoder=FastAutoencoder(watched.pipeline.autoencoder, dtype=torch.bfloat16))
    second(thread, elsewhere)
    assert elsewhere.encoded[-1] == (48, 64)
    again = Watched(autoencoder=FastAutoencoder(watched.pipeline.autoencoder, dtype=torch.bfloat16))
    second(thread, again)
    assert again.encoded == []


def test_a_damaged_file_is_told_once_and_written_again(thread):
    wanted = second(without(thread), Watched()).pixels_sha256
    (held,) = kept(thread)
    whole = held.read_bytes()
    held.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    watched = Watched()
    node = second(thread, watched)
    assert watched.encoded == [(48, 64)]
    (told,) = [text for text in node.warnings if "encoded" in text]
    assert "holds other bytes" in told
    assert node.pixels_sha256 == wanted
    assert held.read_bytes() == whole


@pytest.mark.parametrize("data", [b"", b"short", b"\0" * 100])
def test_no_bytes_are_taken_for_tokens(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    encoded = Encoded(tmp_path)
    tokens = torch.ones(1, 2, 3)
    assert encoded.get("a", lambda: "by", lambda: tokens) is tokens
    assert len(encoded.warnings) == 1


def test_at_the_root_no_file_of_weights_is_read_before_the_first_step(thread):
    """They may have 24 GB, which take longer to hash than a picture to encode. Where tokens are carried, they are."""
    watched = Watched()
    first, *_ = watched.editor.start_edit(ROOT, "x", encodings=Encoded(thread.folder / "encoded"), **OPTIONS)
    assert first.index == 1
    assert watched.encoded == []
    thread.edit(watched.editor, "z", at="root", seed=2, **OPTIONS)
    assert watched.encoded == [(48, 64)]


def test_what_a_turn_looks_up_waits_for_no_file_of_weights(thread):
    """The recipe's hashes are read beside the sampling; what is found again goes by those that are remembered."""
    readers = []

    def read() -> dict[str, str]:
        readers.append(threading.current_thread())
        return {"tiny": "as read"}

    watched = Watched(checksums=read, recalled=lambda: {"tiny": "seed 0"})
    node = second(thread, watched)
    assert watched.encoded == []
    assert [reader is threading.main_thread() for reader in readers] == [False]
    assert node.recipe["weights"] == {"tiny": "as read"}


def test_nothing_is_kept_where_nothing_is_carried(tmp_path):
    thread = Thread.create(tmp_path / "t", ROOT, anchors=Anchors(carries=False, rides=True))
    thread.edit(Watched().editor, "x", seed=0, **OPTIONS)
    watched = Watched()
    second(thread, watched)
    assert watched.encoded == [(48, 64)] * 2
    assert kept(thread) == []


def test_the_folder_keeps_what_was_used_last_up_to_its_limit(tmp_path):
    tokens = torch.arange(12.0).reshape(1, 3, 4)

    def asked(*names: str) -> list[str]:
        """Which of them were encoded."""
        missing, encoded = [], Encoded(tmp_path / "encoded", limit_bytes=300)  # two files
        for name in names:
            found = encoded.get(name, lambda: "by", lambda name=name: missing.append(name) or tokens)
            assert torch.equal(found, tokens)
        encoded.write()
        assert encoded.warnings == []
        return missing

    assert asked("a") == ["a"]
    assert asked("b") == ["b"]
    assert asked("a") == []
    assert asked("c") == ["c"]
    assert asked("a") == []
    assert asked("b") == ["b"], "it was used longest ago"


def test_what_cannot_be_kept_is_told_and_the_edit_is_there(thread):
    shutil.rmtree(thread.folder / "encoded")
    (thread.folder / "encoded").write_bytes(b"")
    node = second(thread, Watched())
    assert any(text.startswith("encoded: not kept") for text in node.warnings)
    assert thread.node() == node


def test_pruning_removes_it_and_an_export_does_not_hold_it(thread, tmp_path):
    (held,) = kept(thread)
    size = held.stat().st_size
    with_it = thread.export(tmp_path / "a.zip").read_bytes()
    pruned = thread.prune()
    assert (pruned.files, pruned.bytes) == (1, size)
    assert thread.export(tmp_path / "b.zip").read_bytes() == with_it
    assert thread.check() == []
