"""Rotation: a new secret, the former one for a while, and nothing else changed."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys, ledger_sql
from accounts.errors import KeyInvalid
from accounts.models import ApiKey, CallRecord, QuotaWindow
from tests.accounts.books import admit, person, quota

HOUR = timedelta(hours=1)


class Rotating(TestCase):
    def setUp(self) -> None:
        self.now = timezone.now()
        self.key, self.first = person()

    def test_both_secrets_work_until_the_grace_period_ends(self) -> None:
        second = keys.rotate(self.key, HOUR)
        self.assertRegex(second, r"\Awg_[A-Za-z0-9_-]{43}\Z")
        self.assertEqual(admit(second, now=self.now).key_id, admit(self.first, now=self.now).key_id)
        late = self.now + 2 * HOUR
        admit(second, now=late)
        with pytest.raises(KeyInvalid, match=r"laptop was given a new secret"):
            admit(self.first, now=late)
        self.assertEqual(CallRecord.objects.filter(key=self.key).count(), 3)

    def test_without_grace_the_former_secret_ends_at_once(self) -> None:
        second = keys.rotate(self.key, timedelta(0))
        with pytest.raises(KeyInvalid, match="new secret"):
            admit(self.first, now=timezone.now())
        admit(second, now=timezone.now())

    def test_the_window_of_a_quota_goes_on(self) -> None:
        quota(self.key, "requests", "day", 3)
        admit(self.first, now=self.now)
        second = keys.rotate(self.key, HOUR)
        admit(second, now=self.now)
        admit(self.first, now=self.now)
        self.assertEqual(QuotaWindow.objects.get().reserved, 3)

    def test_rotating_twice_ends_the_older_secret(self) -> None:
        second = keys.rotate(self.key, HOUR)
        third = keys.rotate(self.key, HOUR)
        for secret in (second, third):
            admit(secret, now=self.now)
        with pytest.raises(KeyInvalid, match="unknown"):
            admit(self.first, now=self.now)

    def test_revoking_ends_both_and_activating_brings_one_back(self) -> None:
        second = keys.rotate(self.key, HOUR)
        keys.revoke(ApiKey.objects.get())
        for secret in (self.first, second):
            with pytest.raises(KeyInvalid, match="revoked"):
                admit(secret, now=timezone.now())
        ApiKey.objects.update(is_active=True, revoked_at=None)
        admit(second, now=timezone.now())
        with pytest.raises(KeyInvalid, match="new secret"):
            admit(self.first, now=timezone.now())

    def test_a_key_that_would_not_work_is_not_rotated(self) -> None:
        ApiKey.objects.update(expires_at=self.now - HOUR)
        with pytest.raises(ValidationError, match="expired; extend"):
            keys.rotate(self.key, HOUR)
        keys.revoke(self.key)
        with pytest.raises(ValidationError, match="revoked; activate"):
            keys.rotate(self.key, HOUR)
        self.assertEqual(ApiKey.objects.get().digest, keys.digest(self.first))

    def test_a_secret_is_replaced_once(self) -> None:
        shown = self.key.prefix
        second = keys.rotate(self.key, timedelta(0), instead_of=shown)
        with pytest.raises(ValidationError, match="meanwhile"):
            keys.rotate(ApiKey.objects.get(), timedelta(0), instead_of=shown)
        admit(second, now=self.now)

    def test_neither_secret_is_stored_nor_given_to_another_key(self) -> None:
        second = keys.rotate(self.key, HOUR)
        stored = str(list(ApiKey.objects.values_list()))
        self.assertNotIn(self.first, stored)
        self.assertNotIn(second, stored)
        for secret in (self.first, second):
            with self.assertRaises(ValidationError):
                keys.issue(self.key.user, "desktop", secret=secret)

    def test_the_look_up_is_one_statement_by_two_indexes(self) -> None:
        keys.rotate(self.key, HOUR)
        with CaptureQueriesContext(connection) as context:
            found = ledger_sql.keys_by_digest({keys.digest(self.first), "0" * 64})
        self.assertEqual(len(context), 1)
        self.assertEqual([row.id for row in found.values()], [self.key.pk, self.key.pk])
        # A planner that sees a handful of rows reads them all.
        rows = [ApiKey(user=self.key.user, name=f"k{number}", digest=f"{number:064}") for number in range(3000)]
        ApiKey.objects.bulk_create(rows)
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE accounts_apikey")
            cursor.execute(f"{explain} {context[0]['sql']}")
            plan = " / ".join(str(row[-1]) for row in cursor.fetchall())
        self.assertIn("accounts_apikey_unique_previous", plan)
        self.assertNotRegex(plan, r"SCAN k\b|Seq Scan on accounts_apikey")
