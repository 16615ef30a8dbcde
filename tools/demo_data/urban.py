"""Generated towns: six classes."""

from collections.abc import Callable

import numpy as np

from tools.demo_data.canvas import Array, Canvas, box, cells
from tools.demo_data.palettes import ASPHALT, BRIGHT, CONCRETE, GRASS, ROOF, SOIL

_WHITE = np.array([226, 224, 214], np.float32)
Turn = Callable[[Array, Array], tuple[Array, Array]]


def _turn(c: Canvas) -> Turn:
    """Return a random turn and shift of the coordinates, as a function for shapes."""
    angle = c.uniform(0, np.pi)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    du, dv = c.rng.uniform(-1, 1, 2).astype(np.float32)
    return lambda x, y: (x * cos + y * sin + du, y * cos - x * sin + dv)


def _ground(c: Canvas) -> None:
    c.ground(c.choose(GRASS, SOIL, CONCRETE, ASPHALT))


def _street(c: Canvas, across: Array, along: Array, half_width: float, asphalt: Array) -> None:
    c.band(across, half_width * 1.35, c.colour(CONCRETE))
    c.band(across, half_width, asphalt)
    if half_width > 0.07:
        dashes = (along / 0.16) % 1 < 0.55
        c.paint(c.soft(np.abs(across) - 0.012) * dashes * 0.8, _WHITE)


def detached_houses(c: Canvas) -> None:
    """Draw small gabled houses in gardens along streets."""
    _ground(c)
    turn = _turn(c)
    u, v = turn(c.x, c.y)
    lot, depth = c.uniform(0.3, 0.42), c.uniform(0.36, 0.46)
    # A street after every second row of lots.
    block = 2 * depth + 0.22
    c.trees(c.number(15, 45), (0.03, 0.075))
    _street(c, (v + block / 2) % block - block / 2, u, c.uniform(0.05, 0.07), c.colour(ASPHALT))
    table = c.table(4)

    def houses(x: Array, y: Array) -> tuple[Array, Array, Array]:
        u, v = turn(x, y)
        # The two rows of a block, mirrored at its middle.
        middle = v % block - block / 2
        side = np.floor(v / block) * 2 + (middle > 0)
        i, _, lu, _ = cells(u, v, lot, block)
        own = table[i, side.astype(np.int32) % 64]
        lv = np.abs(middle) - depth * 0.52
        lu = lu + (own[..., 0] - 0.5) * (0.2 * lot)
        half = lot * (0.24 + 0.12 * own[..., 1]), depth * (0.2 + 0.12 * own[..., 2])
        missing = own[..., 3] < 0.08
        return np.where(missing, 1, box(lu, lv, *half)), lu * (half[0] > half[1]) + lv, own

    distance, ridge, own = houses(c.x, c.y)
    lit = np.where(ridge > 0, 1.12, 0.86).astype(np.float32)
    roofs = c.tones(own[..., 0], 6, ROOF) * lit[..., None]
    c.stamp(lambda x, y: c.soft(houses(x, y)[0]), roofs, 0.06)
    c.trees(c.number(5, 20), (0.03, 0.06), distance > 0.03)


def dense_blocks(c: Canvas) -> None:
    """Draw large flat-roofed buildings, close together, some around courtyards."""
    _ground(c)
    turn = _turn(c)
    width, height = c.uniform(0.48, 0.8), c.uniform(0.42, 0.7)
    u, v = turn(c.x, c.y)
    i, j, lu, lv = cells(u, v, width, height)
    edge = -box(lu, lv, width / 2, height / 2)
    c.paint(c.soft(edge - c.uniform(0.03, 0.06)), c.colour(ASPHALT))
    table = c.table(4)

    def buildings(x: Array, y: Array) -> Array:
        i, j, lu, lv = cells(*turn(x, y), width, height)
        own = table[i, j]
        half = width * (0.36 + 0.05 * own[..., 0]), height * (0.34 + 0.06 * own[..., 1])
        solid = box(lu, lv, *half)
        court = -box(lu, lv, half[0] * 0.5, half[1] * 0.42)
        wing = box(lu - half[0] * 0.25, lv - half[1] * 0.3, half[0] * 0.8, half[1] * 0.75)
        shape = np.where(own[..., 2] < 0.45, np.maximum(solid, court), solid)
        return c.soft(np.where(own[..., 2] > 0.75, np.maximum(solid, -wing), shape))

    roofs = c.tones(table[i, j, 3], 8, (*ROOF, *CONCRETE))
    cover = c.stamp(buildings, roofs, c.uniform(0.08, 0.16))
    # Plant and stairheads on the roofs.
    i, j, su, sv = cells(u, v, 0.13, 0.11)
    some = c.rng.random((64, 64))[i, j] < 0.22
    c.paint(cover * c.soft(box(su, sv, 0.03, 0.025)) * some, c.colour(CONCRETE) * 1.15)
    c.trees(c.number(0, 12), (0.03, 0.05), 1 - cover)


def crossroads(c: Canvas) -> None:
    """Draw two streets that cross, now and then at a roundabout."""
    _ground(c)
    c.trees(c.number(4, 25), (0.04, 0.09))
    u, v = c.frame(c.uniform(0, np.pi), 0.3)
    w = v + c.uniform(-0.35, 0.35) * u
    one, other = c.uniform(0.11, 0.22), c.uniform(0.09, 0.18)
    corner = (np.abs(u) > one * 1.7) & (np.abs(w) > other * 1.7)
    pitch = c.uniform(0.35, 0.6)
    table = c.table(3)

    def houses(x: Array, y: Array) -> Array:
        i, j, lu, lv = cells(u + (x - c.x), w + (y - c.y), pitch, pitch)
        own = table[i, j]
        size = pitch * (0.2 + 0.2 * own[..., 0])
        distance = np.where(own[..., 1] < 0.45, 1, box(lu, lv, size, size * 0.8))
        return np.multiply(c.soft(distance), corner)

    i, j, _, _ = cells(u, w, pitch, pitch)
    c.stamp(houses, c.tones(table[i, j, 2], 5, ROOF), 0.07)
    asphalt = c.colour(ASPHALT)
    _street(c, w, u, other, asphalt)
    _street(c, u, w, one, asphalt)
    c.paint(c.soft(box(u, w, one, other)), asphalt)
    if c.chance(0.3):
        far = np.hypot(u, w)
        c.paint(c.soft(far - 2.1 * max(one, other)), asphalt)
        c.paint(c.soft(far - 0.9 * max(one, other)), c.colour(GRASS))
    for across, along, half in ((w, u, other), (u, w, one)):
        _cars(c, across, along, half)


def _cars(c: Canvas, across: Array, along: Array, half: float) -> None:
    i, _, lu, _ = cells(along, across, 0.2, 4.0)
    present = c.rng.random(64)[i] < 0.35
    side = np.where(c.rng.random(64)[i] < 0.5, -0.5, 0.5) * half
    shape = box(lu, across - side, 0.045, 0.024)
    tones = np.stack([c.colour((*BRIGHT, *CONCRETE)) for _ in range(6)])[i % 6]
    c.paint(c.soft(shape) * present * (np.abs(across) < half), tones)


def parking_lot(c: Canvas) -> None:
    """Draw rows of cars on paved ground."""
    c.ground(ASPHALT if c.chance(0.6) else CONCRETE, contrast=0.05)
    turn = _turn(c)
    u, _ = turn(c.x, c.y)
    bay, length = c.uniform(0.085, 0.11), c.uniform(0.17, 0.21)
    block = 2 * length + c.uniform(0.16, 0.26)
    full = c.uniform(0.35, 0.95)
    table = c.table(3)

    def place(x: Array, y: Array) -> tuple[Array, Array, Array]:
        u, v = turn(x, y)
        inside = v % block - length
        row = (np.floor(v / block) * 2 + (inside > 0)).astype(np.int32) % 64
        i, _, lu, _ = cells(u, v, bay, block)
        own = table[i, row]
        lv = np.abs(inside) - length / 2 + (own[..., 1] - 0.5) * 0.03
        return box(lu, lv, bay * 0.34, length * 0.4), np.abs(inside) - length, own

    def present(x: Array, y: Array) -> Array:
        distance, _, own = place(x, y)
        return c.soft(distance) * (own[..., 2] < full)

    distance, out, own = place(c.x, c.y)
    lines = c.soft(np.abs((u + bay / 2) % bay - bay / 2) - 0.006) * (out < 0)
    c.paint(lines * c.uniform(0.2, 0.7), _WHITE)
    c.stamp(present, c.tones(own[..., 0], 12, (*ROOF, *CONCRETE, *ASPHALT, *BRIGHT)), 0.02)
    c.paint(c.soft(distance + bay * 0.24) * (own[..., 2] < full) * 0.4, _WHITE * 0.25)
    if c.chance(0.55):
        # Ends at a lawn or a building.
        edge = c.frame()[0] - c.uniform(0.2, 0.9)
        palette = c.choose(GRASS, ROOF, SOIL)
        c.paint(c.soft(-edge), c.colour(palette))
        c.trees(25, (0.04, 0.08), edge > 0)


def storage_tanks(c: Canvas) -> None:
    """Draw round tanks with light tops, single or in rows."""
    _ground(c)
    turn = _turn(c)
    pitch = c.uniform(0.48, 1.1)
    table = c.table(3)
    u, v = turn(c.x, c.y)
    if c.chance(0.6):
        _, _, lu, lv = cells(u, v, pitch, pitch)
        c.paint(c.soft(-box(lu, lv, pitch / 2, pitch / 2) - 0.025), c.colour(CONCRETE))

    def tanks(x: Array, y: Array) -> tuple[Array, Array, Array]:
        i, j, lu, lv = cells(*turn(x, y), pitch, pitch)
        own = table[i, j]
        r = pitch * (0.26 + 0.16 * own[..., 0])
        return np.where(own[..., 1] < 0.15, 1, np.hypot(lu, lv) - r), np.hypot(lu, lv) / r, own

    _, far, own = tanks(c.x, c.y)
    tops = c.tones(own[..., 2], 5, (*CONCRETE, (216, 212, 204), *ROOF[:3]))
    cover = c.stamp(lambda x, y: c.soft(tanks(x, y)[0]), tops, c.uniform(0.06, 0.14))
    c.darken(cover * (far > 0.86), 0.28)
    lit = np.clip(c.frame(offset=0.0)[0], -1, 1)
    c.rgb *= 1 + 0.1 * (cover * lit)[..., None]
    c.paint(cover * c.soft((far - 0.12) * 0.2), c.colour(ASPHALT))
    c.band((u + pitch / 2) % (2 * pitch) - pitch, 0.016, c.colour(CONCRETE))


def rail_yard(c: Canvas) -> None:
    """Draw parallel tracks with standing trains."""
    c.ground(SOIL if c.chance(0.4) else (ASPHALT if c.chance(0.5) else CONCRETE))
    turn = _turn(c)
    u, v = turn(c.x, c.y)
    pitch, car = c.uniform(0.15, 0.2), c.uniform(0.34, 0.55)
    bend = c.uniform(-0.12, 0.12)
    if c.chance(0.6):
        c.paint(c.soft(-v - c.uniform(-0.4, 0.6)), c.colour(GRASS))
    table = c.table(3)
    busy = c.rng.random(64) < c.uniform(0.25, 0.6)

    def track(x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
        u, v = turn(x, y)
        return cells(u, v + bend * u * u, car, pitch)

    def trains(x: Array, y: Array) -> Array:
        i, j, lu, lv = track(x, y)
        there = busy[j] & (table[i // 4, j, 1] < 0.75)
        return np.multiply(c.soft(box(lu, lv, car * 0.47, pitch * 0.31)), there)

    i, j, _, lv = track(c.x, c.y)
    c.paint(c.soft(np.abs(lv) - pitch * 0.36) * 0.6, c.colour(SOIL) * 0.75)
    sleepers = (u / 0.045) % 1 < 0.5
    c.darken(c.soft(np.abs(lv) - pitch * 0.26) * sleepers, 0.25)
    c.band(np.abs(lv) - pitch * 0.17, 0.007, c.colour(CONCRETE))
    c.stamp(trains, c.tones(table[i, j, 0], 10, (*ROOF, *CONCRETE, *BRIGHT)), 0.04)


SCENES = {
    draw.__name__: draw
    for draw in (
        *(crossroads, dense_blocks, detached_houses),
        *(parking_lot, rail_yard, storage_tanks),
    )
}
