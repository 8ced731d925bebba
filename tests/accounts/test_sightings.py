"""Keys that are used from many networks are flagged, and finding that out costs next to nothing."""

from datetime import datetime, timedelta

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from accounts import keys, sightings
from accounts.ledger import admit_batch
from accounts.models import ApiKey, KeyNetwork
from tests.accounts.books import NOW, admission, admit, person, snapshot

HOUR = timedelta(hours=1)


class Sightings(TestCase):
    def setUp(self) -> None:
        sightings.forget()
        self.addCleanup(sightings.forget)
        self.key, self.secret = person()

    def use(self, *addresses: str, now: datetime = NOW) -> int:
        """Admit a call from each address in one committed batch; return the number of statements."""
        items = [admission(self.secret, client_address=address) for address in addresses]
        with CaptureQueriesContext(connection) as context, self.captureOnCommitCallbacks(execute=True):
            admit_batch(items, snapshot(), now)
        return len(context)

    def flagged(self) -> bool:
        self.key.refresh_from_db()
        return self.key.flagged_at is not None

    def test_what_was_seen_within_the_hour_costs_no_statement(self) -> None:
        first = self.use("203.0.113.9", "203.0.113.10", "2001:db8:1::1")
        again = self.use("203.0.113.77", "2001:db8:1:2::3", now=NOW + HOUR / 2)
        self.assertEqual(first - again, 2)  # the rows, and the count of them
        seen = KeyNetwork.objects.order_by("network")
        self.assertEqual([row.network for row in seen], ["2001:db8:1::/48", "203.0.113.0/24"])
        self.assertEqual({row.last_seen_at for row in seen}, {NOW})
        self.use("203.0.113.1", now=NOW + HOUR)
        row = KeyNetwork.objects.get(network="203.0.113.0/24")
        self.assertEqual((row.first_seen_at, row.last_seen_at), (NOW, NOW + HOUR))

    def test_more_than_five_networks_in_a_day_flag_the_key_and_calls_go_on(self) -> None:
        self.use(*(f"10.0.{number}.1" for number in range(5)))
        self.assertFalse(self.flagged())
        self.use("10.0.5.1", now=NOW + 23 * HOUR)
        self.assertTrue(self.flagged())
        self.assertEqual(self.key.flag_reason, "used from 6 networks within 24 hours")
        admit(self.secret, client_address="10.0.6.1", now=NOW + 23 * HOUR)
        self.key.refresh_from_db()
        self.assertEqual(self.key.flagged_at, NOW + 23 * HOUR)

    def test_the_networks_of_other_days_and_other_keys_do_not_count(self) -> None:
        for number in range(8):
            self.use(f"10.0.{number}.1", now=NOW + number * 6 * HOUR)
        _other, secret = person("dev2")
        for number in range(5):
            admit(secret, client_address=f"10.1.{number}.1")
        self.assertFalse(ApiKey.objects.filter(flagged_at__isnull=False).exists())

    def test_lists_count_and_calls_without_an_address_do_not(self) -> None:
        admit(self.secret, books=False, client_address="10.0.0.1")
        admit(self.secret)
        self.assertEqual(KeyNetwork.objects.count(), 1)

    def test_a_batch_that_was_not_committed_is_written_again(self) -> None:
        admit(self.secret, client_address="10.0.0.1")  # within the test's transaction: never committed
        KeyNetwork.objects.all().delete()
        self.use("10.0.0.1")
        self.assertEqual(KeyNetwork.objects.count(), 1)

    def test_a_cleared_flag_comes_back_only_for_as_many_networks_again(self) -> None:
        self.use(*(f"10.0.{number}.1" for number in range(6)))
        self.assertTrue(self.flagged())
        self.assertIn("10.0.3.0/24", keys.clear_flag(self.key))
        self.use(*(f"10.1.{number}.1" for number in range(5)))
        self.assertFalse(self.flagged())
        self.use("10.1.5.1")
        self.assertTrue(self.flagged())

    def test_the_memory_is_bounded(self) -> None:
        limit, sightings._MAX_REMEMBERED = sightings._MAX_REMEMBERED, 3
        self.addCleanup(setattr, sightings, "_MAX_REMEMBERED", limit)
        for number in range(10):
            self.use(f"10.0.{number}.1")
            self.assertLessEqual(len(sightings._seen), 3)

    def test_the_purge_forgets_what_is_old_and_no_flag_changes(self) -> None:
        self.use(*(f"10.0.{number}.1" for number in range(6)))
        self.use("10.1.0.1", now=NOW + 24 * HOUR * 80)
        self.assertTrue(self.flagged())
        self.assertEqual(sightings.purge(NOW + sightings.KEEP), 0)
        self.assertEqual(sightings.purge(NOW + sightings.KEEP + HOUR), 6)
        self.assertEqual(KeyNetwork.objects.get().network, "10.1.0.0/24")
        self.assertTrue(self.flagged())
        self.assertGreater(sightings.KEEP, 10 * sightings.WITHIN)
        # One that comes back is seen for the first time again.
        sightings.forget()
        self.use("10.0.3.1", now=NOW + sightings.KEEP + 2 * HOUR)
        self.assertEqual(KeyNetwork.objects.count(), 2)
