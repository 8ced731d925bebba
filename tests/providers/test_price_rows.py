"""Prices by date, by hour and by size of the input: which of a model's rows holds for a call."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.test import TestCase
from django.utils import timezone

from providers.models import Model, Price, Provider
from providers.price_rows import clean_tiers, dated_prices, next_change, rows_in_force
from providers.pricing import cost_of
from providers.target import Hours, price_in_force
from providers.targets import load_targets, price_history
from providers.translation.usage import Usage

D = Decimal
DAY = datetime(2026, 11, 2, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def row(price: int, since: datetime = DAY, pk: int = 0, **fields: Any) -> Price:
    values: dict[str, Any] = {"currency": "CNY", "output_per_million": D(0), "source": "admin", "tiers": []}
    return Price(pk=pk or price, input_per_million=D(price), valid_from=since, **(values | fields))


def span(begin: str, end: str, zone: str = "") -> dict[str, Any]:
    return {"time_from": time.fromisoformat(begin), "time_until": time.fromisoformat(end), "time_zone": zone}


def input_at(rows: list[Price], moment: datetime, zone: ZoneInfo = SHANGHAI) -> Decimal | None:
    price = price_in_force(dated_prices(rows, zone), moment)
    return price.input if price else None


def test_the_span_that_holds_the_start_wins_else_the_row_without_one() -> None:
    # In the order in which an administrator may have entered them, and of one moment.
    rows = [row(4, **span("09:00", "12:00")), row(6, **span("14:00", "18:00")), row(2, pk=9)]
    local = datetime(2026, 11, 3, tzinfo=SHANGHAI)
    found = {hour: input_at(rows, local.replace(hour=hour)) for hour in (0, 8, 9, 11, 12, 13, 14, 17, 18)}
    assert found == {0: 2, 8: 2, 9: 4, 11: 4, 12: 2, 13: 2, 14: 6, 17: 6, 18: 2}


def test_a_span_may_pass_midnight_and_has_its_own_zone() -> None:
    rows = [row(2), row(1, **span("22:00", "06:30", "Asia/Shanghai"))]
    local = datetime(2026, 11, 3, tzinfo=SHANGHAI)
    times = [(21, 59), (22, 0), (0, 0), (6, 29), (6, 30)]
    # The business is elsewhere: the zone of the price counts.
    assert [input_at(rows, local.replace(hour=h, minute=m), ZoneInfo("UTC")) for h, m in times] == [2, 1, 1, 1, 2]


def test_the_clock_counts_when_it_is_put_back_and_forward() -> None:
    hours = Hours(time(2), time(3), BERLIN)
    # 2026-10-25: 02:30 comes twice; 2026-03-29: it does not come.
    back = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1, 2)]
    assert [hours.hold(moment) for moment in back] == [True, True, False]
    forward = [datetime(2026, 3, 29, 0, minute, tzinfo=UTC) for minute in (0, 59)] + [
        datetime(2026, 3, 29, 1, minute, tzinfo=UTC) for minute in (0, 59)
    ]
    assert [hours.hold(moment) for moment in forward] == [False, False, False, False]


def test_a_price_comes_into_force_at_its_moment_and_never_moves_the_past() -> None:
    change = DAY + timedelta(days=10)
    rows = [row(2), row(3, change)]
    assert input_at(rows, change - timedelta(microseconds=1)) == 2
    assert input_at(rows, change) == 3
    assert input_at(rows, DAY - timedelta(seconds=1)) is None
    assert (next_change(rows, DAY), next_change(rows, change)) == (change, None)


def test_a_later_price_without_hours_ends_those_with_hours() -> None:
    later = DAY + timedelta(days=1)
    rows = [row(2), row(4, **span("00:00", "23:59")), row(3, later)]
    assert (input_at(rows, later - timedelta(hours=1)), input_at(rows, later)) == (4, 3)
    assert [one.pk for one in rows_in_force(rows, later)] == [3]
    assert [one.pk for one in rows_in_force(rows, DAY)] == [4, 2]
    # A span entered again replaces the one of the same hours.
    rows.append(row(5, DAY + timedelta(hours=1), **span("00:00", "23:59")))
    assert [one.pk for one in rows_in_force(rows, later - timedelta(hours=1))] == [5, 2]


def test_tiers_of_a_row_price_the_whole_call() -> None:
    tiers = clean_tiers([
        {"above": 1000, "input": 6, "output": "22.5", "cache_write": 0.3},
        {"above": 5000, "input": 9, "output": 30, "cache_write_1h": "12"},
    ])  # fmt: skip
    assert tiers[0] == {"above": 1000, "input": "6", "output": "22.5", "cache_write": "0.3"}
    (dated,) = dated_prices([row(3, tiers=tiers)], SHANGHAI)

    def cost(**usage: int) -> Decimal | None:
        return cost_of(Usage(**usage), dated.price)[0]

    assert cost(input_tokens=1000) == D("0.003")
    assert cost(input_tokens=1001) == D("0.006006")
    assert cost(input_tokens=1, cache_read_tokens=1000) == D("0.006006")  # read: as input of the tier
    assert cost(cache_write_tokens=2000, cache_write_1h_tokens=1000) == D("0.0006")
    assert cost(cache_write_tokens=6000, cache_write_1h_tokens=1000) == D("0.045") + D("0.012")


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ({"above": 1}, "JSON list"),
        (["x"], "Tier 1: enter a JSON object"),
        ([{"above": 5, "input": 1}], "Tier 1: “output” is required"),
        ([{"input": 1, "output": 1}], "Tier 1: “above” is required"),
        ([{"above": 5, "input": 1, "output": 1, "price": 2}], "Tier 1: unknown field price"),
        ([{"above": 0, "input": 1, "output": 1}], "whole number of tokens"),
        ([{"above": True, "input": 1, "output": 1}], "whole number of tokens"),
        ([{"above": 1.5, "input": 1, "output": 1}], "whole number of tokens"),
        ([{"above": 10**30, "input": 1, "output": 1}], "whole number of tokens"),
        ([{"above": 5, "input": -1, "output": 1}], "“input” must be a price"),
        ([{"above": 5, "input": "1e400", "output": 1}], "“input” must be a price"),
        ([{"above": 5, "input": "NaN", "output": 1}], "“input” must be a price"),
        ([{"above": 5, "input": "free", "output": 1}], "“input” must be a price"),
        ([{"above": 5, "input": [], "output": 1}], "“input” must be a price"),
        ([{"above": 5, "input": 1, "output": "0.0000001"}], "“output” must be a price"),
        ([{"above": 5, "input": 1, "output": 1}] * 2, "Tier 2: “above” must rise"),
        ([{"above": n, "input": 1, "output": 1} for n in range(1, 30)], "more than 20"),
    ],
)
def test_wrong_tiers_are_refused_in_words(tiers: Any, message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        clean_tiers(tiers)
    assert message in " ".join(refused.value.messages)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"time_from": time(9)}, {"time_until"}),
        ({"time_until": time(9)}, {"time_from"}),
        (span("09:00", "09:00"), {"time_until"}),
        (span("09:00", "10:00", "Mars/Base"), {"time_zone"}),
        (span("09:00", "10:00", "../etc/passwd"), {"time_zone"}),
        ({"time_zone": "Asia/Shanghai"}, {"time_zone"}),
        ({"cache_write_1h_per_million": D(-1)}, {"cache_write_1h_per_million"}),
        ({"tiers": [{"above": 5}], "input_per_million": D(-1)}, {"tiers", "input_per_million"}),
    ],
)
def test_a_wrong_row_is_refused_by_field(fields: dict[str, Any], wrong: set[str]) -> None:
    price = row(1)
    for name, value in fields.items():
        setattr(price, name, value)
    with pytest.raises(ValidationError) as refused:
        price.clean()
    assert set(refused.value.message_dict) == wrong


class LoadedTest(TestCase):
    def setUp(self) -> None:
        provider = Provider.objects.create(name="main", kind="openai_compatible", base_url="https://relay.example/v1")
        self.model = Model.objects.create(provider=provider, model_id="m")
        self.now = timezone.now()

    def add(self, price: int, since: timedelta, **fields: Any) -> None:
        Price.objects.create(
            model=self.model, currency="USD", input_per_million=price, output_per_million=0,
            valid_from=self.now + since, **fields,
        )  # fmt: skip

    def test_a_target_knows_the_price_of_tomorrow_without_being_loaded_again(self) -> None:
        for days, price in ((-30, 1), (-2, 2), (-0.5, 3), (1, 4)):
            self.add(price, timedelta(days=days))
        target = load_targets()["main/m"]
        assert target.price is not None
        assert target.price.input == 3
        assert [dated.price.input for dated in target.dated_prices] == [4, 3, 2]  # what no call needs is not loaded

        def price_in(days: float) -> Decimal | None:
            found = target.price_at(self.now + timedelta(days=days))
            return found.input if found else None

        assert [price_in(days) for days in (-0.9, 0, 0.9, 1, 5)] == [2, 3, 3, 4, 4]

    def test_a_span_alone_leaves_the_rest_of_the_day_to_the_lists(self) -> None:
        Provider.objects.update(base_url="https://api.openai.com/v1")
        Model.objects.update(model_id="gpt-4o")
        now = self.now.astimezone(SHANGHAI)
        around = {"time_from": (now - timedelta(hours=1)).time(), "time_until": (now + timedelta(hours=1)).time()}
        self.add(77, timedelta(days=-1), time_zone="Asia/Shanghai", **around)
        target = load_targets()["main/gpt-4o"]
        inside, outside = target.price_at(self.now), target.price_at(self.now + timedelta(hours=3))
        assert inside is not None
        assert outside is not None
        assert (inside.input, inside.source, outside.source) == (77, "price", "catalogue")

    def test_the_catalogue_goes_by_the_hour_too(self) -> None:
        Provider.objects.update(base_url="https://api.deepseek.com")
        Model.objects.update(model_id="deepseek-v4-pro")
        target = load_targets()["main/deepseek-v4-pro"]
        # By day, in Beijing and in UTC: peak from 01:00 to 04:00 UTC.
        peak, night = (target.price_at(datetime(2026, 11, 25, hour, 30, tzinfo=UTC)) for hour in (2, 20))
        assert peak is not None
        assert night is not None
        assert (peak.source, night.source, peak.input) == ("catalogue", "catalogue", 2 * night.input)
        history = price_history("main", "deepseek-v4-pro")
        assert history(datetime(2026, 11, 25, 2, 30, tzinfo=UTC)) == peak
        self.add(7, timedelta(days=-2))
        stated = load_targets()["main/deepseek-v4-pro"]
        assert [dated.price.source for dated in stated.dated_prices] == ["price"]

    def test_hours_without_a_zone_are_those_of_the_business(self) -> None:
        self.add(2, timedelta(days=-2))
        self.add(1, timedelta(days=-2), time_from=time(1), time_until=time(2))
        target = load_targets(SHANGHAI)["main/m"]
        at = datetime(2099, 1, 1, 1, 30, tzinfo=SHANGHAI)
        assert [price.input for moment in (at, at + timedelta(hours=1)) if (price := target.price_at(moment))] == [1, 2]

    def test_tiers_written_past_the_forms_stop_nobody(self) -> None:
        self.add(2, timedelta(days=-2), tiers=[{"above": "x"}])
        with patch("providers.price_rows.logger") as logger:
            target = load_targets()["main/m"]
        assert target.price is not None
        assert (target.price.input, target.price.tiers) == (2, ())
        assert logger.error.called
