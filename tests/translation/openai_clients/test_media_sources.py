import base64

import pytest

from providers.translation.openai_clients.media_sources import document_source, image_source
from providers.translation.validation import InvalidRequest


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


PDF, TEXT, ZIP, PNG = (
    encoded(b"%PDF-1.7"),
    encoded("né".encode()),
    encoded(b"PK\x03\x04\x00\xff"),
    encoded(b"\x89PNG\r\n"),
)
BROKEN_TEXT = encoded(b"a\xff")

DOCUMENTS = [
    (f"data:application/pdf;base64,{PDF}", {"type": "base64", "media_type": "application/pdf", "data": PDF}),
    (f"data:application/octet-stream;base64,{PDF}", {"type": "base64", "media_type": "application/pdf", "data": PDF}),
    (PDF, {"type": "base64", "media_type": "application/pdf", "data": PDF}),
    (f"data:text/markdown;charset=utf-8;base64,{TEXT}", {"type": "text", "media_type": "text/plain", "data": "né"}),
    (f"data:application/json;base64,{TEXT}", {"type": "text", "media_type": "text/plain", "data": "né"}),
    (TEXT, {"type": "text", "media_type": "text/plain", "data": "né"}),
    (f"data:text/plain;base64,{BROKEN_TEXT}", {"type": "text", "media_type": "text/plain", "data": "a\ufffd"}),
    (f"data:application/zip;base64,{ZIP}", {"type": "base64", "media_type": "application/zip", "data": ZIP}),
    ("https://f.example/a.pdf", {"type": "url", "url": "https://f.example/a.pdf"}),
]


@pytest.mark.parametrize(("data", "source"), DOCUMENTS)
def test_documents(data: str, source: dict[str, str]):
    assert document_source(data, "p") == source


def test_an_image_is_what_its_bytes_are():
    source = image_source(f"data:image/jpg;base64,{PNG}", "p")
    assert source == {"type": "base64", "media_type": "image/png", "data": PNG}
    assert image_source("https://i.example/a", "p") == {"type": "url", "url": "https://i.example/a"}


@pytest.mark.parametrize("data", ["data:text/plain,plain", "data:", "a"])
def test_what_is_no_base64_is_refused_with_its_path(data: str):
    with pytest.raises(InvalidRequest, match=r"^p: "):
        document_source(data, "p")
