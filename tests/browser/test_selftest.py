"""The self-test in a real Chromium at a real gateway: the button, the card in both languages, the one click after it."""

from pathlib import Path

import pytest

from tests.browser.browser import DESKTOP, IS_INSTALLED, PHONE, Browser
from tests.browser.test_admin import ADMIN, PASSWORD, log_in, started
from tests.conftest import require
from tests.fakes.gateway_process import configuration
from tests.fakes.platform import Platform, Says, refusal
from tests.fakes.upstream import ScriptedUpstream

pytestmark = [pytest.mark.browser, pytest.mark.server]

FLAWED = Platform(
    {
        "image": Says("Two colours, I think."),
        "pdf": refusal(
            "content[0].type must be one of text, image_url; a file of type application/pdf is not supported"
        ),
        "forced_tools": Says("London is large."),
        "parallel_tools": Says("I cannot."),
    }
)
CARDS = {"en": "Accepts the image, but does not see it.", "zh-CN": "接受图片，但看不到内容。"}


def test_a_model_is_tested_and_its_card_read(tmp_path: Path) -> None:
    require("browser", IS_INSTALLED, "there is no /usr/bin/chromium with /usr/bin/chromedriver")
    with ScriptedUpstream() as upstream:
        for name in ("big", "small", "wolfgate-no-such-model"):
            upstream.script(name, FLAWED.script)
        config = configuration(upstream.base_url, models=("big", "small"))
        with started(config, str(tmp_path / "static"), **ADMIN) as gateway, Browser(gateway.base_url) as browser:
            log_in(browser, "root", PASSWORD)
            browser.open("/admin/providers/model/?model_id=big")
            browser.submit("#result_list tbody th a")
            page = browser.path
            assert "Not tested yet." in browser.text
            browser.follow("Run the self-test")
            assert browser.path == page
            assert "Self-test of up/big" in browser.find(".messagelist .success").text
            problems = []
            for width in (DESKTOP, PHONE):
                for language, sentence in CARDS.items():
                    browser.show(width, language)
                    for path in (page, "/admin/providers/model/"):
                        browser.open(path)
                        browser.screenshot(tmp_path / f"{'card' if path == page else 'list'}-{width}-{language}.png")
                        problems += [f"{path} {width} {language}: {element}" for element in browser.overflow()]
                        if path == page and sentence not in browser.text:
                            problems.append(f"{width} {language}: {sentence} is missing")
            assert problems == []
            browser.show()
            browser.open(page)
            browser.follow("Write the found capabilities to this model")
            assert "1 model changed." in browser.text
            written = browser.find("[name=capabilities]").get_attribute("value")
            assert written == '[\n  "tools",\n  "thinking"\n]'
            assert not gateway.query("SELECT 1 FROM accounts_callrecord")
            assert browser.complaints() == []
            assert "Traceback" not in gateway.log()
