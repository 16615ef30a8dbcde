"""Pictures that a page holds itself."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def data_uri(pixels: npt.NDArray[np.uint8], lossless: bool = False) -> str:
    """Return pixels, uint8 (H, W, 3), as the address of a WebP picture that holds itself."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"lossless": True} if lossless else {"quality": 80}
    Image.fromarray(pixels).save(buffer, "WEBP", method=4, **options)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
