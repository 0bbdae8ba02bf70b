"""A channel's first two files: brief.yaml and brand.yaml, every key explained, to be edited."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from recast.errors import InputError
from recast.pixels.image import write_bytes

BRIEF = """\
# One video's thumbnails. `recast thumbnails make brief.yaml` makes them.
# Paths start at this file's folder. Colours stand in quotes: a bare # begins a comment.
schema: 1

title: Forty days alone on an island    # of the video; manifests carry it
text: "40 DAYS"                         # on the picture, as it is written; two to five words are read; "" for none
kit: brand.yaml                         # the channel's brand kit

# What the video is about; all optional.
topic: survival                                     # `concepts` writes instructions about it
hooks: [the last match, the storm]                  # up to three; `concepts` tries them as titles
hypothesis: A frightened face is clicked more than a proud one.     # manifests carry it
promise: What an island teaches in forty days       # a note for people; nothing reads it
audience: people who dream of leaving the city      # a note for people; nothing reads it

characters: [host]      # who must show: ids of the kit; each variant's faces are compared with their pictures
# images:               # more pictures to take things from; instructions call them @name
#   product: knife.png
# licenses: {frame: own work, product: CC-BY-4.0}    # of the frame and of images; manifests carry them
layout: face-right      # where face and text go: an id of the kit; left out: the best of the kit's
# text_in_scene: true   # let the model set the letters into the picture; read back, and laid over if misread

base:                   # the picture that all variants share: a frame, or a prompt
  frame: frame.jpg      # a picture of at least 64 pixels a side; 1280x720 or larger is best
  # edit: put @host in front of a beach at noon     # changes the frame once, before the variants
  # prompt: a beach at noon, @host in front of it   # instead of a frame: what to generate
  keep: characters      # what no edit may touch: characters (their faces) or nothing
  # keep_boxes: [[60, 10, 95, 60]]                  # and these: [left, top, right, bottom] in percent of the frame
  # keep_mask: cutout.png                           # instead of faces: as large as the frame, white where kept;
  #                                                 # beside a prompt 1280x720

variants:
  # What they differ in, and in nothing else:
  #   text, layout, colour                   set anew over one picture; levels hold text:, layout: or colour:
  #   background, expression, prop, style    edited by the model; levels hold edit:
  factor: expression
  levels:                                    # name: short, each its own; files are called by it
    - name: as it is                         # without edit: the base itself
    - {name: afraid, edit: make @host look afraid}
    - {name: proud, edit: make @host look proud}
  seeds_per_level: 1    # how many pictures each level gets; more than 1 where levels hold edit:, at most 200 in all
  retries: 2            # new seeds for a picture on which a face is lost
  ship: 3               # how many of those that pass are exported, best first, one a level

seed: 0                 # the same seed gives the same pictures
# steps: 8              # left out: the model's own
# profiles: [youtube-portable]   # left out: the kit's
"""

BRAND = """\
# What all thumbnails of a channel have in common.
# Paths start at this file's folder. Colours stand in quotes: a bare # begins a comment.
schema: 1
name: example-channel

# role: a name of yours; hex: sRGB; tol: how far (CIEDE2000) a colour may be and still count as this one.
# share: 0..1, optional: how much of a picture it usually covers; `recast thumbnails learn` measures it.
palette:
  - {role: primary, hex: "#E0242B", tol: 5}
  - {role: accent, hex: "#FFD21F", tol: 5}
  - {role: ink, hex: "#0B0B0F", tol: 8}

# file: a TTF or OTF file, or one of those that we bring: anton (narrow), geologica (wide; Cyrillic, Greek).
# case: upper or as-is. tracking: thousandths of an em between letters.
fonts:
  - {role: headline, file: anton, license: OFL-1.1, case: upper, tracking: 5}

# fill, color: a role of the palette or a colour. Pixels are those of a picture 720 high. stroke, shadow: optional.
text_style:
  fill: accent
  stroke: {color: ink, px: 10}
  shadow: {dx: 0, dy: 6, blur: 12, opacity: 0.6}

# file, mono (for busy backgrounds, optional): SVG, or PNG with transparency.
# anchor: top-left, top-right, bottom-left, bottom-right or center.
# width_pct: least and most width, clear_space_pct: how near anything else may be, in percent of the frame's width.
logo: {file: logo.svg, anchor: top-left, width_pct: [8, 14], clear_space_pct: 2}   # license: optional

characters:
  - id: host                        # instructions call this person @host
    references: [faces/host.jpg]    # 1 to 8 pictures that show this face alone; 3 to 8 are better
    # lora: {file: host.safetensors, weight: 0.8, optional: true}   # an adapter trained on this person;
    #                               optional: without its file, pictures are made without it
    # identity_min: 0.55            # least cosine to the references; left out: the recogniser's calibrated limit
    must_keep: []                   # a note for people, which nothing checks: such as [glasses, beard]
    # license: own work             # of the references; manifests carry it
    # consent: {by: name, date: 2026-01-10}     # who allowed the use of this face, and when

# Boxes are [left, top, right, bottom] in percent of the frame. The length of the video covers what is right of 78 and
# below 82: nothing of importance goes there. logo: its corner, where it differs from logo.anchor.
layouts:
  - {id: face-right, text: [5, 10, 52, 60], face: [55, 8, 97, 95]}
  - {id: face-left, text: [48, 10, 95, 60], face: [3, 8, 45, 95], logo: top-right}

look:
  reference_images: []              # such as [past/1.jpg, past/2.jpg]: thumbnails that look right
  # saturation: [0.35, 0.65]        # least and most mean (HSV)
  # key: high                       # how light: high, mid or low
  avoid: []                         # a note for people, which nothing checks: such as [gradient sky]
  # style: brand.style.json         # written by `recast thumbnails learn`

rules:
  max_words: 5
  max_characters: 24
  max_lines: 2
  forbid_badge_zone: true
  min_contrast: 4.5                 # of letters to what is around them (WCAG)
  brand_min: {}                     # such as {palette: 60}; of: palette, typography, logo, layout, identity, look
  extra_faces: false                # whether faces other than the characters' may show

# youtube-portable, youtube-4k, shorts, square, feed-4x5, og, x, podcast
export: {profiles: [youtube-portable]}
"""


def new(folder: Path) -> tuple[Path, Path]:
    """Write brief.yaml and brand.yaml into a folder, which is made if it is not there; their paths.

    Both or neither. Raises InputError if one of them is there already, and for a place that cannot be written.
    """
    brief, brand = folder / "brief.yaml", folder / "brand.yaml"
    for path in (brief, brand):
        if path.exists():
            raise InputError(
                f"folder={str(folder)!r}: holds a {path.name}; a folder without one accepted; name another"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        words = f"cannot be made ({failure.strerror}); a folder in a writable place accepted; name another"
        raise InputError(f"folder={str(folder)!r}: {words}") from failure
    write_bytes(BRAND.encode(), brand)
    try:
        write_bytes(BRIEF.encode(), brief)
    except BaseException:
        with suppress(OSError):
            brand.unlink()
        raise
    return brief, brand
