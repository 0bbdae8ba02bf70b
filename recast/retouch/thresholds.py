"""Every threshold of a merge, with the measurement that set it.

Lengths are pixels of the analysis grid (about one megapixel) unless a name says otherwise; levels run from 0 to 255.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GRID_PIXELS = 1 << 20
"""Pictures larger than this are looked at on a grid of this many pixels; they are merged at their own size."""


@dataclass(frozen=True)
class Registering:
    """When an edit counts as lying on its source, and when as another framing of it."""

    smallest_side: int = 32
    """Pictures with a shorter side are never moved: there is room for no tile that could say how far."""
    keypoint_pixels: int = 1 << 18
    """Keypoints are sought on this many pixels: SIFT takes 0.1 s of one core a picture there, 0.5 s at 1 MP."""
    most_keypoints: int = 2000
    """Photographs have 700 to 2000 there; matching costs their square (0.07 s)."""
    ratio: float = 0.8
    """A match is nearer than this share of the second nearest: Lowe 2004, section 7.1."""
    reach: float = 0.15
    """How far a keypoint may lie off, in long sides: a corner moves by 0.13 under all limits below together."""
    inlier_px: float = 1.5
    """A match agrees within this: product notes, 3.4 step 2. Keypoints of a spoiled edit lie 0.1 to 0.5 px off."""
    least_inliers: int = 8
    """Five unrelated pictures, all pairs, agree on 4 matches at most; three quarters replaced leaves 11 and more."""
    least_share: float = 0.2
    """Of the matches. Three quarters of a brick wall replaced and zoomed by 1.04 leaves 0.24, a right one."""
    least_cells: int = 3
    """Of 16. A quarter of the frame, left at one edge or in one corner, has 3 or 4."""
    most_zoom: float = 0.08
    """Largest |scale - 1| that an editor drifts by; more is another framing: product notes, 3.4 step 2."""
    most_turn_deg: float = 2.0
    """Largest turn of a drift, the same source."""
    most_shift: float = 0.06
    """Largest shift of a drift at the middle of the frame, in long sides, the same source."""
    still_gain: float = 1.25
    """A motion is that of a part if this many times as many tiles lie on their like without it."""
    least_still: float = 0.2
    """Less of the textured tiles lying on their like is nothing: unrelated photographs have up to 0.12, noise 0.02."""
    least_same: float = 0.15
    """Fewer of the textured tiles, at the coarsest level, showing what the source shows is new content. Of ten
    backgrounds that `nano` drew anew 0.025 to 0.044 do by chance; of what only drifted nearly all."""
    sure_inliers: int = 24
    """Keypoints of what was not held that agree on a motion beyond doubt; of ten backgrounds that `nano` drew anew 4 to
    13 match, and no three agree."""
    sure_share: float = 0.5
    """Of the matches, for the same."""
    least_placed: float = 0.05
    """So many of the textured tiles must lie in place for an edit that was held to need no search. Of backgrounds
    behind a person who takes 0.3 of the frame 0.25 to 0.4 do, and at most 0.01 once the edit is moved by a pixel."""
    textured_keypoints: int = 150
    """A picture with as many shows enough for "nothing is found" to mean something; flat graphics have 10 to 250."""
    much_better: float = 1.5
    """So many times the matches of a similarity. A wobble of 3.5 px has fewer at places 8 px off, a corner pulled by
    6 % of the frame 2.2 times as many."""
    least_unchanged: float = 0.03
    """Share of the frame that must be unchanged for a second pass to look at nothing else."""

    phase_px: int = 128
    """Side of the tiles of the fallback: they reach a third, as far as a zoom of 0.92 moves a corner of the middle."""
    least_phase_px: int = 24
    """The same for small pictures."""
    confident: float = 1.6
    """A tile's peak over its next, 3 px and more away. Below it a straight edge slides along itself."""
    tile_rounds: int = 4
    """Rounds of the fallback at most: each brings farther tiles within reach."""
    tile_inlier_px: float = 3.0
    """A tile agrees within this: a zoom of 4 % moves its own ends by 2.5 px against each other."""
    least_tiles: int = 6
    """A poster of one circle and one rectangle has 6, rightly placed."""

    tiles_a_side: int = 24
    """Tiles for the exact motion: 43 px at 1 MP, several between two control points."""
    smallest_tile_px: float = 12.0
    """The same at coarser levels and for small pictures. Tiles of 5 px find a shift for any content: a brick wall with
    three quarters replaced was pulled 10 px away."""
    least_texture: float = 9.0
    """Mean square, in levels, of a tile that shows anything; blurred noise of 5 levels with JPEG 85 has 1.7 to 3.5."""
    other: float = 0.6
    """Share of a tile's texture that differs: other content has 1.1 and more in 95 % of tiles, kept content that went
    through blur, noise and JPEG 85 up to 0.36 (0.55 in a night sky)."""
    apart_px: float = 0.7
    """A tile this far from the rest counts a quarter."""
    least_noise: float = 1.0
    """Mean square, in levels, below which a tile is not taken to be more exact."""
    alike_px: float = 16.0
    """Neighbouring pixels are blurred alike: so many count as one."""
    repeats: int = 2
    """Steps a level. On a flat graphic a third and a fourth move a corner by under 0.005 px."""
    settled_px: float = 0.02
    """A smaller step is the last of its level."""
    longest_step_px: float = 8.0
    """Where the picture wobbles by 2 to 3.5 px, keypoints agree on a part and are up to 7 px wrong elsewhere; tiles
    that pull farther have found another match."""
    least_px: float = 0.25
    """Less is not warped at all: product notes, 3.4 step 2; a resampling would cost more than it brings."""

    bend_most_px: float = 4.0
    """Cap of a bend: product notes, 3.4 step 2."""
    bend_px: float = 3.0
    """Prior deviation of a control point from none; holds those no tile speaks for."""
    curve_px: float = 1.5
    """Prior deviation of a control point from the line of its neighbours; a wobble of 2 px is found to 0.1 px."""
    bend_gain: float = 0.1
    """Share of what differs that a bend has to take away. No wobble: up to 0.05. One of 0.5 px: 0.12 to 0.47."""
    least_bend_tiles: int = 40
    """Tiles a bend has to stand on: one for each control point."""


@dataclass(frozen=True)
class Colouring:
    """How far a drift of colour may be corrected.

    "Field" below: a smooth field of 6 levels, other in each channel, on a photograph of 0.24 MP whose plain mean dE00
    it raises to 2.4; fitted where nothing else changed the mean left is 0.21 to 0.27 on three photographs.
    """

    cap: float = 12.0
    """Most levels a pixel may be moved: product notes, 3.4 step 4. A drift above it is a look, not a drift."""
    least_unchanged: float = 0.15
    """Share of the frame that must be unchanged for a fit: product notes, 3.4 step 4."""
    least_cells: int = 64
    """Fewer cells than seven for each of nine terms say more of themselves than of the drift."""
    cell: int = 8
    """Side of a cell at the size of the grid. Noise of 25 levels in single pixels (an autoencoder has 15) takes 15 %
    off the slope over v where values spread by 60 levels; in means over 8 x 8 pixels, less than 2 %."""
    cells: int = 64
    """Smaller frames have smaller cells, so that 64 x 64 of them fit."""
    reweightings: int = 4
    """Product notes, 3.4 step 4; a patch of 5 % of the frame that changed leaves less than half the error of none."""
    ridge: float = 1e-4
    """Weight of the square of a coefficient beside one cell: moves a determined term by less than 0.01 levels."""
    least_spread: float = 0.25
    """Levels; residuals within it are rounding and need no weight of their own."""
    least_drift: float = 0.5
    """Levels; a correction that stays below would change no byte for certain."""
    field_cells: int = 48
    """Cells along the side of a square frame in which what the polynomial leaves is smoothed."""
    field_sigma: float = 0.08
    """Of that side: how smooth a drift is. Colour fields of 6 levels through a 3 x 3 net, mean dE00 left on astronaut /
    coffee: polynomial alone 1.03 / 1.18; with sigma 0.12 0.64 / 0.67, 0.08 0.48 / 0.48, 0.05 0.37 / 0.35. Narrower
    ones begin to follow a soft shadow."""
    field_known: float = 0.1
    """Share of the neighbourhood that must be unchanged; below it the field dies away."""
    field_cap: float = 6.0
    clipped: float = 3.0
    """Levels from white or black within which a level may have been clipped: noise and JPEG move it by as much."""
    field_outlier: float = 7.0
    """Levels from which what the polynomial leaves of a cell is no drift."""


@dataclass(frozen=True)
class Differing:
    """When a pixel counts as changed, and when changed pixels count as a region.

    Measured on 11 photographs of scikit-image, 5 drawings of recast.world and 3 flat graphics of 0.13 to 0.42 MP with
    an object, a hue moved by dE00 6.5, white or black letters of 20 px in strokes of 2 px and a removed disc in each.
    "All" is 2.3 px + 0.4 % resampled twice with 0.15 px left, a colour field of 6 levels and JPEG 90 together; "nano"
    the round trip of the nano autoencoder (20 to 29 dB), "far" what is flagged beyond 3 px from any change, in percent
    of the frame. With these numbers, photographs / drawings / flat: under "all" far 0.22 / 0.41 / 1.32, recall of
    objects 1.00, letters 1.00, hue 0.996 / 0.98 / 0.997; under "nano" far 2.7 / 5.1 / 24, objects 0.998 / 0.997 /
    0.99, letters 0.998 / 0.995 / 1.00, hue 0.3 to 0.6: it moves colours of whole objects by more than dE00 6.5, and no
    threshold tells the two apart. Against the round trip of the source instead of the source: far 1.7 / 1.0 / 3.3,
    hue 0.80 / 0.98 / 0.98.
    """

    blur: float = 1.0
    """Sigma before colours are compared: product notes, 3.4 step 5."""
    window: int = 7
    """Side of the window of SSIM."""
    bins: tuple[float, ...] = (1.0, 2.5, 6.0, 14.0)
    """Mean gradient, levels per px, between bins: about a fifth of a photograph in each. Under "nano" the median of a
    bin runs from 0.8 (flat) to 9.5 (busy) on one photograph."""
    around: int = 9
    """Side of the window the gradient is averaged over: noise follows the texture round a pixel rather than at it.
    Pixels over the weak level under "all", in the flattest bin of a photograph: 1.2 % with, 3.4 % without."""
    least_bin: int = 400
    """Sampled pixels a bin needs to have noise of its own; the MAD of 400 is off by 6 %."""
    sample: int = 1 << 18
    """Noise is measured on about so many pixels, a regular grid of the frame."""
    weak: float = 2.2
    """Lowest dE00 that is more than noise: product notes, 3.4 step 5."""
    strong: float = 4.0
    """Lowest dE00 that is a change for certain: product notes, 3.4 step 5."""
    weak_deviations: float = 3.0
    """MAD above the median. Worst recall of hue under "all", photographs / drawings: 0.97 / 0.96 with 3, 0.87 / 0.69
    with 4; far 0.20 / 0.39 with 3, 0.16 / 0.31 with 4."""
    strong_deviations: float = 12.0
    """Far under "nano", photographs / drawings: 2.1 / 5.4 with 8, 1.4 / 4.6 with 12, 1.1 / 3.7 with 16; with 16 the
    hue on one photograph is lost whole."""
    median_of_quarter: float = 3.0
    """The median may be so many times the lower quarter. Ratios seen in noise alone: 1.1 to 2.0. With 2 here
    and 1.1 below far under JPEG doubles on flat graphics (1.8 to 3.4), whose noise sits at few edges."""
    mad_of_quarter: float = 2.0
    """The same for the MAD. Seen in noise alone: 0.2 to 1.1."""
    most_ratio: float = 5.0
    """A bin's level over that of the whole frame; up to 5 was seen under "nano". With 3 far on drawings under "nano"
    grows from 6.2 to 8.0; without a bound an object alone in its bin is its own noise."""
    flatter_ratio: float = 1.5
    """A bin's noise over the largest of the busier ones. A sky of half of the frame, tinted by 45 levels at the top and
    18 at the horizon, fills the flat bins and was its own noise: 1 % of it found without, all with 1.5."""
    most_weak: float = 16.0
    """And no more than this, whatever the noise: a picture at night, or painted anew, is not its own noise."""
    most_strong: float = 24.0
    """The same for what is certain."""
    structure: float = 0.35
    """Lowest 1 - SSIM that raises a pixel to weak: what a standard deviation of 5.6 levels on flat ground makes."""
    structure_delta: float = 0.5
    """Share of the weak level that dE00 must reach beside it, so that the window of SSIM does not widen the mask."""
    dark: float = 12.0
    """L* below which structure may make a pixel strong: 14 levels in letters on level 4 stay below dE00 4."""
    bright: float = 94.0
    """L* above which it may: 14 levels in letters on level 240 stay below dE00 4."""
    dull_structure: float = 0.35
    """Lowest 1 - SSIM there; far under JPEG and "all" grows by less than 0.03 against no such rule."""
    spill_reach: int = 3
    """Pixels over which the blur carries a large difference to its neighbours: 3 sigma."""
    spill_levels: float = 6.0
    """A pixel whose own levels differ less, and ..."""
    spill_share: float = 0.25
    """... whose dE00 is below this share of the largest in reach, only takes part in its neighbour's. Mask over strokes
    of letters 1.8 with, 2.2 without (clean photographs); a faint shadow beside the letters is kept."""
    closing: int = 5
    """Side of the closing of weak pixels: product notes, 3.4 step 6."""
    leash: float = 0.004
    """Share of the diagonal from a strong pixel within which weak pixels of any shape belong to it; beyond only ..."""
    opening: int = 9
    """... what a disc of this diameter fits in: weak noise runs along edges. Far under JPEG, photographs / drawings /
    flat: 0.09 / 0.19 / 1.1 with 9, 0.20 / 0.70 / 1.8 without either."""
    near: float = 0.007
    """Share of the diagonal within which fragments are one region: product notes, 3.4 step 6."""
    least_strong: int = 40
    """Strong pixels of a region at the size of the grid (product notes, 3.4 step 6), by the diagonal below it."""
    least_strong_small: int = 8
    """And never fewer."""
    erosion: int = 12
    """Distance of what counts as unchanged from any change, at the size of the grid: product notes, 3.4 step 3."""
    hole: float = 0.0015
    """Share of the frame below which a hole is filled: product notes, 3.4 step 8."""
    hole_delta: float = 0.5
    """Share of the weak level that the mean dE00 of a larger hole must exceed: product notes, 3.4 step 8."""


@dataclass(frozen=True)
class Doubting:
    """When a region that looks changed is none."""

    least_levels: float = 6.0  # that a change must reach in one pixel of twenty
    blur: float = 2.0
    drift_most: float = 12.0  # levels: what differs by more is a change, border or not
    gap: int = 2  # pixels on either side of a region's edge that belong to neither
    ring: int = 6  # wide are the rings inside and outside that are compared
    window: int = 25  # along the edge
    step: float = 2.5  # levels across the edge below which there is no border
    step_quantile: float = 0.5
    soft_sigmas: tuple[float, ...] = (0.7, 1.2)
    soft_share: float = 0.5  # of the difference that a blur of the source leaves
    soft_levels: float = 4.0


@dataclass(frozen=True)
class Composing:
    """How wide a border is, and how far colours may be bent to meet at it."""

    reach_px: float = 10
    """The hard support is the core and so much round it: as far as the next region may be (`Differing.near`)."""
    least_width_px: float = 2
    """Of the soft border across strong edges, which a wider one shows twice; in flat areas it is `reach_px` wide."""
    steep: float = 8
    """Levels a pixel at which the border is 6 px wide, halfway. On four photographs half of the pixels lie below 2,
    where it is 9.5 px wide, and one in twenty above 10 to 20."""
    gradient_cost: float = 0.1
    """CIEDE2000 that a level a pixel is worth to the seam: an edge of 20 levels a pixel is as bad as a CIEDE2000 of 2,
    the least that counts as a change."""
    guide_radius_px: float = 8
    guide_eps: float = 1e-4
    """The guided filter's window and its variance (of levels from 0 to 1, so 2.5 levels of 255) that is no edge."""
    seam_delta: float = 0.5
    """95th percentile of CIEDE2000 along the border from which colours are bent. With 3 levels of drift on four
    photographs the worst gradient at the border is 2.0 times the source's own at a limit of 2, 1.0 times at 0.5
    (`tests/retouch/test_compose.py`); a single level of drift stays below the limit."""
    membrane_fade_px: float = 24
    membrane_cap: float = 6
    """Levels by which a colour is bent at most; what differs by more than twice as much is no drift."""
    membrane_delta: float = 0.5
    """CIEDE2000 by which a colour deeper than `reach_px` is bent at most, before it is rounded: in 120 draws of a flat
    colour and a drift of up to 8 levels it is 0.995 at most after rounding to 8 bits, 1.30 with a limit of 0.6."""
    membrane_around_px: float = 8
    """Beyond the reach: where drift is measured as well."""


@dataclass(frozen=True)
class Judging:
    """What is called a global change. There is no change where no region is found: how small it may be, see above."""

    most: float = 0.6  # of the frame
    apart: float = 8.0
    """CIEDE2000 from which all but the rest of the frame counts as changed, whatever its noise: nano's round trip has
    medians of 0.8 to 9.5 by texture, a picture painted anew 8 to 40."""


@dataclass(frozen=True)
class Editing:
    """What is done to an edit before it is merged, and what is foretold of it. Lengths are the source's pixels."""

    agree_levels: float = 6
    """An edit by `nano` leaves the decoded source alone to 1 to 5 levels (90 % of pixels, eleven local edits of world
    scenes at 28 steps); what it changes, it changes by 80 and more."""
    fade_levels: float = 12
    agree_radius_px: int = 4
    least_scale: float = 0.7  # of the whole as the model would take it: above, a crop gains little
    most_of_frame: float = 0.25  # a region larger than this needs the whole around it
    margin_px: int = 64
    margin_share: float = 0.25  # of the region's longer side
    carry_levels: float = 3  # root mean square over a token; encoding once more loses 8 (30 dB, `nano` on its scenes)
    forecast_sigma: float = 0.8  # tokens
    forecast_mads: float = 3
    forecast_factor: float = 2.7
    """At step 10 of 28 unchanged tokens lie 0.02 to 0.05 from the source, changed ones 0.08 to 0.46; of 360 settings
    tried on eight of the scenes in benchmarks/forecast.py, these had the best mean IoU, 0.73; the number of deviations
    hardly matters between 2 and 4."""
    forecast_least: float = 0.03  # of the unit spread of latents
    forecast_most: float = 0.5  # two unrelated pictures lie 1.4 apart, and those that `nano` repainted 0.45 to 0.84
    leaving_share: float = 0.25  # of a forecast region, whose rim is a token wider than what changes


@dataclass(frozen=True)
class Thresholds:
    """All of them."""

    registering: Registering = field(default_factory=Registering)
    colouring: Colouring = field(default_factory=Colouring)
    differing: Differing = field(default_factory=Differing)
    doubting: Doubting = field(default_factory=Doubting)
    composing: Composing = field(default_factory=Composing)
    judging: Judging = field(default_factory=Judging)
    editing: Editing = field(default_factory=Editing)


THRESHOLDS = Thresholds()
