"""The routing pages with a real Chromium: order by dragging and by keys, the mode of a policy, a prompt tried."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, IS_INSTALLED, PHONE, Browser
from tests.browser.test_admin import ADMIN, PASSWORD, log_in
from tests.conftest import require
from tests.fakes.answers import text
from tests.fakes.gateway_process import KEY, GatewayProcess, configuration, wait_until
from tests.fakes.upstream import ScriptedUpstream

pytestmark = [pytest.mark.browser, pytest.mark.server]

SCENES = "/admin/routing/scene/"
NAMES = ["Chat", "Code", "重构"]


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    require("browser", IS_INSTALLED, "there is no /usr/bin/chromium with /usr/bin/chromedriver")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with ScriptedUpstream() as upstream:
        upstream.script("big", *[text("Done. 好了。", usage=(1234, 56))] * 5)
        yield from _gateway(upstream.base_url, str(tmp_path_factory.mktemp("static")))


def _gateway(upstream_url: str, static_root: str) -> Iterator[GatewayProcess]:
    config: dict[str, Any] = configuration(
        upstream_url, models=("big", "small"), routes={"daily": ["big", "small"], "best": ["big"]}, capture="full"
    )
    config["scenes"] = [
        {"name": name, "description": "What it is for.", "route": "daily", "default": name == "Chat"} for name in NAMES
    ]
    config["policies"] = [{"name": "smart", "default": True, "mode": "smart", "min_confidence": 1}]
    with GatewayProcess(config, by_script=True, env={"STATIC_ROOT": static_root, **ADMIN}) as gateway:
        yield gateway


@pytest.fixture
def browser(gateway: GatewayProcess) -> Iterator[Browser]:
    with Browser(gateway.base_url) as browser:
        log_in(browser, "root", PASSWORD)
        yield browser
        assert browser.complaints() == []
        assert "Traceback" not in gateway.log()


def names(browser: Browser) -> list[str]:
    return [element.text for element in browser.find_all("#result_list tbody th a")]


def drag(browser: Browser, selector: str, at: int, to: int) -> None:
    """Drag the row `at` by its handle over the row `to`."""
    handles = browser.find_all(f"{selector} .drag-handle")
    distance = handles[to].rect["y"] - handles[at].rect["y"]
    beyond = 5 if to > at else -5
    actions = ActionChains(browser.driver).click_and_hold(handles[at])
    actions.move_by_offset(0, int(distance / 2)).move_by_offset(0, int(distance - distance / 2 + beyond))
    actions.release().perform()


def test_scenes_are_put_in_order_by_dragging_and_by_keys(browser: Browser) -> None:
    browser.open(SCENES)
    assert names(browser) == NAMES
    drag(browser, "#result_list", 0, 2)
    assert names(browser) == ["Code", "重构", "Chat"]
    browser.submit("[name=_save]")
    assert names(browser) == ["Code", "重构", "Chat"]
    browser.find_all("#result_list .drag-handle")[2].send_keys(Keys.ARROW_UP, Keys.ARROW_UP)
    browser.submit("[name=_save]")
    assert names(browser) == ["Chat", "Code", "重构"]
    # In a part of the list there is no order to change.
    browser.open(f"{SCENES}?q=Code")
    assert names(browser) == ["Code"]
    assert not browser.find_all(".drag-handle")


def test_the_targets_of_a_route_are_dragged_and_an_added_one_comes_last(browser: Browser) -> None:
    browser.open("/admin/routing/route/")
    browser.follow("daily")
    drag(browser, "#entries-group", 1, 0)
    # The empty row for another target was not touched.
    assert browser.find("[name=entries-2-position]").get_attribute("value") == ""
    browser.submit()
    assert "up/small → up/big" in browser.text
    browser.follow("best")
    browser.fill(**{"entries-1-model": "up/small"})
    browser.submit()
    assert browser.text.count("up/big → up/small") == 1
    browser.follow("best")
    browser.find_all("#entries-group .drag-handle")[1].send_keys(Keys.ARROW_UP)
    browser.submit()
    assert browser.text.count("up/small → up/big") == 2


def test_a_row_removed_after_dragging_takes_no_saved_row_along(browser: Browser) -> None:
    browser.open("/admin/routing/policy/")
    browser.follow("smart")
    browser.fill(**{"classifier_entries-0-model": "up/big"})
    browser.submit("[name=_continue]")
    browser.fill(**{"classifier_entries-1-model": "up/small"})
    drag(browser, "#classifier_entries-group", 1, 0)
    # The new row stands first; the empty one is added and removed again.
    browser.find("#classifier_entries-group .add-row a").click()
    browser.find("#classifier_entries-2 .inline-deletelink").click()
    browser.submit("[name=_continue]")
    chosen = [element.text for element in browser.find_all("#classifier_entries-group select option:checked")]
    assert chosen[:2] == ["up/small", "up/big"]


def test_the_mode_decides_what_a_policy_shows(browser: Browser) -> None:
    def shown() -> list[bool]:
        return [
            browser.find(selector).is_displayed() for selector in ("#id_route", "#id_scenes", "#kind_rules-group h2")
        ]

    browser.open("/admin/routing/policy/add/")
    assert shown() == [True, False, False]
    browser.fill(mode="smart")
    assert shown() == [False, True, True]
    browser.fill(name="other", mode="direct")
    browser.submit()
    # What is wrong is always in sight.
    assert browser.find(".field-route .errorlist").is_displayed()
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open("/admin/routing/policy/add/")
    assert shown() == [True, False, False]


def test_a_prompt_is_tried_on_desk_and_phone(browser: Browser) -> None:
    for width, language in ((DESKTOP, "en"), (PHONE, "zh-CN")):
        browser.show(width, language)
        browser.open("/admin/routing/policy/try/")
        browser.fill(text="你好", has_tools=True)
        browser.submit("#content .submit-row [type=submit]")
        assert "Chat" in browser.find("#result").text
        assert "up/big" in browser.find("#result").text
        assert browser.overflow() == []
    for path in (f"{SCENES}offered/defaults/", f"{SCENES}offered/templates/", SCENES):
        browser.open(path)
        assert browser.overflow() == [], path


def test_the_decision_of_a_call_is_read_and_the_call_learnt_from(gateway: GatewayProcess, browser: Browser) -> None:
    words = "请重构这个函数，token=abc-123-def-456"
    content = [
        {"type": "text", "text": "<system-reminder>Not the user's words.</system-reminder>"},
        {"type": "text", "text": words},
    ]
    call = {"model": "claude-x", "max_tokens": 50, "messages": [{"role": "user", "content": content}]}
    url = f"{gateway.claude_code_url}/v1/messages"
    assert httpx.post(url, json=call, headers={"x-api-key": KEY}, timeout=20).status_code == 200
    wait_until(lambda: gateway.query("SELECT 1 FROM gateway_capture"))
    browser.open("/admin/accounts/callrecord/?scene_name=Chat&kind=main&policy_name=smart")
    assert "Chat" in browser.find("#result_list tbody tr").text
    browser.submit("#result_list tbody th a")
    decision = browser.find(".decision").text
    for part in ("request of the user", "the default scene answers", "up/big", "up/small", "USD", "tokens of prompt"):
        assert part in decision, part
    assert browser.overflow() == []
    browser.follow("Add to the examples of a scene")
    assert browser.find("[name=text]").get_attribute("value") == words.replace("abc-123-def-456", "***")
    scene = browser.find(f"[name=scene] option:nth-child({2 + NAMES.index('重构')})").get_attribute("value")
    assert scene is not None
    browser.fill(scene=scene, text="请重构这个函数")
    browser.submit("#content .submit-row [type=submit]")
    assert "Added to the examples of 重构; there are 1." in browser.find(".messagelist .success").text
    browser.follow("重构")
    assert browser.find("[name=examples]").get_attribute("value") == "请重构这个函数"
