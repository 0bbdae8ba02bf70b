"""From a brief to a checked set of thumbnails: one base picture, its variants, lettering, checks, files."""
