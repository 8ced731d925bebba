"""Images made to fit what a platform takes. Sync and slow: for a thread."""

import base64
import binascii
import io
import struct
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from providers.translation.attachments import Rendition
from providers.translation.dialect import Dialect
from providers.translation.tokens import image_dimensions

# The formats that are decoded. Others of Pillow's call programs, or are hardly ever seen and little tested.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "AVIF")
# A 48-megapixel photograph; decoded it takes 200 MB.
_MAX_PIXELS = 50_000_000
# Compressing a larger one without loss takes seconds.
_MAX_PNG_PIXELS = 16_000_000
# "data:image/jpeg;base64," counts on platforms that measure the data URI.
_PREFIX_BYTES = 32
_JPEG_QUALITIES = (90, 75)
_SHRINK = 0.75
_MAX_SHRINKS = 8
# What may be wrong with a file: Pillow's decoders raise no common class.
_DECODING_ERRORS = (
    *(OSError, ValueError, SyntaxError, LookupError, TypeError, ArithmeticError, MemoryError, EOFError),
    *(RuntimeError, struct.error),  # AVIF, EXIF
)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a platform takes: formats beside PNG and JPEG, bytes of a data URI, pixels of the longer side."""

    gif: bool
    webp: bool
    max_bytes: int
    max_edge: int

    @classmethod
    def of(cls, dialect: Dialect) -> "ImageLimits":
        """Return the limits of a dialect."""
        return cls(dialect.image_gif, dialect.image_webp, dialect.image_max_bytes, dialect.image_max_edge)

    def allow(self, data: str) -> bool:
        """Say whether a base64 image may go out as it is, by its length and header alone."""
        if len(data) + _PREFIX_BYTES > self.max_bytes or not self._allow_format(data):
            return False
        size = image_dimensions(data)
        return size is None or max(size) <= self.max_edge

    def _allow_format(self, data: str) -> bool:
        if data.startswith("R0lGOD"):
            return self.gif
        if data.startswith("UklGR"):
            return self.webp
        return data.startswith(("iVBORw0KGgo", "/9j/"))


def fit(data: str, limits: ImageLimits) -> Rendition:
    """Return a base64 image in a form within `limits`: PNG for drawings and transparency, else JPEG.

    Of an animation the first frame is kept. Never raises for a bad image: the rendition says what is wrong.
    """
    try:
        raw = base64.b64decode(data)
    except (binascii.Error, ValueError):
        return Rendition(problem="it is not base64")
    try:
        with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                return Rendition(problem=f"{image.width} x {image.height} pixels are too many to convert")
            frames = getattr(image, "n_frames", 1)
            is_lossy = image.format in ("JPEG", "MPO")
            # The orientation is written in what is not copied.
            picture = _plain(ImageOps.exif_transpose(image))
        return _encode(picture, limits, prefers_png=not is_lossy, is_animated=frames > 1 and not is_lossy)
    except UnidentifiedImageError:
        return Rendition(problem="it is damaged, or in a format that cannot be converted")
    except Image.DecompressionBombError:
        return Rendition(problem="it has too many pixels to convert")
    except _DECODING_ERRORS:
        return Rendition(problem="it is damaged")


def _plain(image: Image.Image) -> Image.Image:
    """Return the image in a mode that PNG and JPEG have: CMYK, palettes and high bit depths are converted."""
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # convert() would cut all above 255 off.
        low, high = image.getextrema()
        span = (high - low) or 1  # type: ignore[operator]
        return image.convert("F").point(lambda value: (value - low) * 255 / span).convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _encode(picture: Image.Image, limits: ImageLimits, *, prefers_png: bool, is_animated: bool) -> Rendition:
    """Return the first form that fits: full size before smaller, lossless before lossy."""
    loss = "frames" if is_animated else ""
    if max(picture.size) > limits.max_edge:
        picture, loss = _scaled(picture, limits.max_edge / max(picture.size)), "scaled"
    for _ in range(_MAX_SHRINKS):
        is_small = picture.width * picture.height <= _MAX_PNG_PIXELS
        if prefers_png and is_small and _fits(encoded := _saved(picture, "PNG"), limits):
            return Rendition("image/png", encoded, loss)
        for quality in _JPEG_QUALITIES:
            if _fits(encoded := _saved(picture, "JPEG", quality), limits):
                return Rendition("image/jpeg", encoded, loss)
        picture, loss = _scaled(picture, _SHRINK), "scaled"
    return Rendition(problem=f"it does not fit into {limits.max_bytes:,} bytes")


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    size = max(1, int(picture.width * factor)), max(1, int(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _saved(picture: Image.Image, file_format: str, quality: int = 0) -> str:
    out = io.BytesIO()
    if file_format == "PNG":
        picture.save(out, "PNG")
    else:
        _flat(picture).save(out, "JPEG", quality=quality)
    return base64.b64encode(out.getbuffer()).decode("ascii")


def _flat(picture: Image.Image) -> Image.Image:
    """Return the image on white: JPEG has no transparency."""
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGB", picture.size, "white")
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _fits(encoded: str, limits: ImageLimits) -> bool:
    return len(encoded) + _PREFIX_BYTES <= limits.max_bytes
