"""Generated shores: five classes."""

import numpy as np

from tools.demo_data.canvas import Array, Canvas, box, cells
from tools.demo_data.palettes import (
    ASPHALT,
    BRIGHT,
    CONCRETE,
    GRASS,
    ROOF,
    SAND,
    SOIL,
    TREE,
    WATER,
)

_FOAM = np.array([226, 232, 230], np.float32)


def _water(c: Canvas) -> None:
    """Cover everything with water, rippled or calm."""
    c.ground(WATER, 1.2, 0.03)
    u, _ = c.frame()
    swell = np.sin((u + 0.05 * c.noise(0.5, 2)) * c.uniform(18, 40))
    c.rgb *= 1 + c.uniform(0, 0.07) * swell[..., None]


def _land(c: Canvas, distance: Array, width: float = 1.0) -> None:
    """Lay grown or bare land over the points whose distance is negative."""
    water = c.rgb.copy()
    c.ground(c.choose(GRASS, TREE, SOIL), 0.4, 0.12)
    c.trees(c.number(0, 70), (0.03, 0.07), c.noise(0.6) > 0)
    cover = c.soft(distance, width)[..., None]
    c.rgb = water + (c.rgb - water) * cover


def _shallows(c: Canvas, distance: Array, reach: float) -> None:
    """Lighten the water towards the shore."""
    near = np.exp(-np.clip(distance, 0, None) / reach)
    tint = c.colour(SAND) * 0.6 + c.colour(WATER) * 0.4
    c.paint(near * c.uniform(0.2, 0.7), tint)


def _surf(c: Canvas, distance: Array) -> None:
    lines = np.exp(-(((distance - c.uniform(0.02, 0.05)) / 0.022) ** 2))
    broken = np.clip(c.noise(0.3) * 0.5 + 0.6, 0, 1)
    c.paint(np.asarray(lines * broken * c.uniform(0.4, 1)), _FOAM)


def beach(c: Canvas) -> None:
    """Draw a strip of sand between sea and land."""
    _water(c)
    u, _ = c.frame(offset=0.0)
    curve = c.uniform(0.03, 0.12) * c.noise(1.6, 3)
    shore = u + curve + c.uniform(-0.45, 0.45)
    _shallows(c, shore, c.uniform(0.1, 0.3))
    width = c.uniform(0.14, 0.5)
    inland = shore + width + 0.04 * c.noise(0.4)
    c.paint(c.soft(shore, 2), c.colour(SAND))
    c.darken(c.soft(np.abs(shore + 0.03) - 0.03, 2), 0.18)
    _surf(c, shore)
    if c.chance(0.7):
        _surf(c, shore - c.uniform(0.08, 0.14))
    _land(c, inland, 2)
    if c.chance(0.3):
        c.band(inland + 0.16, 0.035, c.colour(ASPHALT))


def island(c: Canvas) -> None:
    """Draw land with water all around."""
    _water(c)
    u, v = c.frame(offset=0.22)
    far = np.hypot(u * c.uniform(0.8, 1.3), v * c.uniform(0.8, 1.3))
    shore = far - c.uniform(0.4, 0.68) + c.uniform(0.05, 0.13) * c.noise(0.9)
    _shallows(c, shore, c.uniform(0.08, 0.25))
    _surf(c, shore)
    width = c.uniform(0.02, 0.14)
    c.paint(c.soft(shore, 2), c.colour(SAND))
    _land(c, shore + width + 0.03 * c.noise(0.3), 2)
    if c.chance(0.3):
        c.band(np.where(far < 0.4, v, 1), 0.035, c.colour(ASPHALT))


def river(c: Canvas) -> None:
    """Draw a winding band of water through land."""
    _water(c)
    u, v = c.frame(offset=0.0)
    wide = c.uniform(0.12, 0.34)
    bend = np.sin(u * c.uniform(1.5, 4) + c.uniform(0, 6))
    middle = v + c.uniform(0.1, 0.35) * bend + 0.05 * c.noise(0.8)
    distance = np.abs(middle + c.uniform(-0.3, 0.3)) - wide
    _land(c, -distance)
    bank = c.soft(np.abs(distance) - c.uniform(0.01, 0.06), 2)
    c.paint(bank * c.uniform(0.2, 0.9), c.colour(SAND if c.chance(0.5) else TREE))
    bar = c.soft(c.uniform(0.6, 1.2) - c.noise(0.5)) * (distance < -0.03)
    if c.chance(0.5):
        c.paint(bar * 0.8, c.colour(SAND))
    if c.chance(0.25):
        # A bridge.
        c.stamp(lambda x, y: c.soft(np.abs(u + x - c.x) - 0.045), c.colour(CONCRETE), 0.04)


def harbor(c: Canvas) -> None:
    """Draw piers with boats on both sides, off a quay."""
    _water(c)
    u, v = c.frame(c.uniform(0, 2 * np.pi), 0.25)
    quay = c.uniform(-0.75, -0.1)
    pitch = c.uniform(0.42, 0.66)
    boat, beam = c.uniform(0.11, 0.16), c.uniform(0.075, 0.1)
    reach = c.uniform(0.7, 1.6)
    table = c.table(3)
    full = c.uniform(0.45, 0.95)
    i, _, lu, _ = cells(u, v, pitch, 4.0)
    out = (v > quay) & (v < quay + reach)
    # Berths on the two sides of every pier.
    k, _, along, _ = cells(v, u, beam, 4.0)
    own = table[(2 * i + (lu > 0)) % 64, k]
    half = boat * (0.34 + 0.2 * own[..., 0]), beam * 0.3
    hull = box(np.abs(lu) - 0.03 - boat * 0.62, along, *half)
    # Pointed bows.
    hull = np.maximum(hull, np.abs(along) * 1.6 + np.abs(lu) - 0.05 - boat * 1.12)
    boats = c.soft(hull) * out * (own[..., 1] < full)
    c.darken(np.roll(boats, (1, 1), (0, 1)), 0.35)
    c.paint(boats, c.tones(own[..., 2], 9, (*CONCRETE, (228, 226, 220), BRIGHT[1], BRIGHT[0])))
    c.paint(c.soft(np.abs(lu) - 0.022) * out, c.colour(CONCRETE))
    edge = v - quay
    _land(c, edge + 0.12)
    c.band(edge + 0.1, 0.1, c.colour(CONCRETE if c.chance(0.6) else ASPHALT))
    c.darken(c.soft(np.abs(edge - 0.02) - 0.02), 0.3)
    sheds = np.maximum(box(cells(u, v, 0.5, 4.0)[2], edge + 0.4, 0.17, 0.1), edge + 0.2)
    if c.chance(0.6):
        c.paint(c.soft(sheds), c.colour(ROOF))


def container_terminal(c: Canvas) -> None:
    """Draw stacks of coloured boxes in blocks, often beside water."""
    _water(c)
    u, v = c.frame(c.uniform(0, 2 * np.pi), 0.4)
    water = c.rgb.copy()
    c.ground(c.choose(CONCRETE, ASPHALT, SOIL), contrast=0.05)
    length, width = c.uniform(0.16, 0.24), c.uniform(0.055, 0.075)
    rows, bays = c.number(3, 6), c.number(4, 8)
    lane, gap = c.uniform(0.1, 0.22), c.uniform(0.08, 0.16)
    high, long = rows * width, bays * length
    table = c.table(3)
    full = c.uniform(0.6, 0.97)
    block_i, block_j, bu, bv = cells(u, v, long + gap, high + lane)
    i, j, lu, lv = cells(bu + long / 2, bv + high / 2, length, width)
    own = table[(i + 7 * block_i) % 64, (j + 11 * block_j) % 64]
    inside = (np.abs(bu) < long / 2) & (np.abs(bv) < high / 2) & (own[..., 0] < full)
    tones = c.tones(own[..., 1], 12, (*BRIGHT, *ROOF, *CONCRETE))
    boxes = c.soft(box(lu, lv, length * 0.46, width * 0.44)) * inside
    shadow = np.roll(boxes, tuple(c.rng.integers(-3, 4, 2).tolist()), (0, 1))
    c.darken(np.maximum(shadow, boxes), 0.5)
    # Stacks of different height catch different light.
    c.paint(boxes, tones * (0.8 + 0.35 * own[..., 2:]))
    c.paint(c.soft(np.abs(np.abs(bv) - high / 2 - lane * 0.25) - 0.008) * 0.6, _FOAM)
    if c.chance(0.75):
        edge = c.frame(c.uniform(0, 2 * np.pi), 0.0)[0] - c.uniform(0.1, 0.8)
        c.paint(c.soft(-edge - 0.1), c.colour(CONCRETE))
        c.rgb += (water - c.rgb) * c.soft(-edge)[..., None]
        c.darken(c.soft(np.abs(edge - 0.02) - 0.025), 0.35)


SCENES = {d.__name__: d for d in (beach, container_terminal, harbor, island, river)}
