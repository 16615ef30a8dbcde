"""Generated farmland: four classes."""

import numpy as np

from tools.demo_data.canvas import Array, Canvas, box, cells, waves
from tools.demo_data.palettes import CROP, GRASS, SOIL, Palette


def _field(c: Canvas) -> Palette:
    return c.choose(CROP, SOIL, GRASS)


def _track(c: Canvas, distance: Array, half_width: float) -> None:
    """Draw a dirt road, sometimes with a hedge along it."""
    c.band(distance, half_width, c.colour(SOIL) * 1.12)
    if c.chance(0.4):
        c.trees(120, (0.03, 0.07), np.abs(distance - 2.5 * half_width) < 0.04)


def row_crops(c: Canvas) -> None:
    """Draw straight rows over one or two fields."""
    c.ground(_field(c))
    u, v = c.frame()
    rows = u + 0.02 * c.noise(0.9, 2)
    period = c.uniform(0.16, 0.3)
    dense = np.clip(0.75 + 0.25 * c.noise(0.5), 0, 1)
    c.paint(waves(rows, period) * dense * c.uniform(0.65, 1.0), c.colour(_field(c)))
    edge = v - c.uniform(-0.6, 0.6)
    if c.chance(0.5):
        other = waves(v if c.chance(0.5) else u, period)
        beyond = c.soft(-edge)
        c.paint(beyond, c.colour(_field(c)))
        c.paint(beyond * other * 0.6, c.colour(_field(c)))
        _track(c, edge, c.uniform(0.03, 0.06))


def orchard(c: Canvas) -> None:
    """Draw single crowns on a regular grid."""
    c.ground(_field(c))
    u, v = c.frame()
    pitch = c.uniform(0.19, 0.34)
    stretch = c.uniform(0.85, 1.2)
    table = c.table(3)
    reach = c.uniform(0.3, 0.42) * pitch
    gaps = c.uniform(0.02, 0.16)
    angle = np.arctan2(float(u[1, 0] - u[0, 0]), float(u[0, 1] - u[0, 0]))

    def crowns(x: Array, y: Array) -> Array:
        du = u + (x - c.x) * np.cos(angle) + (y - c.y) * np.sin(angle)
        dv = v + (y - c.y) * np.cos(angle) - (x - c.x) * np.sin(angle)
        i, j, lu, lv = cells(du, dv, pitch, pitch * stretch)
        own = table[i, j]
        r = reach * (0.75 + 0.35 * own[..., 0])
        lean = (own[..., 1:] - 0.5) * (0.14 * pitch)
        far = np.hypot(lu - lean[..., 0], lv - lean[..., 1])
        return c.soft(far - np.where(own[..., 2] < gaps, -1, r))

    if c.chance(0.5):
        # Mown strips between the rows of trees.
        c.paint(waves(u, pitch) * 0.35, c.colour(_field(c)))
    c.stamp(crowns, c.colour(CROP) * c.uniform(0.55, 0.85), 0.5 * pitch)
    c.texture(0.05, 0.08)
    if c.chance(0.3):
        _track(c, v - c.uniform(-0.5, 0.5), c.uniform(0.04, 0.07))


def pivot_irrigation(c: Canvas) -> None:
    """Draw round fields, some with sectors and wheel tracks."""
    c.ground(_field(c))
    if c.chance(0.5):
        _track(c, c.frame()[0], 0.03)
    pitch = c.uniform(0.9, 2.4)
    u, v = c.frame()
    table = c.table(4)
    colours = np.stack([c.colour(_field(c)) for _ in range(8)])
    i, j, lu, lv = cells(u, v, pitch, pitch)
    own = table[i, j]
    radius = pitch * (0.40 + 0.09 * own[..., 0])
    far = np.hypot(lu, lv)
    inside = c.soft(far - radius)
    turned = (np.arctan2(lv, lu) / (2 * np.pi) + own[..., 1]) % 1
    sector = (turned < own[..., 2] * 0.8) & (own[..., 3] < 0.65)
    pick = (own[..., 1] * 3.99).astype(np.int32) + 4 * sector
    c.paint(inside, colours[pick])
    c.darken(inside * waves(far, c.uniform(0.1, 0.2)), c.uniform(0.03, 0.18))
    arm = c.soft(np.abs(np.minimum(turned, 1 - turned)) * far * 6 - 0.012)
    c.paint(inside * arm * 0.6, c.colour(SOIL))
    c.darken(c.soft(np.abs(far - radius) - 0.012), c.uniform(0, 0.3))
    c.texture(0.06, 0.15)


def patchwork(c: Canvas) -> None:
    """Draw small irregular parcels, each with its own crop."""
    warp = c.uniform(0.02, 0.06)
    u, v = c.frame()
    u, v = u + warp * c.noise(1.0, 1), v + warp * c.noise(1.0, 1)
    width, height = c.uniform(0.32, 0.5), c.uniform(0.4, 0.9)
    # Every second column of parcels is shifted, so that they do not meet in crosses.
    shift = c.rng.random(64).astype(np.float32)
    column = np.floor(u / width).astype(np.int32) % 64
    i, j, lu, lv = cells(u, v + shift[column], width, height)
    colours = np.stack([c.colour(_field(c)) for _ in range(12)])
    parcels = c.rng.integers(0, 12, (64, 64))[i, j]
    c.rgb = colours[parcels]
    along = np.where(parcels % 2, lu, lv)
    c.darken(waves(along, 0.12) * (parcels % 3 == 0), c.uniform(0.05, 0.25))
    c.texture(0.09, 0.2)
    edge = -box(lu, lv, width / 2, height / 2)
    bund = c.colour(SOIL if c.chance(0.5) else CROP) * c.uniform(0.65, 1.15)
    c.paint(c.soft(edge - c.uniform(0.008, 0.022)), bund)
    c.trees(c.number(0, 14), (0.03, 0.06))


SCENES = {draw.__name__: draw for draw in (orchard, patchwork, pivot_irrigation, row_crops)}
