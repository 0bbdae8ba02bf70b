"""Pictures beside each other, at one height: python examples/side_by_side.py OUT IMAGE [IMAGE ...]"""

import sys

from PIL import Image

from recast.pixels.image import read, write


def main(out: str, *paths: str) -> None:
    """Write the sheet and print where it is."""
    pictures = [read(path).to_pil().convert("RGB") for path in paths]
    height = max(picture.height for picture in pictures)
    pictures = [p.resize((round(p.width * height / p.height), height), Image.Resampling.LANCZOS) for p in pictures]
    sheet = Image.new("RGB", (sum(p.width + 8 for p in pictures) - 8, height), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + 8
    print(write(read(sheet), out))


if __name__ == "__main__":
    main(*sys.argv[1:])
