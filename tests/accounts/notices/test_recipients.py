"""Who is told of an event."""

from datetime import timedelta
from typing import Any

from django.test import TestCase, override_settings
from django.utils import timezone

from accounts import keys
from accounts.models import Notification, Team, User
from accounts.notices import events, expiring, outbox, sending
from accounts.notices.events import Event
from routing.models import RuntimeSettings
from tests.accounts.books import person, quota
from tests.accounts.notices.robots import Robots, channel

QUOTA = {"percent": 75, "used": "760", "limit": "1000", "resets_at": None}


@override_settings(MAIL_IS_SET_UP=True)
class Recipients(TestCase):
    def setUp(self) -> None:
        self.company = Team.objects.create(name="company")
        self.lead = User.objects.create(username="lead", email="lead@example.com")
        self.team = Team.objects.create(name="platform", parent=self.company, lead=self.lead)
        self.other = Team.objects.create(name="other")
        self.key, _secret = person("dev1", self.team)
        self.user = self.key.user
        self.user.email = "dev1@example.com"
        self.user.save()

    def told(self, kind: str = events.QUOTA_WARNING, **facts: Any) -> set[str]:
        """Return to whom an event goes."""
        outbox.tell([Event(kind, f"{kind}:{facts}", {**QUOTA, **facts})])
        sending.send_due(transport=Robots())
        rows = Notification.objects.select_related("channel")
        found = {row.recipient or (row.channel.name if row.channel else "") for row in rows} - {""}
        rows.delete()
        return found

    def test_owners_and_leads_get_what_is_theirs(self) -> None:
        cases = [(self.key, "dev1@example.com"), (self.user, "dev1@example.com"), (self.team, "lead@example.com")]
        for subject, address in cases:
            with self.subTest(subject=subject):
                row = quota(subject, "tokens", "month", 1000)
                self.assertEqual(self.told(quota_id=row.pk), {address})
        self.assertEqual(self.told(quota_id=quota(self.other, "tokens", "month", 1).pk), set())

    def test_the_lead_hears_of_a_service(self) -> None:
        service = User.objects.create(username="ci", team=self.team, is_service=True, email="ci@example.com")
        key, _secret = keys.issue(service, "ci")
        self.assertEqual(self.told(quota_id=quota(key, "tokens", "day", 1).pk), {"lead@example.com"})
        self.assertEqual(self.told(events.KEY_FLAGGED, key_id=key.pk, networks=6, hours=24), {"lead@example.com"})

    def test_nobody_is_mailed_who_is_inactive_or_has_no_address_or_when_it_is_switched_off(self) -> None:
        row = quota(self.user, "tokens", "month", 1000)
        for values in ({"email": ""}, {"email": "dev1@example.com", "is_active": False}):
            User.objects.filter(pk=self.user.pk).update(**values)
            self.assertEqual(self.told(quota_id=row.pk), set())
        User.objects.filter(pk=self.user.pk).update(is_active=True)
        self.assertEqual(self.told(quota_id=row.pk), {"dev1@example.com"})
        with override_settings(MAIL_IS_SET_UP=False):
            self.assertEqual(self.told(quota_id=row.pk), set())
        RuntimeSettings.objects.create(pk=1, mails_people=False)
        self.assertEqual(self.told(quota_id=row.pk), set())

    def test_a_channel_hears_of_its_team_and_those_below_and_of_what_it_asked_for(self) -> None:
        self.user.email = ""
        self.user.save()
        channel(name="all")
        channel(name="company", team=self.company)
        channel(name="platform", team=self.team)
        channel(name="other", team=self.other)
        channel(name="off", is_enabled=False)
        channel(name="flags", events=[events.KEY_FLAGGED])
        channel(name="expiry", events=[events.KEY_EXPIRING])
        row = quota(self.key, "tokens", "month", 1000)
        self.assertEqual(self.told(quota_id=row.pk), {"all", "company", "platform"})
        self.assertEqual(
            self.told(events.KEY_FLAGGED, key_id=self.key.pk, networks=6, hours=24),
            {"all", "company", "platform", "flags"},
        )
        self.assertEqual(
            self.told(events.KEY_EXPIRING, key_id=self.key.pk, days=7, expires_at="2026-12-01T00:00:00+00:00"),
            {"expiry"},
        )
        self.assertEqual(self.told(events.MONTHLY_EXPORT, month="2026-10", files=["a.csv"]), {"all"})

    def test_parents_that_form_a_ring_end_the_search(self) -> None:
        Team.objects.filter(pk=self.company.pk).update(parent=self.team)
        channel(name="company", team=self.company)
        row = quota(self.team, "tokens", "month", 1000)
        self.assertEqual(self.told(quota_id=row.pk), {"company", "lead@example.com"})

    def test_what_cannot_be_told_is_given_up_and_says_why(self) -> None:
        with self.assertLogs("accounts.notices.sending", "ERROR"):
            outbox.tell([Event(events.QUOTA_WARNING, "x", {"quota_id": 0})])
            sending.send_due(transport=Robots())
        row = Notification.objects.get()
        self.assertEqual(row.status, Notification.Status.FAILED)
        self.assertIn("DoesNotExist", row.error)


class Expiring(TestCase):
    def occasions(self) -> list[tuple[int, int]]:
        rows = Notification.objects.order_by("pk").values_list("content", flat=True)
        return [(content["key_id"], content["days"]) for content in rows]

    def test_a_key_is_told_a_week_before_and_a_day_before_once_each(self) -> None:
        now = timezone.now()
        key, _secret = person(expires_at=now + timedelta(days=30))
        for days, expected in ((31, []), (8, []), (7, [7]), (6.9, [7]), (1, [7, 1]), (0.5, [7, 1]), (-1, [7, 1])):
            expiring.tell_expiring(key_end(key) - timedelta(days=days))
            self.assertEqual([days for _key, days in self.occasions()], expected)

    def test_a_key_for_a_week_is_told_the_day_before_and_one_for_a_day_never(self) -> None:
        now = timezone.now()
        week, _secret = person(expires_at=now + timedelta(days=7))
        person(key_name="day", expires_at=now + timedelta(days=1))
        for hours in range(0, 24 * 7, 12):
            expiring.tell_expiring(now + timedelta(hours=hours))
        self.assertEqual(self.occasions(), [(week.pk, 1)])

    def test_keys_out_of_use_are_not_told(self) -> None:
        now = timezone.now()
        end = now + timedelta(days=60)
        revoked, _secret = person(expires_at=end)
        keys.revoke(revoked)
        left, _secret = person("left", expires_at=end)
        User.objects.filter(pk=left.user_id).update(is_active=False)
        expiring.tell_expiring(end - timedelta(days=3))
        self.assertEqual(self.occasions(), [])

    def test_looking_costs_two_queries_when_all_was_told(self) -> None:
        now = timezone.now()
        for number in range(5):
            person(f"dev{number}", expires_at=now + timedelta(days=30))
        expiring.tell_expiring(now + timedelta(days=25))
        with self.assertNumQueries(2):
            expiring.tell_expiring(now + timedelta(days=25, hours=1))
        self.assertEqual(Notification.objects.count(), 5)


def key_end(key: Any) -> Any:
    key.refresh_from_db()
    return key.expires_at
