"""What titles say: words, thumbnail phrases, numbers, and strings that are no words at all."""

from __future__ import annotations

from recast.world.dice import Dice

LETTERS_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 24
"""Characters in a title, at most: what still fits a square picture of 256 pixels."""

_WORDS = """
hello world wow sale new top fun game over win live show night day party summer winter beach city space moon star
robot cat dog cooking travel vlog epic fast slow big small hot cold ice fire water earth wind magic hero quest level
boss final round one two three four five yes no maybe why how what when who secret truth myth best worst ever today
news free code image edit paint draw art music dance sing rock jazz piano guitar drums band love peace happy smile
friend family school math science lab test exam pass fail jump run swim fly race bike train plane ship island
jungle lion tiger bear wolf fox eagle shark whale pizza burger cake apple lemon mango coffee tea milk bread sugar
salt spice taste gym yoga relax sleep dream wake go stop start end open close up down left right north south east
west gold silver rich poor money cash save spend tips tricks hacks guide review unboxing tech phone laptop future
past storm rain snow sun cloud sky sea river lake hill peak road trip tour camp hike map lost found legend shock
broken banned insane crazy easy hard zero huge tiny real fake first last alone again never always finally
"""
WORDS = tuple(_WORDS.split())
_PHRASES = """
I quit|watch this|do not try|the end|game over|last chance|how to win|day one|it works|no way|must see|we did it
top secret|for beginners|in one hour|the truth|what happened|behind the scenes|before and after|a new start
so close|big mistake|full guide|my story|is it worth it|day 100|part two|season finale|100 days later|never again
just do it|step by step|part 3|only 24 hours|from zero|too good|the best ever|don't blink|you won't believe it
it's over|that's wild|level up|go faster|made at home|world record|first try|one last time|epic fail|new rules
"""
PHRASES = tuple(_PHRASES.strip().replace("\n", "|").split("|"))
ENDINGS = ("!", "?", "...", "!!", "?!", ":", ".")


def text(dice: Dice) -> str:
    """What a title says: 1 to LONGEST characters, one line or two with a line feed between."""
    kind = dice.weighted({"word": 30, "phrase": 26, "words": 10, "number": 10, "random": 20, "two lines": 4})
    said = _KINDS[kind](dice)
    if kind != "random" and dice.chance(0.15):
        said += dice.choice(ENDINGS)
    return said[:LONGEST].strip()


def one_letter_off(said: str, dice: Dice) -> str:
    """The title with one of its letters or digits another one of the same case; itself if it has none."""
    places = [i for i, character in enumerate(said) if character.isascii() and character.isalnum()]
    if not places:
        return said
    place = dice.choice(places)
    old = said[place]
    alphabet = LOWER if old.islower() else LETTERS_AND_DIGITS[:26] if old.isalpha() else LETTERS_AND_DIGITS[26:]
    new = dice.choice([character for character in alphabet if character != old])
    return said[:place] + new + said[place + 1 :]


def _cased(said: str, dice: Dice) -> str:
    case = dice.weighted({"upper": 60, "title": 18, "lower": 12, "first": 10})
    if case == "upper":
        return said.upper()
    if case == "lower":
        return said.lower()
    if case == "title":
        return " ".join(word[:1].upper() + word[1:] for word in said.split(" "))
    return said[:1].upper() + said[1:]


def _word(dice: Dice) -> str:
    return _cased(dice.choice(WORDS), dice)


def _phrase(dice: Dice) -> str:
    return _cased(dice.choice(PHRASES).strip(), dice)


def _words(dice: Dice) -> str:
    return _cased(" ".join(dice.choice(WORDS) for _ in range(2 + dice.below(2))), dice)


def _number(dice: Dice) -> str:
    number = dice.choice(
        (dice.below(10), dice.below(100), dice.below(1000), 1000 * dice.below(100), 2020 + dice.below(12))
    )
    form = dice.choice(
        ("{}", "{}", "#{}", "{}%", "${}", "TOP {}", "{} DAYS", "{}X", "+{}", "{} vs {}", "DAY {}", "{:,}")
    )
    return form.format(number, dice.below(100))


def _random(dice: Dice) -> str:
    length = 1 + dice.below(10)
    alphabet = dice.weighted(
        {LETTERS_AND_DIGITS: 6, LETTERS_AND_DIGITS[:26]: 4, LOWER: 1, LETTERS_AND_DIGITS + LOWER: 2, LOWER + "!?&+-": 1}
    )
    return "".join(dice.choice(alphabet) for _ in range(length))


def _two_lines(dice: Dice) -> str:
    case = str.upper if dice.chance(0.7) else str.capitalize
    return "\n".join(case(dice.choice(WORDS)) for _ in range(2))


_KINDS = {
    "word": _word,
    "phrase": _phrase,
    "words": _words,
    "number": _number,
    "random": _random,
    "two lines": _two_lines,
}
