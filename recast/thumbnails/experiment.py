"""A finished set as an experiment: the watch-time shares of its test, kept beside the set and in the channel's file.

The platform shows up to three variants to even parts of the audience and reports the share of watch time of each. It
has no interface to ask for them: they are entered by hand. `channel_model` says what they mean.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from recast.alone import rewriting
from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.thumbnails import manifest
from recast.thumbnails.channel_model import USUAL_IMPRESSIONS, Outcome

SCHEMA = 1
RESULTS = "results.json"
CHANNEL = "channel.json"
KIT = "brand.yaml"
MOST = 3
"""Variants that the platform tests at once."""
SLACK = 0.01
"""What rounding may add to, or take from, a sum of shares."""
FOLDERS_UP = 3
"""How far above a set its brand kit is looked for."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a set tests. variants: the level of each that was shipped. pictures: SHA-256 of the files of each, of which
    id is made. levels: all of the brief's, shipped or not. distances: of pairs of variants, as check V1 measured them.
    """

    id: str
    kit: str
    title: str
    factor: str
    hypothesis: str
    levels: tuple[str, ...]
    variants: Mapping[str, str]
    pictures: Mapping[str, tuple[str, ...]]
    distances: Mapping[str, Any] = field(default_factory=dict)
    are_apart: bool | None = None  # whether V1 passed; None where it was not looked at


@dataclass(frozen=True, kw_only=True)
class Result:
    """One test with its shares (0..1, as entered). on: the day it was entered. earlier: what was entered before."""

    experiment: Experiment
    shares: Mapping[str, float]
    impressions: int | None
    on: str
    earlier: tuple[Mapping[str, Any], ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The test as the model takes it. Its sum need not be one: only the ratios of shares count."""
        return Outcome(
            factor=self.experiment.factor,
            levels=tuple(self.experiment.variants[name] for name in self.shares),
            shares=tuple(self.shares.values()),
            impressions=self.impressions or USUAL_IMPRESSIONS,
        )

    def to_dict(self) -> dict[str, Any]:
        about = self.experiment
        return {
            "id": about.id,
            "title": about.title,
            "factor": about.factor,
            "hypothesis": about.hypothesis,
            "levels": list(about.levels),
            "variants": dict(about.variants),
            "pictures": {name: list(hashes) for name, hashes in about.pictures.items()},
            "distances": dict(about.distances),
            "are_apart": about.are_apart,
            "shares": dict(self.shares),
            "impressions": self.impressions,
            "on": self.on,
            "earlier": [dict(each) for each in self.earlier],
        }


@dataclass(frozen=True, kw_only=True)
class Channel:
    """The tests of one brand kit, in the order in which they were entered first."""

    kit: str
    results: tuple[Result, ...] = ()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return tuple(each.outcome for each in self.results)

    @property
    def factors(self) -> dict[str, tuple[str, ...]]:
        """The levels of each factor that any of its sets named, tested or not."""
        found: dict[str, list[str]] = {}
        for each in self.results:
            found.setdefault(each.experiment.factor, []).extend(each.experiment.levels)
        return {factor: tuple(dict.fromkeys(levels)) for factor, levels in sorted(found.items())}

    def with_result(self, result: Result) -> Channel:
        """The channel with this result in the place of an earlier one of the same test, or at the end."""
        ids = [each.experiment.id for each in self.results]
        if result.experiment.id not in ids:
            return replace(self, results=(*self.results, result))
        at = ids.index(result.experiment.id)
        return replace(self, results=(*self.results[:at], result, *self.results[at + 1 :]))


@dataclass(frozen=True, kw_only=True)
class Entered:
    """What entering a result wrote, and what there is to say about it."""

    result: Result
    channel: Channel
    files: tuple[Path, Path]  # beside the set; of the channel
    notes: tuple[str, ...] = ()


def enter(
    folder: Path, shares: Mapping[str, float], *, on: str, impressions: int | None = None, channel: Path | None = None
) -> Entered:
    """Enter the shares of a set's test, in percent or as parts of one, into SET/results.json and the channel's file.

    shares: by variant, of all that were tested. on: the day, as 2026-01-31. impressions: of all variants together.
    channel: its file, which is made if it is not there; None for the one beside the brand kit. What was entered for the
    set before is replaced, and kept as history. Each file is written whole or not at all, and neither before both are
    read; a call that is killed between them is repaired by the same call again. Of two calls at once the second waits.
    Raises InputError for files, ConfigError for shares and impressions that cannot be used.
    """
    experiment = read_experiment(folder)
    parts = checked(shares, experiment)
    if impressions is not None and impressions < 1:
        raise ConfigError(f"impressions: {impressions} came; 1 or more accepted, of all variants together")
    beside = (folder if folder.is_dir() else folder.parent) / RESULTS
    file = channel or channel_file(beside.parent, experiment.kit)
    if file.resolve() == beside.resolve():
        raise InputError(
            f"--channel {file}: the results of the set itself, which are written too; a file of the channel's own "
            f"accepted; name another, such as {CHANNEL}"
        )
    with rewriting(beside), rewriting(file):
        return _entered(beside, file, Result(experiment=experiment, shares=parts, impressions=impressions, on=on))


def read_experiment(folder: Path) -> Experiment:
    """What the set in a folder tests, from its manifest. Raises InputError without two shipped variants."""
    data = manifest.read(folder)
    try:
        shipped = [each for each in data["variants"] if each["is_shipped"]]
        variants = {str(each["name"]): str(each["level"]) for each in shipped}
        pictures = {str(each["name"]): tuple(sorted(file["sha256"] for file in each["files"])) for each in shipped}
        v1 = next((each for each in data["set"] if each["check"] == "V1"), None)
        is_looked_at = v1 is not None and v1["verdict"] in ("pass", "fail")
        found = Experiment(
            id=hashlib.sha256(json.dumps(pictures, sort_keys=True).encode()).hexdigest()[:16],
            kit=data["kit"],
            title=data["title"],
            factor=data["factor"],
            hypothesis=data["hypothesis"],
            levels=tuple(data["levels"]),
            variants=variants,
            pictures=pictures,
            distances=dict(v1["numbers"].get("pairs", {})) if v1 is not None else {},
            are_apart=v1["verdict"] == "pass" if v1 is not None and is_looked_at else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder}: a manifest without what a test needs ({error!r}); make the set again") from None
    if len(variants) < 2:
        raise InputError(f"{folder}: {len(variants)} shipped variants; a test compares two or three; make more levels")
    return found


def parse(words: Iterable[str]) -> dict[str, float]:
    """Shares by variant from words such as night=38.2 or night=38.2%. Raises ConfigError for what is none."""
    shares: dict[str, float] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            value = float(number.strip().removesuffix("%"))
        except ValueError:
            value = math.nan
        if not equals or not name.strip() or not math.isfinite(value):
            raise ConfigError(f"{word!r}: VARIANT=SHARE accepted, such as night=38.2, in percent or as a part of one")
        if name.strip() in shares:
            raise ConfigError(f"{word!r}: {name.strip()} came twice; one share each accepted; remove one")
        shares[name.strip()] = value
    return shares


def checked(shares: Mapping[str, float], experiment: Experiment) -> dict[str, float]:
    """The shares as parts of one, by variant. Raises ConfigError for names and sums that cannot be this set's."""
    shipped = list(experiment.variants)
    for name, value in shares.items():
        if name not in shipped:
            near = get_close_matches(name, shipped, 1)
            hint = f"did you mean {near[0]}?" if near else "enter what was tested"
            raise ConfigError(f"{name}={value:g}: shipped variants of the set are {', '.join(shipped)}; {hint}")
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name}={value:g}: above 0 accepted; a variant that nobody watched was not tested")
    if not 2 <= len(shares) <= MOST:
        raise ConfigError(f"shares: {len(shares)} variants came; 2 to {MOST} accepted, all that were tested together")
    total, tolerance = sum(shares.values()), SLACK + 1e-9
    if abs(total - 1) > tolerance and abs(total / 100 - 1) > tolerance:
        raise ConfigError(
            f"shares: a sum of {total:g} came; 100 ± {100 * SLACK:g} percent, or 1 ± {SLACK:g}, accepted; enter the "
            "watch-time share of every variant of the test"
        )
    scale = 1 if abs(total - 1) <= tolerance else 100
    return {name: round(shares[name] / scale, 6) for name in sorted(shares)}


def channel_file(folder: Path, kit: str) -> Path:
    """channel.json beside the brand kit of a set: brand.yaml of that name, in a folder above the set.

    Raises InputError where there is none.
    """
    above = folder.resolve().parents[:FOLDERS_UP]
    for each in above:
        if _kit_name(each / KIT) == kit:
            return each / CHANNEL
    places = ", ".join(each.name or str(each) for each in above)
    raise InputError(f"{folder}: no {KIT} of {kit!r} in the folders above it ({places}); name the file with --channel")


def read_channel(path: Path) -> Channel:
    """The tests of a channel: its file, or the folder it lies in. Raises InputError for whatever is not one."""
    file = path / CHANNEL if path.is_dir() else path
    data = _read(file)
    try:
        return Channel(kit=str(data["kit"]), results=tuple(_result(each, data["kit"]) for each in data["tests"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: no tests of a channel ({error!r}); what `thumbnails results` wrote accepted"
        ) from None


def write_channel(path: Path, channel: Channel) -> Path:
    """Write the tests of a channel, whole or not at all."""
    tests = [each.to_dict() for each in channel.results]
    return _write(path, {"schema": SCHEMA, "kit": channel.kit, "tests": tests})


def _entered(beside: Path, file: Path, result: Result) -> Entered:
    """A result put into the records of its set and of its channel, which no other process changes meanwhile."""
    experiment = result.experiment
    known = read_channel(file) if file.exists() else Channel(kit=experiment.kit)
    if known.kit != experiment.kit:
        raise InputError(
            f"{file}: holds tests of {known.kit!r}, and the set is of {experiment.kit!r}; one channel a file accepted; "
            "name another with --channel, or write the kit's new name into it"
        )
    before, others = _read_results(beside)
    if before is not None and _is_same(before.experiment, experiment):
        experiment = replace(experiment, id=before.experiment.id)  # exported again: still the same test
    elif before is not None:
        others, before = (*others, before.to_dict()), None
    if before is None:
        before = next((each for each in known.results if each.experiment.id == experiment.id), None)
    result = replace(result, experiment=experiment)
    notes = tuple(_notes(result, before))
    if before is not None:
        result = replace(result, earlier=before.earlier if _says_same(before, result) else _history(before))
    known = known.with_result(result)
    _write(beside, {"schema": SCHEMA, "kit": experiment.kit, "test": result.to_dict(), "other_pictures": list(others)})
    write_channel(file, known)
    return Entered(result=result, channel=known, files=(beside, file), notes=notes)


def _says_same(a: Result, b: Result) -> bool:
    return (a.shares, a.impressions) == (b.shares, b.impressions)


def _history(before: Result) -> tuple[Mapping[str, Any], ...]:
    return (*before.earlier, {"shares": dict(before.shares), "impressions": before.impressions, "on": before.on})


def _notes(result: Result, before: Result | None) -> Iterable[str]:
    experiment = result.experiment
    if before is not None and _says_same(before, result):
        yield f"entered before, on {before.on}, with the same numbers: nothing to replace"
    elif before is not None:
        was = ", ".join(f"{name} {100 * share:g} %" for name, share in before.shares.items())
        yield f"entered before, on {before.on}: {was}; replaced, and kept as history"
    if result.impressions is None:
        yield f"no impressions: it counts as a test of {USUAL_IMPRESSIONS:,}; say how many with --impressions"
    left_out = [name for name in experiment.variants if name not in result.shares]
    if left_out:
        yield f"shipped but not in this test: {', '.join(left_out)}"
    if experiment.are_apart is False:
        yield "check V1 fails: some of its variants look alike, and a test of look-alikes says little"


def _is_same(a: Experiment, b: Experiment) -> bool:
    """Whether two records are of the same pictures: of each variant a file in common, so that profiles may be added."""
    are_equal = (a.factor, a.variants) == (b.factor, b.variants)
    return are_equal and all(set(a.pictures[name]) & set(b.pictures[name]) for name in a.variants)


def _read_results(file: Path) -> tuple[Result | None, tuple[Mapping[str, Any], ...]]:
    """What was entered for a set before, and for other pictures that its folder held."""
    if not file.exists():
        return None, ()
    data = _read(file)
    try:
        return _result(data["test"], data["kit"]), tuple(data["other_pictures"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file}: no results ({error!r}); what `thumbnails results` wrote accepted") from None


def _result(data: Mapping[str, Any], kit: str) -> Result:
    found = Result(
        experiment=Experiment(
            id=data["id"],
            kit=kit,
            title=data["title"],
            factor=data["factor"],
            hypothesis=data["hypothesis"],
            levels=tuple(data["levels"]),
            variants=dict(data["variants"]),
            pictures={name: tuple(hashes) for name, hashes in data["pictures"].items()},
            distances=data["distances"],
            are_apart=data["are_apart"],
        ),
        shares={name: float(share) for name, share in data["shares"].items()},
        impressions=data["impressions"],
        on=data["on"],
        earlier=tuple(data["earlier"]),
    )
    _ = found.outcome  # refuses shares and names that are no test's
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: not there; `thumbnails results` writes it; enter the result of a test") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); what `thumbnails results` wrote accepted") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{file}: not of schema {SCHEMA}; what `thumbnails results` wrote accepted")
    return data


def _write(path: Path, data: Mapping[str, Any]) -> Path:
    return image.write_bytes((json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode(), path)


def _kit_name(file: Path) -> str | None:
    """The name in a kit's file; None where there is none."""
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return data.get("name") if isinstance(data, dict) else None
