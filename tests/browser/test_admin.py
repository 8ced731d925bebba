"""An administrator at the pages, with a real Chromium and a real gateway process."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.browser.browser import DESKTOP, IS_INSTALLED, PHONE, Browser
from tests.conftest import require
from tests.fakes.answers import error, text
from tests.fakes.gateway_process import GatewayProcess, configuration, wait_until
from tests.fakes.upstream import ScriptedUpstream

pytestmark = [pytest.mark.browser, pytest.mark.server]

PASSWORD = "Wolf-gate-4711"
SECRET = "sk-upstream-0123456789"
ADMIN = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
CALL = {"model": "daily", "max_tokens": 100, "messages": [{"role": "user", "content": "What is 二加二?"}]}
# The way from one list to all others; the settings have a form instead of a list.
LIST_LINKS = "#nav-sidebar tr th a"
LANGUAGES = {"en": "Home", "zh-CN": "首页"}


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    require("browser", IS_INSTALLED, "there is no /usr/bin/chromium with /usr/bin/chromedriver")


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        upstream.script("big", error(503, "down for a moment"))
        upstream.script("small", text("Four. 四。", usage=(1234, 56)))
        yield upstream


@pytest.fixture(scope="module")
def static_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the gateways of this file keep their static files, so that only the first has to compress them."""
    return str(tmp_path_factory.mktemp("static"))


def started(config: dict[str, Any], static_root: str, **env: str) -> GatewayProcess:
    """Return a gateway as `scripts/serve` starts it: bootstrapped, with its static files."""
    return GatewayProcess(config, by_script=True, env={"STATIC_ROOT": static_root, **env})


def post(gateway: GatewayProcess, secret: str) -> httpx.Response:
    headers = {"x-api-key": secret, "anthropic-version": "2023-06-01"}
    return httpx.post(f"{gateway.claude_code_url}/v1/messages", json=CALL, headers=headers, timeout=20)


def log_in(browser: Browser, name: str, password: str) -> None:
    browser.open("/admin/")
    browser.fill(username=name, password=password)
    browser.submit("#login-form [type=submit]")


def choose_own_password(browser: Browser, temporary: str) -> None:
    """Log in for the first time; until the password is changed, only the form for it answers."""
    log_in(browser, "admin", temporary)
    form = "/admin/password_change/"
    for path in ("/admin/", "/admin/providers/provider/add/", "/admin/accounts/callrecord/"):
        browser.open(path)
        assert browser.path == form, path
    assert "Your password is temporary" in browser.text
    browser.fill(old_password=temporary, new_password1=temporary, new_password2=temporary)
    browser.submit("#content [type=submit]")
    assert browser.path == form
    assert "must differ" in browser.find(".errorlist").text
    browser.fill(old_password=temporary, new_password1=PASSWORD, new_password2=PASSWORD)
    browser.submit("#content [type=submit]")
    assert browser.path == "/admin/"


def add_provider(browser: Browser, base_url: str) -> None:
    browser.open("/admin/providers/provider/add/")
    browser.fill(name="main", kind="openai_compatible", base_url=base_url, allow_private_network=True)
    browser.fill(**{"credentials-0-name": "team", "credentials-0-secret": SECRET})
    browser.submit("[name=_continue]")
    assert "…6789" in browser.text
    assert SECRET not in browser.driver.page_source
    browser.follow("Test the connection")
    assert "The provider main answers after" in browser.find(".messagelist .success").text
    assert "2 models listed." in browser.text
    browser.follow("Refresh the list of models")
    assert "Models of main: 2 added" in browser.find(".messagelist .success").text


def lead_calls_to_both_models(browser: Browser) -> None:
    browser.open("/admin/routing/route/add/")
    browser.fill(name="daily", **{"entries-0-model": "main/big"})
    browser.submit("[name=_continue]")
    browser.fill(**{"entries-1-position": "1", "entries-1-model": "main/small"})
    browser.submit()
    assert "main/big → main/small" in browser.text
    browser.open("/admin/routing/policy/add/")
    browser.fill(name="everyday", mode="direct", route="daily")
    browser.submit()
    assert "everyday" in browser.find("#result_list").text


def add_person(browser: Browser) -> None:
    browser.open("/admin/accounts/user/add/")
    browser.fill(username="ann", password1=PASSWORD, password2=PASSWORD)
    browser.submit()
    browser.fill(policy="everyday", time_zone="America/New_York", language="zh-hans")
    browser.submit()
    assert "ann" in browser.find("#result_list").text


def issue_key(browser: Browser) -> str:
    """Issue a key and return its secret; no other page has it."""
    browser.open("/admin/accounts/apikey/add/")
    browser.fill(user="ann", name="laptop", lifetime="7")
    browser.submit()
    secret = browser.find("#secret").text
    assert re.fullmatch(r"wg_[A-Za-z0-9_-]{43}", secret)
    assert f"ANTHROPIC_BASE_URL={browser.base_url}/api/v1/claude-code\n" in browser.text
    browser.follow("Go on to the key")
    assert secret not in browser.driver.page_source
    return secret


def keep_everything(browser: Browser) -> None:
    browser.open("/admin/routing/runtimesettings/")
    browser.fill(capture="full", business_time_zone="Asia/Shanghai")
    browser.submit()
    assert "Asia/Shanghai" in browser.find(".time-zone").text


def read_call(browser: Browser) -> None:
    """Find the call in the list, follow it to its attempts and to what was kept of it."""
    browser.open("/admin/accounts/callrecord/?q=laptop")
    row = browser.find("#result_list tbody tr").text
    for cell in ("ann", "laptop", "daily", "main/small", "ok", "1,234 / 56", "unknown"):
        assert cell in row, cell
    browser.submit("#result_list tbody th a")
    attempts = browser.find("#attempts-group").text
    for cell in ("big", "overloaded", "503", "down for a moment", "small", "200"):
        assert cell in attempts, cell
    browser.follow("request and answer")
    page = browser.text
    for stage in ("1. Request of the client", "4. Answer to the client", "What is 二加二?", '"model": "small"', "四"):
        assert stage in page, stage
    assert SECRET not in browser.driver.page_source


def test_from_the_first_login_to_the_page_of_a_call(upstream: ScriptedUpstream, static_root: str) -> None:
    with started({"version": 1}, static_root) as gateway, Browser(gateway.base_url) as browser:
        found = re.search(r"user admin, password (\S+)", gateway.log())
        assert found is not None, gateway.log()
        choose_own_password(browser, found[1])
        add_provider(browser, upstream.base_url)
        lead_calls_to_both_models(browser)
        add_person(browser)
        keep_everything(browser)
        secret = issue_key(browser)
        answer = post(gateway, secret)
        assert (answer.status_code, answer.json()["content"][-1]["text"]) == (200, "Four. 四。"), answer.text
        wait_until(lambda: gateway.query("SELECT 1 FROM gateway_capture"))
        read_call(browser)
        assert browser.complaints() == []
        assert "Traceback" not in gateway.log()


def test_every_page_fits_in_both_languages_on_desk_and_phone(upstream: ScriptedUpstream, static_root: str) -> None:
    config = configuration(
        upstream.base_url,
        models=("big", "small"),
        routes={"daily": ["big", "small"]},
        quotas=[{"user": "dev", "unit": "cost", "window": "month", "limit": 200, "currency": "USD"}],
        capture="full",
        business_time_zone="Asia/Shanghai",
    )
    key = config["keys"][0]["secret"]
    with started(config, static_root, **ADMIN) as gateway, Browser(gateway.base_url) as browser:
        assert post(gateway, key).status_code == 200
        wait_until(lambda: gateway.query("SELECT 1 FROM gateway_capture"))
        problems = []
        log_in(browser, "root", PASSWORD)
        browser.open("/admin/providers/provider/")
        lists = [str(link.get_dom_attribute("href")) for link in browser.find_all(LIST_LINKS)]
        assert len(lists) > 15
        forms = ["/admin/password_change/", "/admin/accounts/user/add/", "/admin/routing/policy/try/"]
        forms += [f"{path}add/" for path in lists if "runtimesettings" not in path and browser.has_link(f"{path}add/")]
        for path in lists:
            browser.open(path)
            first = browser.find_all("#result_list tbody th a")
            forms += [str(first[0].get_dom_attribute("href"))] if first else []
        for width in (DESKTOP, PHONE):
            for language, home in LANGUAGES.items():
                browser.show(width, language)
                # Of the forms only what differs most: long English words on a desk, Chinese on a phone.
                is_worth_forms = (width == DESKTOP) is (language == "en")
                for path in ["/admin/", *lists, *(forms if is_worth_forms else ())]:
                    browser.open(path)
                    where = f"{path} {width} {language}"
                    if "Wolfgate" not in browser.driver.title or (path != "/admin/" and home not in browser.text):
                        problems.append(f"{where}: {browser.driver.title}")
                    problems += [f"{where}: {element}" for element in browser.overflow()]
                    problems += [f"{where}: {complaint}" for complaint in browser.complaints()]
        assert problems == []
        assert "Traceback" not in gateway.log()
