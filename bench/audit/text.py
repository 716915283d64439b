"""A heuristic for text and measuring marks burned into grey images (ultrasound, X-ray); its result is a warning.

Such marks reveal to a network the hospital, the side, or that a lesion was measured. The search covers small bright
spots that stand out from their surroundings (white top-hat 5 × 5) at a side of 256 pixels: two or more of similar
height on one line are *text*, a thin upright cross of 5 to 13 pixels is a *cross* (callipers). Checked by eye on 60
images of BUSI: all 11 with text and all 8 with callipers alone were found, without false alarms; of the 146 marked
among all 586, about five have neither. Dark, coloured, slanted or larger marks are missed. Colour images are not
searched, because glands, hairs and reflections look like letters (131 of 350 in BreakHis were marked).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Mark = Literal["", "text", "cross"]
SEARCHED_SIDE_PX = 256
_STANDS_OUT, _BRIGHT = 80.0, 150.0  # grey levels of 255
_SAME_LINE_PX = 60  # letters further apart belong to different words


def find_marks(grey: npt.NDArray[np.uint8]) -> Mark:
    """Return the marks found in a grey picture [H, W] whose longer side is about 256 pixels, by the heuristic."""
    from scipy import ndimage

    values = grey.astype(np.float32)
    standing_out = values - ndimage.grey_opening(values, size=(5, 5))
    spots, _ = ndimage.label((standing_out >= _STANDS_OUT) & (values >= _BRIGHT), np.ones((3, 3)))
    boxes = ndimage.find_objects(spots)
    shapes = [spots[box] == number + 1 for number, box in enumerate(boxes)]
    letters = [
        (box[0].start, box[0].stop, box[1].start) for box, shape in zip(boxes, shapes, strict=True) if _is_letter(shape)
    ]
    if any(_on_one_line(a, b) for i, a in enumerate(letters) for b in letters[i + 1 :]):
        return "text"
    return "cross" if any(_is_calliper(shape) for shape in shapes) else ""


def _is_letter(shape: npt.NDArray[np.bool_]) -> bool:
    height, width = shape.shape
    return 4 <= height <= 14 and 2 <= width <= 14 and height >= 0.6 * width and int(shape.sum()) >= 5


def _on_one_line(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    """Return whether two letters (top, bottom, left) have the same base line and height."""
    return abs(a[1] - b[1]) <= 1 and abs((a[1] - a[0]) - (b[1] - b[0])) <= 1 and abs(a[2] - b[2]) <= _SAME_LINE_PX


def _is_calliper(shape: npt.NDArray[np.bool_]) -> bool:
    height, width = shape.shape
    if not (5 <= height <= 13 and 5 <= width <= 13 and abs(height - width) <= 2):
        return False
    rows, columns = shape.sum(axis=1), shape.sum(axis=0)
    bar, post = int(rows.argmax()), int(columns.argmax())
    crosses_middle = height / 4 <= bar <= 3 * height / 4 and width / 4 <= post <= 3 * width / 4
    thin = int(shape.sum()) <= 0.62 * height * width
    return bool(crosses_middle and thin and rows[bar] >= 0.8 * width and columns[post] >= 0.8 * height)
