"""What a picture is to become → captions of it, of what it was, and of what else it might have become.

A picture that moved the way its own caption says, rather than one of the others', did what was asked. The others are
taken from two fixed lists, whichever model is tested: looks for edits of the whole picture, scenes for new pictures
after a reference. One that says what the instruction says is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from recast.quality.routing import Ask

OTHERS = 15
"""Distractors of a caption, where the list has as many: a random picture is first once in 16."""
LEAST_OTHERS = 9
SOURCE = "a picture"
LOOKS: tuple[tuple[str, str], ...] = (
    ("an oil painting", "oil|gogh|monet|impression"),
    ("a watercolor painting", "watercolo"),
    ("a pencil sketch", "pencil|sketch|charcoal|drawing|line art"),
    ("pixel art", "pixel|8-bit|16-bit"),
    ("an anime drawing", "anime|manga|ghibli"),
    ("a 3D render", "3d|render|pixar|clay"),
    ("black and white", "black|monochrome|gray|grey|noir"),
    ("a comic book page", "comic|cartoon|pop art"),
    ("a stained glass window", "glass|mosaic"),
    ("a low poly model", "poly|origami|lego"),
    ("at night", "night|dark|moon|star|midnight|evening"),
    ("at sunset", "sunset|sunrise|dusk|dawn|golden hour|evening"),
    ("in winter, covered in snow", "snow|winter|ice|frost|frozen|christmas"),
    ("in autumn with orange leaves", "autumn|fall|leaves"),
    ("in heavy rain", "rain|storm|wet"),
    ("in thick fog", "fog|mist|smoke|haz"),
    ("on a sandy beach", "beach|sea|ocean|sand|coast|tropic"),
    ("in a dense forest", "forest|jungle|wood|tree"),
    ("in a desert", "desert|dune|sand|wasteland"),
    ("in a busy city street", "city|street|urban|cyberpunk|tokyo|york|neon"),
    ("in outer space", "space|galaxy|planet|mars|moon|cosm|star"),
    ("under water", "water|sea|ocean|reef"),
    ("in an old library", "librar|book"),
    ("on a snowy mountain", "snow|mountain|alp|winter"),
    ("as a faded old photograph", "vintage|old|sepia|retro|faded|1920|1950|1970"),
    ("in a field of flowers", "flower|field|meadow|spring|garden"),
)
"""Looks of a whole picture, and what an instruction must not speak of for them to be another one."""
SCENES: tuple[tuple[str, str], ...] = (
    ("a bowl of fruit on a table", "fruit|bowl|table|apple"),
    ("a sailing ship at sea", "ship|boat|sail|sea|ocean"),
    ("a mountain lake at dawn", "mountain|lake"),
    ("a crowded street market", "market|street|crowd|shop"),
    ("a cat asleep on a chair", "cat|kitten|chair"),
    ("a red sports car on a road", "car|road|driv|vehicle"),
    ("a chef cooking in a kitchen", "chef|cook|kitchen"),
    ("a rocket on its launch pad", "rocket|space|astronaut"),
    ("a castle on a hill", "castle|hill|knight"),
    ("a child flying a kite", "kite|child|kid"),
    ("a football match in a stadium", "football|soccer|stadium|ball|sport"),
    ("an empty classroom", "class|school|desk|student"),
    ("a horse running over a field", "horse|field|rid"),
    ("a bridge over a river", "bridge|river"),
    ("a bunch of tulips in a vase", "tulip|flower|vase"),
    ("a snowman in a garden", "snow|garden|winter"),
    ("a man reading in a train", "read|train|book"),
    ("a bear fishing in a stream", "bear|fish|stream"),
    ("two people dancing on a stage", "danc|stage|perform"),
    ("an old clock tower", "clock|tower"),
    ("a bicycle against a brick wall", "bicycl|bike|brick"),
    ("a plate of pasta", "pasta|plate|food|eat|noodle"),
    ("a lighthouse in a storm", "lighthouse|storm|beach"),
    ("a robot in a factory", "robot|factory|machine"),
)
"""Contents of a picture, and what an instruction must not speak of for them to be another one."""


@dataclass(frozen=True)
class Captions:
    """source: of the picture before. target: of what was asked for. others: of what was not."""

    source: str
    target: str
    others: tuple[str, ...]

    @property
    def chance(self) -> float:
        """How often a picture that moved at random is nearest to the target."""
        return 1 / (1 + len(self.others))


def of(ask: Ask) -> Captions | None:
    """The captions of a look or a scene; None for other kinds, and where fewer than nine others are left."""
    if ask.phrase is None or ask.kind not in ("look", "scene"):
        return None
    listed = LOOKS if ask.kind == "look" else SCENES
    others = [_of_picture(phrase) for phrase, taken in listed if not _speaks_of(ask.phrase, phrase, taken)]
    if len(others) < LEAST_OTHERS:
        return None
    return Captions(SOURCE, _of_picture(ask.phrase), tuple(others[:OTHERS]))


def _of_picture(phrase: str) -> str:
    if re.match(r"(?:at|in|on|under|as|with|by|during|like)\b", phrase):
        return f"{SOURCE} {phrase}"
    if re.match(r"(?:an?|the|some|two|three)\b", phrase):
        return f"{SOURCE} of {phrase}" if not re.search(r"painting|drawing|art|render", phrase) else phrase
    return f"{SOURCE}, {phrase}"


def _speaks_of(asked: str, phrase: str, taken: str) -> bool:
    """Whether what was asked for may be this phrase, or is so general that it may mean it ("a painting")."""
    if re.search(rf"\b(?:{taken})", asked):
        return True
    words = set(re.findall(r"[a-z]{3,}", asked)) - {"the", "and", "with", "style", "picture", "looks", "like"}
    return bool(words) and words <= set(re.findall(r"[a-z]{3,}", phrase))
