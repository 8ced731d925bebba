"""From a list of people to their keys with a real Chromium: preview, import, links, and the page behind a link."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import DESKTOP, IS_INSTALLED, PHONE, Browser
from tests.browser.test_admin import ADMIN, PASSWORD, log_in, started
from tests.conftest import require
from tests.fakes.gateway_process import GatewayProcess, configuration

pytestmark = [pytest.mark.browser, pytest.mark.server]

LIST = "用户名,姓名,邮箱,团队,角色,备注\r\nlilei,李雷,lilei@example.com,Core,成员,x\r\nada.with.a.long.name,Ada,,Core,,\r\n"
FAULTY = "username,email,team,roles\ngood,,,\n" + "bad,nobody," + "x" * 90 + ",king\n"
# Pictures for people to look at; nothing checks them.
PICTURES = os.environ.get("PICTURES_DIR", "")


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    require("browser", IS_INSTALLED, "there is no /usr/bin/chromium with /usr/bin/chromedriver")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    config = configuration("http://127.0.0.1:9", models=("big",), routes={"daily": ["big"]})
    with started(config, str(tmp_path_factory.mktemp("static")), **ADMIN) as gateway:
        yield gateway


def look(browser: Browser, name: str) -> None:
    """Check that the page fits on desk and phone."""
    for width in (DESKTOP, PHONE):
        browser.show(width)
        assert browser.overflow() == [], f"{name} {width}"
        if PICTURES:
            browser.screenshot(Path(PICTURES) / f"{name}-{width}.png")
    browser.show(DESKTOP)


def upload(browser: Browser, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    browser.open("/admin/accounts/user/import/")
    browser.find("[name=file]").send_keys(str(path))
    browser.find("[name=make_teams]").click()
    browser.submit("#content-main [type=submit]")


def test_from_a_list_of_people_to_the_page_behind_a_link(gateway: GatewayProcess, tmp_path: Path) -> None:
    with Browser(gateway.base_url) as browser:
        log_in(browser, "root", PASSWORD)
        browser.open("/admin/accounts/user/")
        browser.follow("Import from a file")
        look(browser, "upload")
        upload(browser, tmp_path / "faulty.csv", FAULTY.encode())
        assert "Nothing is imported while a row has an error." in browser.text
        look(browser, "faults")
        upload(browser, tmp_path / "people.csv", LIST.encode("gbk"))
        assert "CSV in GB18030" in browser.text
        assert "李雷" in browser.text
        look(browser, "preview")
        browser.submit("#content-main [type=submit]")
        assert "2 people were made." in browser.text
        look(browser, "done")
        browser.submit("#content-main [type=submit]")
        look(browser, "issue")
        browser.fill(delivery="86400", links_as="page")
        browser.submit("#content-main [type=submit]")
        links = re.findall(r"https?://\S+/handover/\S+/", browser.text)
        assert len(links) == 2
        look(browser, "links")
        browser.follow("See which links were opened")
        look(browser, "list")
        open_link(browser, links[0])
        assert gateway.query("SELECT opened_from FROM accounts_keyhandover WHERE opened_at IS NOT NULL") == [
            ("127.0.0.1",)
        ]
        assert browser.complaints() == []
        assert "Traceback" not in gateway.log()
        assert links[0].split("/")[-2] not in gateway.log()


def open_link(browser: Browser, link: str) -> None:
    browser.open("/admin/")
    browser.driver.delete_all_cookies()
    browser.driver.get(link)
    look(browser, "closed")
    browser.submit("button")
    assert re.search(r"ANTHROPIC_AUTH_TOKEN=wg_[A-Za-z0-9_-]{43}", browser.text)
    look(browser, "shown")
    # The page answers with 410 now, which the browser's console would call an error.
    assert browser.complaints() == []
    browser.driver.get(link)
    assert "Nothing behind this link" in browser.text
    look(browser, "over")
    assert all("410" in complaint for complaint in browser.complaints())
