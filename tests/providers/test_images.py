"""Images that a platform would refuse are made to fit it; others are left alone."""

import base64
import io
import random
from typing import Any

import pytest
from PIL import Image

from providers.images import ImageLimits, fit
from providers.presets import PRESETS, dialect_for
from providers.translation.dialect import Dialect

OPEN = ImageLimits.of(Dialect())
PLAIN = ImageLimits(gif=False, webp=False, max_bytes=1_000_000, max_edge=2000)
RED, BLUE = (200, 20, 20), (20, 20, 200)


def encoded(image: Image.Image, file_format: str, **options: Any) -> str:
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return base64.b64encode(out.getvalue()).decode()


def decoded(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return an image that no format compresses."""
    size = width * height * len(mode)
    return Image.frombytes(mode, (width, height), random.Random(7).randbytes(size))


def animation(file_format: str = "GIF") -> str:
    frames = [Image.new("RGB", (20, 10), colour) for colour in (RED, BLUE)]
    return encoded(frames[0], file_format, save_all=True, append_images=frames[1:], duration=100)


def damaged_avif() -> str:
    """Return an image whose decoder does not even start."""
    data = bytearray(base64.b64decode(encoded(noise(30, 20), "AVIF")))
    data[144:152] = b"\xff" * 8
    return base64.b64encode(data).decode()


SMALL = Image.new("RGB", (20, 10), RED)


@pytest.mark.parametrize(
    ("data", "limits", "is_allowed"),
    [
        (encoded(SMALL, "PNG"), PLAIN, True),
        (encoded(SMALL, "JPEG"), PLAIN, True),
        (encoded(SMALL, "GIF"), PLAIN, False),
        (encoded(SMALL, "GIF"), OPEN, True),
        (animation(), OPEN, True),
        (encoded(SMALL, "WEBP"), PLAIN, False),
        (encoded(SMALL, "WEBP"), OPEN, True),
        (encoded(SMALL, "BMP"), OPEN, False),
        (encoded(SMALL, "TIFF"), OPEN, False),
        (encoded(Image.new("L", (2000, 1)), "PNG"), PLAIN, True),
        (encoded(Image.new("L", (2001, 1)), "PNG"), PLAIN, False),
        (encoded(Image.new("L", (1, 2001)), "JPEG"), PLAIN, False),
        (encoded(noise(700, 500), "PNG"), PLAIN, False),
        ("%%%", OPEN, False),
    ],
)
def test_only_what_a_platform_refuses_is_touched(data: str, limits: ImageLimits, is_allowed: bool) -> None:
    assert limits.allow(data) is is_allowed


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (encoded(SMALL, "GIF"), "image/png"),
        (encoded(SMALL, "WEBP", lossless=True), "image/png"),
        (encoded(SMALL, "BMP"), "image/png"),
        (encoded(SMALL, "TIFF"), "image/png"),
        (encoded(SMALL, "AVIF"), "image/png"),
    ],
)
def test_a_format_that_is_refused_is_converted_without_scaling(data: str, media_type: str) -> None:
    made = fit(data, PLAIN)
    assert (made.media_type, made.loss, made.problem) == (media_type, "", "")
    image = decoded(made.data)
    assert image.size == (20, 10)
    assert all(abs(a - b) < 12 for a, b in zip(image.convert("RGB").getpixel((5, 5)), RED, strict=True))
    assert fit(data, PLAIN) == made
    assert PLAIN.allow(made.data)


def test_an_image_that_is_too_long_is_scaled_to_the_limit() -> None:
    made = fit(encoded(Image.new("RGB", (4000, 1000), RED), "PNG"), PLAIN)
    assert (decoded(made.data).size, made.media_type, made.loss) == ((2000, 500), "image/png", "scaled")


def test_an_image_that_is_too_heavy_becomes_a_jpeg_before_it_is_scaled() -> None:
    picture = encoded(noise(700, 500), "PNG")
    made = fit(picture, PLAIN)
    assert (made.media_type, made.loss, decoded(made.data).size) == ("image/jpeg", "", (700, 500))
    assert len(made.data) < PLAIN.max_bytes < len(picture)


def test_what_is_too_heavy_in_any_form_is_scaled_until_it_fits() -> None:
    tight = ImageLimits(gif=False, webp=False, max_bytes=60_000, max_edge=2000)
    made = fit(encoded(noise(700, 500), "JPEG", quality=95), tight)
    width, height = decoded(made.data).size
    assert made.loss == "scaled"
    assert width < 700
    assert abs(width / height - 1.4) < 0.02
    assert tight.allow(made.data)
    assert "does not fit" in fit(encoded(noise(700, 500), "PNG"), ImageLimits(True, True, 400, 2000)).problem


def test_transparency_stays_or_becomes_white() -> None:
    clear = Image.new("RGBA", (3000, 30), (0, 0, 0, 0))
    kept = decoded(fit(encoded(clear, "PNG"), PLAIN).data)
    assert (kept.mode, kept.getpixel((0, 0))) == ("RGBA", (0, 0, 0, 0))
    heavy = noise(600, 500, "RGBA")
    heavy.paste((0, 0, 0, 0), (0, 0, 50, 50))
    made = fit(encoded(heavy, "PNG"), PLAIN)
    assert made.media_type == "image/jpeg"
    assert min(decoded(made.data).getpixel((10, 10))) > 245


def test_modes_that_platforms_do_not_know_are_converted() -> None:
    cmyk = fit(encoded(Image.new("CMYK", (2500, 20), (0, 255, 255, 0)), "JPEG"), PLAIN)
    image = decoded(cmyk.data)
    assert (image.mode, cmyk.media_type) == ("RGB", "image/jpeg")
    assert image.getpixel((9, 9))[0] > 200
    deep = Image.frombytes("I;16", (2, 1), (100).to_bytes(2, "little") + (60_000).to_bytes(2, "little"))
    grey = decoded(fit(encoded(deep, "TIFF"), PLAIN).data)
    assert (grey.mode, grey.getpixel((0, 0)), grey.getpixel((1, 0))) == ("L", 0, 255)
    palette = Image.new("P", (2100, 10))
    palette.putpalette([*RED, *BLUE])
    assert decoded(fit(encoded(palette, "PNG"), PLAIN).data).mode == "RGB"


def test_a_photograph_keeps_its_upright_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    photo = encoded(Image.new("RGB", (2400, 1200), RED), "JPEG", exif=exif)
    assert decoded(fit(photo, PLAIN).data).size == (1000, 2000)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_is_kept_and_that_is_said(file_format: str) -> None:
    made = fit(animation(file_format), PLAIN)
    image = decoded(made.data)
    assert (made.media_type, made.loss, getattr(image, "n_frames", 1)) == ("image/png", "frames", 1)
    assert image.convert("RGB").getpixel((5, 5))[0] > 150


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("%%%", "it is damaged, or in a format that cannot be converted"),
        ("AAA", "it is not base64"),
        ("ünicode", "it is not base64"),
        (base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(), "in a format that cannot"),
        (base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").decode(), "in a format that cannot"),
        (encoded(noise(50, 50), "PNG")[:2000], "it is damaged"),
        (encoded(noise(50, 50), "JPEG")[:400], "it is damaged"),
        (damaged_avif(), "it is damaged"),  # Pillow raises RuntimeError
        # A few kilobytes that unfold into gigabytes.
        (encoded(Image.new("1", (30_000, 30_000)), "PNG"), "pixels"),
        (encoded(Image.new("1", (8000, 7000)), "PNG"), "8000 x 7000 pixels are too many to convert"),
    ],
)
def test_what_cannot_be_shown_gives_a_reason(data: str, problem: str) -> None:
    made = fit(data, PLAIN)
    assert problem in made.problem
    assert not made.data


@pytest.mark.parametrize(
    ("kind", "base_url", "model", "expected"),
    [
        ("dashscope", "", "qwen3-vl-plus", (True, False, True, 10_485_760, 65_535, 10_000)),
        ("ollama", "", "llava", (False, False, False, 33_554_432, 65_535, 10_000)),
        ("llamacpp", "", "gemma", (False, True, False, 33_554_432, 65_535, 10_000)),
        ("lmstudio", "", "gemma", (False, False, False, 33_554_432, 65_535, 10_000)),
        ("openrouter", "", "anthropic/claude-sonnet-5", (True, True, True, 5_242_880, 8000, 10_000)),
        ("openrouter", "", "openai/gpt-5", (True, True, True, 33_554_432, 65_535, 10_000)),
        ("zhipu", "", "glm-4.6v", (True, False, False, 5_242_880, 6000, 10_000)),
        ("kimi", "", "kimi-k2.6", (False, True, True, 33_554_432, 65_535, 10_000)),
        ("openai_compatible", "https://api.groq.com/openai/v1", "x", (True, True, True, 3_500_000, 5760, 5)),
        ("openai_compatible", "https://api.openai.com/v1", "gpt-5", (True, True, True, 33_554_432, 65_535, 10_000)),
    ],
)
def test_what_each_platform_takes(kind: str, base_url: str, model: str, expected: tuple[Any, ...]) -> None:
    found = dialect_for(kind, {}, {}, None, base_url=base_url or PRESETS[kind].base_url, model_id=model)
    assert (
        found.image_urls,
        found.image_gif,
        found.image_webp,
        found.image_max_bytes,
        found.image_max_edge,
        found.images_max,
    ) == expected
