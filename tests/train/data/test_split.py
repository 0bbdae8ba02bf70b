"""No picture is trained on and judged by, whatever the examples are kept in."""

import json
import pickle
from pathlib import Path

import pytest

from recast.errors import ConfigError
from recast.train.data.folder import FolderSource
from recast.train.data.order import Selected
from recast.train.data.record import Origin
from recast.train.data.shards import ShardSource
from recast.train.data.split import families, named, split
from tests.train.data.sets import pair, picture, png, tar


def list_of_pairs(place: Path, rows: list[tuple[int | list[int], int]]) -> FolderSource:
    """A folder of pictures by their seeds, each in a file of its own for every row that shows it."""
    place.mkdir(exist_ok=True)
    listed = []
    for number, (sources, target) in enumerate(rows):
        names = []
        for slot, seed in enumerate([*(sources if isinstance(sources, list) else [sources]), target]):
            names.append(f"{number}-{slot}.png")
            (place / names[-1]).write_bytes(png(picture(seed)))
        listed.append({"sources": names[:-1], "target": names[-1], "instruction": "go", "id": str(number)})
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, listed)))
    return FolderSource(place)


def ids(source) -> set[str]:
    return {source.id(n) for n in range(source.length)}


def test_examples_that_share_a_picture_stay_together():
    a, b, c, d, e = (bytes([n]) for n in range(5))
    origins = [Origin((a, b)), Origin((c, d)), Origin((b, e)), Origin((d,)), Origin(), Origin((e, a))]
    assert families(origins) == [[0, 2, 5], [1, 3]]


def test_edits_of_one_picture_its_turns_and_copies_of_its_file_never_part(tmp_path):
    """Six conversations of three turns, of which the files are copied for every row; each has a style beside it."""
    rows = [([100 * chain + turn, 9999], 100 * chain + turn + 1) for chain in range(6) for turn in range(3)]
    source = list_of_pairs(tmp_path, rows)
    ((train, judged),) = split([source], [2], 0.2)
    assert (train.length, judged.length) == (15, 3)
    chains = [{int(each) // 3 for each in ids(side)} for side in (train, judged)]
    assert not chains[0] & chains[1]
    assert pickle.loads(pickle.dumps(train)).id(4) == train.id(4)


def test_a_picture_in_two_places_is_on_one_side_in_both(tmp_path):
    one = list_of_pairs(tmp_path / "one", [(n, 100 + n) for n in range(10)])
    other = list_of_pairs(tmp_path / "other", [(n, 200 + n) for n in range(10)])
    parted = split([one, other], [2, 0], 0.2)
    assert [judged.length for _, judged in parted] == [2, 2]
    assert ids(parted[0][1]) == ids(parted[1][1])
    assert not ids(parted[0][1]) & ids(parted[1][0])


def test_shards_are_split_by_their_pictures_too(tmp_path):
    members = {}
    for n in range(10):
        members |= {
            name.replace(f"{n:03d}", f"{n:03d}-{turn}"): data for turn in "ab" for name, data in pair(n).items()
        }
    source = ShardSource(tar(tmp_path / "a.tar", members))
    ((train, judged),) = split([source], [4], 0.25)
    assert (train.length, judged.length) == (16, 4)
    numbers = [{each.rpartition("-")[0] for each in ids(side)} for side in (train, judged)]
    assert not numbers[0] & numbers[1]


def test_the_split_is_a_function_of_the_pictures_alone(tmp_path):
    rows = [(n, 100 + n) for n in range(12)]
    one, turned = list_of_pairs(tmp_path / "one", rows), list_of_pairs(tmp_path / "turned", rows[::-1])
    (_, judged), (_, again) = (split([source], [3], 0.25)[0] for source in (one, turned))
    assert ids(judged) == {str(11 - int(each)) for each in ids(again)}
    kept = Selected(one, [str(n) for n in range(12) if str(n) not in ids(judged)])
    assert not ids(split([kept], [2], 0.25)[0][1]) & ids(judged)


def test_what_is_too_few_is_trained_on_as_it_is(tmp_path):
    source = list_of_pairs(tmp_path, [(n, 100 + n) for n in range(9)])
    assert split([source], [4], 0.1) == [(source, None)]
    assert split([source], [0], 0.5) == [(source, None)]
    with pytest.raises(ConfigError, match="held_out_share=1"):
        split([source], [1], 1)


def test_uncompressed_pictures_are_told_apart_by_all_their_bytes(tmp_path):
    """Of a BMP with a white top the last bytes are white, whatever it shows."""
    rows = []
    for n in range(24):
        pixels = picture(n, 48, 64)
        pixels[:32] = 255
        (tmp_path / f"{n}.bmp").write_bytes(png(pixels, "BMP"))
        rows.append({"source": f"{n}.bmp", "target": f"{n}.bmp", "instruction": "go"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ((train, judged),) = split([FolderSource(tmp_path)], [4], 0.25)
    assert (train.length, judged.length) == (20, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_picture_is_one_in_a_file_in_a_shard_and_as_bytes(tmp_path, kind):
    data = png(picture(3, 96, 96), kind)
    (tmp_path / "alone").write_bytes(data)
    (tmp_path / "shard").write_bytes(b"before" + data + b"after")
    assert named(data) == named(tmp_path / "alone") == named(tmp_path / "shard", 6, len(data))
    assert named(data) != named(png(picture(4, 96, 96), kind))
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"before" + data[:12] + b"1" * 5000)
    other.write_bytes(b"before" + data[:12] + b"2" + b"1" * 4999)
    assert (named(one, 6, 5012) == named(other, 6, 5012)) == (kind != "BMP"), "of compressed ones the end is read"


def test_a_part_says_which_it_is(tmp_path):
    source = list_of_pairs(tmp_path, [(n, 100 + n) for n in range(20)])
    (few, _), (more, _) = (split([source], [count], 0.2)[0] for count in (1, 2))
    assert few.about() != more.about()
    assert few.about()["source"] == source.about()


def test_what_cannot_be_read_is_left_to_the_loader(tmp_path):
    source = list_of_pairs(tmp_path, [(n, 100 + n) for n in range(10)])
    (tmp_path / "3-0.png").unlink()
    assert [number for number, origin in enumerate(source.origins()) if not origin.pictures] == [3]
    ((train, _),) = split([source], [5], 0.5)
    assert "3" in ids(train)
