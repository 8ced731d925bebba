"""What a configuration file says of keys that manage, and of temporary raises."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from django.core.management import call_command
from django.utils import timezone

from accounts.models import ApiKey, QuotaRaise
from tests.gateway.config_files import ConfigCase

SECRET = "wg_0123456789012345678901234567890"


def exported() -> dict[str, Any]:
    output = io.StringIO()
    call_command("export_config", stdout=output)
    document: dict[str, Any] = yaml.safe_load(output.getvalue())
    return document


class KeyScope(ConfigCase):
    def key(self, **fields: Any) -> dict[str, Any]:
        key = {"user": "ci", "name": "cron", "secret": SECRET, **fields}
        return {
            "teams": [{"name": "core"}],
            "users": [{"username": "ci", "team": "core", "service": True}],
            "keys": [key],
        }

    def test_it_is_set_exported_changed_and_taken_back(self) -> None:
        self.apply(self.key(scope="finance"))
        self.assertEqual(ApiKey.objects.get().scope, "finance")
        self.assertEqual(exported()["keys"][0]["scope"], "finance")
        self.assertIn("~ key ci/cron: scope finance -> admin", self.apply(self.key(scope="admin")))
        self.apply(self.key())
        self.assertEqual(ApiKey.objects.get().scope, "admin", "a file that says nothing changes nothing")
        self.apply(self.key(scope=None))
        self.assertEqual(ApiKey.objects.get().scope, "")
        self.assertNotIn("scope", exported()["keys"][0])

    def test_another_scope_is_refused(self) -> None:
        self.assertEqual(
            self.refused(self.key(scope="adm")),
            ["keys[0].scope: must be one of finance, admin; did you mean admin?"],
        )


class Raises(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = timezone.now().replace(microsecond=0)

    def quota(self, *raises: dict[str, Any]) -> dict[str, Any]:
        quota = {"team": "core", "unit": "tokens", "window": "day", "limit": 100}
        return {"teams": [{"name": "core"}], "quotas": [{**quota, "raises": list(raises)}]}

    def granted(self, amount: Any = 20, starts: int = 0, ends: int = 2, **fields: Any) -> dict[str, Any]:
        moments = {
            name: (self.now + timedelta(days=days)).isoformat() for name, days in (("from", starts), ("until", ends))
        }
        return {"amount": amount, **moments, **fields}

    def test_they_are_written_once_and_exported(self) -> None:
        document = self.quota(self.granted(reason="launch"), self.granted(5, 3, 4))
        self.assertIn("+ raise ", "\n".join(self.apply(document)))
        first, second = QuotaRaise.objects.order_by("starts_at")
        self.assertEqual((first.amount, first.reason, first.starts_at), (20, "launch", self.now))
        self.assertEqual((second.amount, second.ends_at), (5, self.now + timedelta(days=4)))
        self.assertNotIn("raise", "\n".join(self.apply(document)))
        self.assertEqual(QuotaRaise.objects.count(), 2)
        again = exported()
        self.assertEqual([row["amount"] for row in again["quotas"][0]["raises"]], [20, 5])
        self.assertNotIn("raise", "\n".join(self.apply(yaml.safe_dump(again))))

    def test_another_amount_changes_the_one_that_lasts(self) -> None:
        self.apply(self.quota(self.granted(reason="launch")))
        lines = self.apply(self.quota(self.granted(30)))
        self.assertTrue(any(line.startswith("~ raise") and "amount 20 -> 30" in line for line in lines), lines)
        row = QuotaRaise.objects.get()
        self.assertEqual((row.amount, row.reason), (30, "launch"))
        self.apply(self.quota())
        self.assertEqual(QuotaRaise.objects.count(), 1, "one that is not named stays")

    def test_one_that_is_over_stays_as_it_was_and_is_not_made(self) -> None:
        past = self.granted(20, -3, -1)
        self.assertIn("is over and is not written", "\n".join(self.apply(self.quota(past))))
        self.assertFalse(QuotaRaise.objects.exists())
        self.apply(self.quota(self.granted()))
        moments = {"starts_at": datetime.fromisoformat(past["from"]), "ends_at": datetime.fromisoformat(past["until"])}
        QuotaRaise.objects.update(**moments)
        self.apply(self.quota({**past, "amount": 999}))
        self.assertEqual(QuotaRaise.objects.get().amount, 20)
        self.assertNotIn("raises", exported()["quotas"][0])

    def test_what_cannot_be_is_said_with_its_path(self) -> None:
        day = "2027-01-01T00:00:00+00:00"
        for raise_, problem in (
            (self.granted(0), "quotas[0].raises[0].amount: must be more than 0"),
            (self.granted(-5), "quotas[0].raises[0].amount: must be a number of at least 0"),
            (self.granted("much"), "quotas[0].raises[0].amount: must be a number of at least 0"),
            (
                self.granted(10**30),
                "quotas[0].raises[0].amount: Ensure that there are no more than 20 digits in total.",
            ),
            (self.granted(5, 2, 1), "quotas[0].raises[0].until: is not after the begin"),
            ({"amount": 1, "until": day}, "quotas[0].raises[0].from: is required"),
            ({"amount": 1, "from": "soon", "until": day}, "quotas[0].raises[0].from: must be a time like 2027"),
            (
                {"amount": 1, "from": "2027-01-01T00:00:00", "until": day},
                "quotas[0].raises[0].from: must state its offset",
            ),
            (self.granted(why="x"), "quotas[0].raises[0].why: unknown field"),
            (self.granted(reason="x" * 201), "quotas[0].raises[0].reason: Ensure this value has at most 200"),
        ):
            with self.subTest(problem):
                self.assertTrue(
                    self.refused(self.quota(raise_))[0].startswith(problem), self.refused(self.quota(raise_))
                )
        twice = self.refused(self.quota(self.granted(), self.granted(30)))
        self.assertEqual(twice, ["quotas[0].raises[1]: is there twice"])
        self.assertFalse(QuotaRaise.objects.exists())
        self.assertEqual(self.now.tzinfo, UTC)
