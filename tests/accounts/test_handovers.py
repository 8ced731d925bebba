"""One-time links: shown once, to the first who opens them, and to nobody when their time or their key is over."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from accounts import handovers, keys
from accounts.audit_values import MASK
from accounts.models import ApiKey, AuditEntry, KeyHandover, User
from tests.accounts.books import person

HOUR = timedelta(hours=1)


class Links(TestCase):
    def setUp(self) -> None:
        self.key, self.secret = person()
        self.token = handovers.create(self.key, self.secret, None, HOUR)

    def row(self) -> KeyHandover:
        return KeyHandover.objects.get()

    def assert_over(self) -> None:
        with pytest.raises(handovers.Over) as raised:
            handovers.open_once(self.token, "10.0.0.1")
        self.assertIs(raised.type, handovers.Over)
        with pytest.raises(handovers.Over):
            handovers.find(self.token, timezone.now())

    def test_the_first_gets_the_secret_and_the_second_nothing(self) -> None:
        opened = handovers.open_once(self.token, "10.0.0.1")
        self.assertEqual((opened.secret, opened.key), (self.secret, self.key))
        row = self.row()
        self.assertEqual((row.encrypted_secret, row.opened_from), ("", "10.0.0.1"))
        self.assertLess(abs(row.opened_at - timezone.now()), timedelta(minutes=1))
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.object_type, entry.address), ("accounts.apikey", "10.0.0.1"))
        self.assert_over()

    def test_looking_does_not_open(self) -> None:
        handovers.find(self.token, timezone.now())
        self.assertEqual(handovers.open_once(self.token, "").secret, self.secret)

    def test_neither_token_nor_secret_is_stored_readably(self) -> None:
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                stored = str(cursor.fetchall())
                self.assertNotIn(self.secret, stored, table)
                self.assertNotIn(self.token, stored, table)

    def test_an_unknown_token_is_told_apart(self) -> None:
        for token in ("", "x", self.token + "x", "\ud800", self.row().token_digest):
            with pytest.raises(handovers.Unknown):
                handovers.open_once(token, "")
        self.assertEqual(handovers.open_once(self.token, "").secret, self.secret)

    def test_its_time_ends(self) -> None:
        KeyHandover.objects.update(expires_at=timezone.now())
        self.assert_over()

    def test_a_revoked_key_ends_it_for_good(self) -> None:
        keys.revoke(self.key)
        self.assertEqual(self.row().encrypted_secret, "")
        ApiKey.objects.update(is_active=True, revoked_at=None)
        self.assert_over()

    def test_another_secret_ends_it(self) -> None:
        keys.rotate(self.key, HOUR)
        self.assertEqual(self.row().encrypted_secret, "")
        self.assert_over()

    def test_a_secret_that_was_replaced_behind_its_back_is_not_shown(self) -> None:
        ApiKey.objects.update(digest="0" * 64)
        with pytest.raises(handovers.Over):
            handovers.open_once(self.token, "")

    def test_who_is_inactive_or_has_an_expired_key_gets_nothing(self) -> None:
        User.objects.update(is_active=False)
        self.assert_over()
        User.objects.update(is_active=True)
        ApiKey.objects.update(expires_at=timezone.now() - HOUR)
        self.assert_over()

    def test_with_another_encryption_key_it_fails_and_stays_closed(self) -> None:
        with (
            override_settings(ENCRYPTION_KEYS=["YW5vdGhlci1zZWNyZXQtb2YtMzItYnl0ZXMhISEhISE="]),
            self.assertLogs("accounts.handovers", "ERROR") as logs,
        ):
            self.assert_over_once()
        self.assertNotIn(self.token, "".join(logs.output))
        self.assertEqual(handovers.open_once(self.token, "").secret, self.secret)

    def assert_over_once(self) -> None:
        with pytest.raises(handovers.Over):
            handovers.open_once(self.token, "")

    def test_withdrawing_ends_what_nobody_opened(self) -> None:
        self.assertEqual(handovers.withdraw([self.row().pk]), 1)
        self.assertEqual(self.row().encrypted_secret, "")
        self.assert_over()
        self.assertEqual(handovers.withdraw([self.row().pk]), 0)

    def test_what_becomes_of_a_link_is_in_the_audit_log_without_its_secret(self) -> None:
        handovers.withdraw([self.row().pk])
        made, withdrawn = AuditEntry.objects.filter(object_type="accounts.keyhandover").order_by("pk")
        self.assertEqual((made.action, made.changes["token_digest"]), ("create", [None, MASK]))
        self.assertEqual((withdrawn.note, withdrawn.changes["encrypted_secret"]), ("Withdrawn.", [MASK, ""]))
        self.assertIn("expires_at", withdrawn.changes)
        for entry in (made, withdrawn):
            self.assertNotIn(self.secret, str(entry.changes))

    def test_a_link_that_another_secret_ends_is_in_the_audit_log(self) -> None:
        keys.rotate(self.key, timedelta())
        entry = AuditEntry.objects.filter(object_type="accounts.keyhandover", action="change").get()
        self.assertEqual(set(entry.changes), {"encrypted_secret", "expires_at"})

    def test_the_purge_erases_what_no_link_shows_any_more(self) -> None:
        other, secret = person("dev2")
        handovers.create(other, secret, None, HOUR)
        ApiKey.objects.filter(pk=other.pk).update(is_active=False)
        now = timezone.now()
        self.assertEqual(handovers.purge(now), 1)
        self.assertEqual(handovers.purge(now), 0)
        self.assertNotEqual(KeyHandover.objects.get(key=self.key).encrypted_secret, "")
        self.assertEqual(handovers.purge(now + 2 * HOUR), 1)
        self.assertEqual(set(KeyHandover.objects.values_list("encrypted_secret", flat=True)), {""})

    def test_a_lifetime_that_is_none_makes_no_link(self) -> None:
        for lifetime in (timedelta(0), -HOUR, timedelta(days=31)):
            with pytest.raises(ValueError, match="lives up to 30 days"):
                handovers.create(self.key, self.secret, None, lifetime)
        self.assertEqual(KeyHandover.objects.count(), 1)

    def test_many_links_cost_few_statements(self) -> None:
        people = User.objects.bulk_create(User(username=f"user{number}") for number in range(600))
        issued = keys.issue_all(people, "cc")
        with CaptureQueriesContext(connection) as context:
            made = handovers.create_all(issued, None)
        # Of 600 links, in batches.
        self.assertLess(len(context), 15)
        self.assertEqual(len({token for _key, token in made}), 600)
        self.assertEqual(handovers.open_once(made[7][1], "").secret, issued[7][1])


class Together(TransactionTestCase):
    def test_of_many_who_open_it_at_once_one_gets_the_secret(self) -> None:
        key, secret = person()
        token = handovers.create(key, secret, None, HOUR)
        got: list[str] = []
        start = threading.Barrier(8)

        def open_it() -> None:
            start.wait()
            try:
                got.append(handovers.open_once(token, "10.0.0.1").secret)
            except handovers.Over:
                got.append("")
            finally:
                connection.close()

        threads = [threading.Thread(target=open_it) for _number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(got), [""] * 7 + [secret])
