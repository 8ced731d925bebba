"""Correcting a call and closing a month in a real browser, at the width of a desk and of a phone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.browser import DESKTOP, IS_INSTALLED, PHONE, Browser
from tests.browser.test_admin import ADMIN, log_in, started
from tests.conftest import require
from tests.fakes.gateway_process import GatewayProcess, configuration

pytestmark = [pytest.mark.browser, pytest.mark.server]

# A settled call of last month, booked as the ledger books it.
CALL = """
from datetime import timedelta
from decimal import Decimal
from django.utils import timezone
from accounts.ids import new_call_id
from accounts.keys import digest
from accounts.ledger import run_batch
from accounts.ledger_items import Admission, Settlement
from accounts.models import ApiKey
from providers.translation.usage import Usage
from routing import snapshot

now = timezone.now().replace(day=1, hour=0) - timedelta(hours=9)
call = Admission(new_call_id(), (ApiKey.objects.get().digest,), True, "claude-opus-5-5")
run_batch([call], [], snapshot.load(), now)
run_batch([], [Settlement(call.call_id, "ok", now, Usage(123456, 7890), Decimal("1.2345"), "USD", "price",
    provider_name="up", model_name="main", scene_name="code")], snapshot.load(), now)
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    require("browser", IS_INSTALLED, "there is no /usr/bin/chromium with /usr/bin/chromedriver")
    with started(configuration("http://127.0.0.1:9/v1"), str(tmp_path / "static"), **ADMIN) as gateway:
        gateway.manage("shell", "-c", CALL)
        yield gateway


def look(browser: Browser, name: str) -> None:
    """Check that the page fits, and keep a picture of it where PICTURES says."""
    assert browser.overflow() == []
    if folder := os.environ.get("PICTURES"):
        browser.screenshot(Path(folder) / f"{name}.png")


def test_a_call_is_corrected_and_its_month_is_closed(gateway: GatewayProcess) -> None:
    with Browser(gateway.base_url) as browser:
        log_in(browser, "root", ADMIN["DJANGO_SUPERUSER_PASSWORD"])
        browser.open("/admin/accounts/callrecord/")
        browser.submit("#result_list tbody th a")
        browser.follow("Correct the cost of this call")
        for width in (PHONE, DESKTOP):
            browser.show(width)
            look(browser, f"correct-{width}")
        browser.fill(cost="-0.2345", reason="credit note 17")
        browser.submit("[type=submit].default")
        assert "1.2345 USD → 1.00 USD" in browser.text
        look(browser, "preview")
        browser.submit("[name=_confirm]")
        assert "-0.2345 USD" in browser.find(".messagelist .success").text
        browser.open("/admin/accounts/correction/add/")
        browser.show(PHONE)
        look(browser, "free")
        browser.fill(key="dev", corrects_on="01012026", cost="2", currency="cny", reason="flat fee")
        browser.submit("[type=submit].default")
        browser.show(DESKTOP)
        browser.open("/admin/accounts/closedmonth/add/")
        for width in (PHONE, DESKTOP):
            browser.show(width)
            look(browser, f"close-{width}")
        browser.fill(note="audited", is_meant=True)
        browser.submit("[value='Close the month']")
        assert "is closed" in browser.find(".messagelist .success").text
        assert "1.00 USD" in browser.text
        look(browser, "closed")
        assert browser.complaints() == []
    gateway.manage("verify_ledger")
