"""The audit log with a real Chromium: an entry and a history read well on a desk and on a phone."""

import os
from pathlib import Path

import pytest

from tests.browser.browser import DESKTOP, IS_INSTALLED, PHONE, Browser
from tests.browser.test_admin import ADMIN, LANGUAGES, PASSWORD, log_in, started
from tests.conftest import require
from tests.fakes.gateway_process import configuration

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    require("browser", IS_INSTALLED, "there is no /usr/bin/chromium with /usr/bin/chromedriver")


def test_an_entry_and_the_history_of_an_object_fit(tmp_path: Path) -> None:
    config = configuration("http://127.0.0.1:9", models=("big",), routes={"daily": ["big"]})
    scene = {"name": "code", "description": "writing code", "route": "daily", "default": True}
    config["scenes"] = [{**scene, "examples": [f"write number {number} of 例子{'x' * 60}" for number in range(60)]}]
    with started(config, str(tmp_path / "static"), **ADMIN) as gateway, Browser(gateway.base_url) as browser:
        log_in(browser, "root", PASSWORD)
        browser.open("/admin/routing/scene/")
        browser.submit("#result_list tbody th a")
        page = browser.path
        browser.fill(description="another description, which is a good deal longer than the one before it " * 3)
        browser.submit()
        history = page.replace("/change/", "/history/")
        browser.open(history)
        browser.submit("#content .audit-history tbody th a")
        entry = browser.path
        assert "another description" in browser.text
        assert browser.has_link(page)
        for width in (DESKTOP, PHONE):
            for language in LANGUAGES:
                browser.show(width, language)
                for name, path in (("entry", entry), ("history", history), ("list", "/admin/accounts/auditentry/")):
                    browser.open(path)
                    if folder := os.environ.get("AUDIT_SHOTS"):
                        browser.screenshot(Path(folder) / f"{name}-{width}-{language}.png")
                    assert browser.overflow() == [], (path, width, language)
        assert browser.complaints() == []
