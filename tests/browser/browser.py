"""Chromium at the gateway's pages, as an administrator has it: a language, a width, forms to fill and links to follow."""

import base64
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
IS_INSTALLED = CHROMIUM.exists() and CHROMEDRIVER.exists()
DESKTOP, PHONE = 1440, 390
WAIT_S = 10
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
# The texts and controls that stick out of the window to the right, unless a parent inside the window scrolls them.
_OVERFLOW = """
const width = document.documentElement.clientWidth + 1;
const scrolls = (element) => {
  for (let parent = element; parent && parent !== document.body; parent = parent.parentElement) {
    if (['auto', 'scroll'].includes(getComputedStyle(parent).overflowX)
        && parent.getBoundingClientRect().right <= width) return true;
  }
  return false;
};
const range = document.createRange();
const right = (node) => {
  if (node.nodeType !== Node.TEXT_NODE) return node.getBoundingClientRect().right;
  range.selectNodeContents(node);
  return Math.max(0, ...[...range.getClientRects()].map((box) => box.right));
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
while (walker.nextNode()) {
  const node = walker.currentNode;
  const isText = node.nodeType === Node.TEXT_NODE;
  if (isText ? !node.data.trim() : !node.matches('input, select, textarea, button, img, table')) continue;
  const element = isText ? node.parentElement : node;
  // What is for screen readers only is one pixel wide.
  const isShown = element.checkVisibility({visibilityProperty: true}) && element.getBoundingClientRect().width > 1;
  if (isShown && right(node) > width && !scrolls(element))
    found.push(`${element.tagName} ${Math.round(right(node))} px: ${element.textContent.trim().slice(0, 40)}`);
}
return found;
"""


class Browser:
    """One Chromium with an empty profile. Use as a context manager, or `close()` it."""

    def __init__(self, base_url: str) -> None:
        os.environ["SE_OFFLINE"] = "true"  # Selenium must not look for a driver in the internet.
        self.base_url = base_url
        self._profile = tempfile.mkdtemp(prefix="wolfgate-browser-")
        options = ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=ChromeService(executable_path=str(CHROMEDRIVER)))
        self.show()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def show(self, width: int = DESKTOP, language: str = "en") -> None:
        """Ask for pages in `language` and show them in a window of `width` pixels, from the next page on."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": language}})
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, path: str) -> None:
        """Open the page at `path`."""
        self.driver.get(self.base_url + path)

    @property
    def path(self) -> str:
        """Where the browser is, without host and query."""
        return self.driver.current_url.removeprefix(self.base_url).partition("?")[0]

    @property
    def text(self) -> str:
        """What the page says."""
        return self.find("body").text

    def find(self, selector: str) -> WebElement:
        """Return the first element that `selector` (CSS) names; it is waited for."""
        found: WebElement = self._wait().until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))
        return found

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def has_link(self, href: str) -> bool:
        """Return whether the page links to `href`."""
        return bool(self.find_all(f"a[href='{href}']"))

    def fill(self, **fields: str | bool) -> None:
        """Enter `fields` into the form by the names of its fields: text, the value of a choice, or a tick."""
        for name, value in fields.items():
            element = self.find(f"[name='{name}']")
            self._unfold(element)
            if element.get_attribute("type") == "radio":
                self.find(f"[name='{name}'][value='{value}']").click()
            elif isinstance(value, bool):
                if element.is_selected() is not value:
                    element.click()
            elif element.tag_name == "select" and "admin-autocomplete" in (element.get_attribute("class") or ""):
                self._choose(element, value)
            elif element.tag_name == "select":
                Select(element).select_by_value(value)
            else:
                element.clear()
                element.send_keys(value)

    def _unfold(self, element: WebElement) -> None:
        """Open the folded part of the form that holds `element`."""
        for details in element.find_elements(By.XPATH, "ancestor::details[not(@open)]"):
            details.find_element(By.TAG_NAME, "summary").click()

    def _choose(self, element: WebElement, text: str) -> None:
        """Type `text` into the auto-completing field `element` and take the first row it offers.

        Twice if need be: the list may be fetched by a request that a busy machine starts too late for the typing.
        """
        found = (By.XPATH, f"//li[contains(@class, 'select2-results__option')][contains(., '{text}')]")
        for is_last in (False, True):
            element.find_element(By.XPATH, "following-sibling::span").click()
            self.find(".select2-search__field").send_keys(text)
            try:
                self._wait().until(lambda driver: self._takes_click(driver.find_element(*found)))
            except TimeoutException as error:
                offered = [option.text for option in self.find_all(".select2-results__option")]
                if is_last:
                    raise AssertionError(f"{text} is not offered, but {offered}") from error
                self.find(".select2-search__field").send_keys(Keys.ESCAPE)
            else:
                return

    def _takes_click(self, element: WebElement) -> bool:
        """Click `element`, and return whether it was still there: a list that is being filled is drawn anew."""
        try:
            element.click()
        except StaleElementReferenceException:
            return False
        return True

    def submit(self, selector: str = "[name=_save]") -> None:
        """Press the button that `selector` names and wait for the page that answers."""
        self._leave(self.find(selector))

    def follow(self, text: str) -> None:
        """Follow the link whose text is `text`, or press the button that says so."""
        xpath = f"//*[self::a or self::button][normalize-space(.)='{text}']"
        self._leave(self._wait().until(lambda driver: driver.find_element(By.XPATH, xpath)))

    def _leave(self, element: WebElement) -> None:
        self.driver.execute_script("window.isOldPage = true")
        element.click()
        loaded = "return !window.isOldPage && document.readyState === 'complete'"
        self._wait().until(lambda driver: driver.execute_script(loaded))

    def _wait(self) -> "WebDriverWait[Any]":
        return WebDriverWait(self.driver, WAIT_S, poll_frequency=0.02)

    def overflow(self) -> list[str]:
        """Return the elements of the page that stick out of the window to the right and cannot be scrolled to inside it."""
        return [str(element) for element in self.driver.execute_script(_OVERFLOW)]

    def complaints(self) -> list[str]:
        """Return what the browser's console says since the last call, except mere information."""
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 3000), "scale": 1}
        options = {"clip": clip, "captureBeyondViewport": True}
        path.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))
