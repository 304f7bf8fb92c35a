"""``bench.data.batches.colour``'s jitter as one compiled pass over every image: the same numbers to the bit, faster.

Importing this module imports numba, which comes with FFCV; the code is compiled once and kept on the disk.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

F = np.float32


@numba.njit(cache=True, nogil=True, error_model="numpy")
def jitter(
    images: NDArray[np.uint8], factors: NDArray[np.float32], order: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Write the changed images (B, 3, H, W) to ``out``; (B, 4) factors and operations, see ``colour.jitter``."""
    zero, half, one, two, three, four, six = F(0), F(0.5), F(1), F(2), F(3), F(4), F(6)
    white, tiny, whole = F(255), F(1e-30), F(65536)
    of_red, of_green, of_blue = F(0.2989), F(0.587), F(0.114)
    count, _, height, width = images.shape
    pixels = height * width
    floats = np.empty((3, pixels), np.float32)
    red, green, blue = floats[0], floats[1], floats[2]
    for k in range(count):
        image, changed = images[k].reshape(3, pixels), out[k].reshape(3, pixels)
        for i in range(pixels):
            red[i], green[i], blue[i] = F(image[0, i]), F(image[1, i]), F(image[2, i])
        for place in range(4):
            operation = order[k, place]
            factor = factors[k, operation]
            rest = one - factor
            if operation == 0:
                for i in range(pixels):
                    red[i] = min(max(red[i] * factor, zero), white)
                    green[i] = min(max(green[i] * factor, zero), white)
                    blue[i] = min(max(blue[i] * factor, zero), white)
            elif operation == 1:
                total = np.int64(0)
                for i in range(pixels):
                    grey = red[i] * of_red + green[i] * of_green + blue[i] * of_blue
                    total += np.int64(grey * whole)
                mean = F(np.float64(total) / (np.float64(65536) * np.float64(pixels))) * rest
                for i in range(pixels):
                    red[i] = min(max(red[i] * factor + mean, zero), white)
                    green[i] = min(max(green[i] * factor + mean, zero), white)
                    blue[i] = min(max(blue[i] * factor + mean, zero), white)
            elif operation == 2:
                for i in range(pixels):
                    grey = (red[i] * of_red + green[i] * of_green + blue[i] * of_blue) * rest
                    red[i] = min(max(red[i] * factor + grey, zero), white)
                    green[i] = min(max(green[i] * factor + grey, zero), white)
                    blue[i] = min(max(blue[i] * factor + grey, zero), white)
            else:
                turn = six * factor
                for i in range(pixels):
                    r, g, b = red[i], green[i], blue[i]
                    high, low = max(g, b), min(g, b)
                    sector = -six if g < b else zero
                    value, middle = max(r, high), min(r, high)
                    sector = -two - sector if r < high else sector
                    smallest = min(middle, low)
                    chroma = value - smallest
                    hue = abs(sector + (middle - low) / max(chroma, tiny)) + turn
                    hue = hue - np.floor(hue / six) * six
                    red[i] = min(max(abs(hue - three) - one, zero), one) * chroma + smallest
                    green[i] = min(max(two - abs(hue - two), zero), one) * chroma + smallest
                    blue[i] = min(max(two - abs(hue - four), zero), one) * chroma + smallest
        for i in range(pixels):
            changed[0, i] = np.uint8(red[i] + half)
            changed[1, i] = np.uint8(green[i] + half)
            changed[2, i] = np.uint8(blue[i] + half)
