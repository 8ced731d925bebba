"""The signature of our thinking blocks."""

import base64
import zlib

import pytest

from providers.translation.signature import is_ours, seal, unseal

KEY = b"k" * 32
CONTENT = {"p": "main", "m": "big", "t": "考 \ud83d", "d": [{"type": "reasoning.encrypted", "data": "z"}]}


def test_content_comes_back() -> None:
    signature = seal(CONTENT, KEY)
    assert is_ours(signature)
    assert signature.isascii()
    assert unseal(signature, KEY) == CONTENT | {"t": "考 \ufffd"}
    assert seal(CONTENT, KEY) == signature


def test_changed_or_foreign_signatures_are_refused() -> None:
    signature = seal(CONTENT, KEY)
    for at in range(len(signature)):
        other = "A" if signature[at] != "A" else "B"
        changed = signature[:at] + other + signature[at + 1 :]
        # The last character's spare bits are no content.
        assert unseal(changed, KEY) is None or at == len(signature) - 1
    assert unseal(signature, b"other" * 8) is None
    assert unseal(signature[:-4], KEY) is None


@pytest.mark.parametrize("signature", ["", "wg1.", "wg1.****", "wg1.é", "ErUB3dGVzdA==", "wg1." + "A" * 40])
def test_nonsense_is_refused(signature: str) -> None:
    assert unseal(signature, KEY) is None


def test_forged_bomb_is_not_unpacked() -> None:
    bomb = base64.urlsafe_b64encode(b"0" * 16 + zlib.compress(b"0" * 1_000_000)).decode().rstrip("=")
    assert unseal("wg1." + bomb, KEY) is None
