"""What the values of attributes are called: for each value one or more names, all of them true and none shared."""

from __future__ import annotations

from collections.abc import Mapping

Names = Mapping[str, tuple[str, ...]]

HAIR: Names = {
    "short": ("short hair",),
    "long": ("long hair",),
    "curly": ("curly hair", "curls"),
    "bun": ("hair in a bun", "a bun"),
    "spiky": ("spiky hair",),
    "ponytail": ("a ponytail", "hair in a ponytail"),
    "bald": ("a bald head", "no hair"),
}
GLASSES: Names = {
    "round glasses": ("round glasses",),
    "square glasses": ("square glasses",),
    "sunglasses": ("sunglasses", "shades"),
}
HATS: Names = {
    "cap": ("cap", "baseball cap"),
    "beanie": ("beanie", "woolly beanie"),
    "top hat": ("top hat",),
    "crown": ("crown",),
    "party hat": ("party hat", "cone party hat"),
}
HAT_COLOURED: Names = {"crown": ("crown with {colour} gems",)}
"""How a coloured hat is said where the colour is not that of the whole; otherwise "{colour} cap"."""
OUTFITS: Names = {
    "t-shirt": ("t-shirt", "shirt", "tee"),
    "striped t-shirt": ("striped t-shirt", "striped shirt"),
    "hoodie": ("hoodie",),
    "jacket": ("jacket",),
}
EXPRESSIONS: Names = {
    "happy": ("happy", "cheerful"),
    "sad": ("sad", "unhappy"),
    "surprised": ("surprised", "shocked"),
    "angry": ("angry", "furious"),
    "calm": ("calm", "relaxed"),
}
POSES: Names = {
    "standing": ("standing still", "standing with arms down"),
    "waving": ("waving", "waving a hand"),
    "cheering": ("cheering", "cheering with both arms up"),
    "pointing": ("pointing",),
}
POSE_VERBS: Names = {
    "standing": ("stand still", "stand with arms down"),
    "waving": ("wave", "wave hello"),
    "cheering": ("cheer", "raise both arms and cheer"),
    "pointing": ("point",),
}
BACKGROUNDS: Names = {
    "beach": ("a beach", "the beach", "a sandy beach"),
    "forest": ("a forest", "the forest", "the woods"),
    "city": ("a city", "the city", "a city street"),
    "mountains": ("the mountains", "a mountain landscape"),
    "room": ("a room", "a living room"),
    "studio": ("a studio", "a studio backdrop"),
    "desert": ("a desert", "the desert"),
    "space": ("outer space", "space"),
    "rays": ("a sunburst", "bold sunburst rays"),
    "leaves": ("a photo of overlapping shapes", "a photo of piled-up textures"),
    "clouds": ("a photo of cloudy texture", "a photo of soft clouds"),
    "still life": ("a photo of a still life", "a photo of solids on a table"),
    "hills": ("a photo of hills", "a photo of hilly country"),
    "plain": ("a plain background", "a plain backdrop"),
}
WHERE: Names = {
    "beach": ("at the beach", "on a beach"),
    "forest": ("in a forest", "in the woods"),
    "city": ("in the city", "in a city", "on a city street"),
    "mountains": ("in the mountains",),
    "room": ("in a room", "in a living room"),
    "studio": ("in a studio",),
    "desert": ("in the desert", "in a desert"),
    "space": ("in outer space", "in space"),
    "rays": ("in front of a sunburst", "before bold sunburst rays"),
    "leaves": ("in front of a photo of overlapping shapes",),
    "clouds": ("in front of a photo of cloudy texture", "in front of a photo of soft clouds"),
    "still life": ("in front of a photo of a still life",),
    "hills": ("in front of a photo of hills",),
    "plain": ("on a plain background", "before a plain backdrop"),
}
TIMES: Names = {
    "day": ("day", "daytime"),
    "night": ("night", "nighttime"),
    "sunset": ("sunset", "evening"),
    "winter": ("winter", "snowy winter"),
}
WHEN: Names = {
    "day": ("by day", "in daylight", "during the day"),
    "night": ("at night", "by night"),
    "sunset": ("at sunset", "in the evening"),
    "winter": ("in winter", "in the snow"),
}
STYLES: Names = {
    "flat": ("flat cartoon",),
    "watercolor": ("watercolor", "watercolour", "watercolor painting"),
    "pencil": ("pencil sketch", "pencil drawing", "colored pencil drawing"),
    "pixel": ("pixel art", "8-bit pixel art", "pixel graphics"),
    "poster": ("poster", "bold poster", "poster print"),
}
LOOKS: Names = {
    "black and white": ("black and white", "grayscale"),
    "warm": ("warmer", "warmer in tone"),
    "cool": ("cooler", "cooler in tone"),
    "contrast": ("higher in contrast", "more contrasty"),
}
LOOKED: Names = {
    "black and white": ("black and white", "in grayscale"),
    "warm": ("in warm tones", "with a warm tint"),
    "cool": ("in cool tones", "with a cool tint"),
    "contrast": ("in high contrast", "with strong contrast"),
}
SIDES: Names = {
    "left": ("on the left", "on the left side"),
    "center": ("in the center", "in the middle"),
    "right": ("on the right", "on the right side"),
}
TOWARDS: Names = {
    "left": ("to the left", "over to the left"),
    "center": ("to the center", "to the middle"),
    "right": ("to the right", "over to the right"),
}
TITLE_PLACES: Names = {
    "top": ("at the top", "along the top"),
    "middle": ("at middle height", "halfway down"),
    "bottom": ("at the bottom", "along the bottom"),
}
TITLE_TOWARDS: Names = {
    "top": ("to the top", "up to the top"),
    "middle": ("to middle height", "to halfway down"),
    "bottom": ("to the bottom", "down to the bottom"),
}
TITLE_SIDES: Names = {
    "left": ("on the left", "on the left side"),
    "center": ("centered from left to right", "in the horizontal center"),
    "right": ("on the right", "on the right side"),
}
"""Where lettering stands from side to side: "in the middle" could as well be meant from top to bottom."""
TITLE_SIDEWAYS: Names = {
    "left": ("to the left", "over to the left"),
    "center": ("to the horizontal center", "sideways to the center"),
    "right": ("to the right", "over to the right"),
}
TILTED: Names = {
    "-6": ("sloping down", "tilted downwards"),
    "0": ("level", "straight"),
    "6": ("sloping up", "tilted upwards"),
}
SIZES: Names = {"small": ("small", "little"), "big": ("big", "large")}
PEOPLE = ("person", "character", "presenter", "host")
TITLES = ("title", "text", "headline", "lettering")
PICTURES = ("picture", "image")


def a_style(name: str) -> str:
    """A picture of that style: "a watercolor", but "pixel art" and not "a pixel art"."""
    return name if name.endswith(("art", "graphics")) else article(name)


def article(words: str) -> str:
    """The words with "a" or "an" before them, as the words of this world need it (eight-bit, but no unicorn)."""
    return f"an {words}" if words[0].lower() in "aeiou8" else f"a {words}"
