"""The audit log cannot be edited, not even past the models."""

import importlib

from django.db import DatabaseError, connection, transaction
from django.test import TestCase

from accounts.models import AuditEntry

_migration = importlib.import_module("accounts.migrations.0004_roles_and_audit_guard")


class Guard(TestCase):
    def setUp(self) -> None:
        if connection.vendor == "sqlite":  # see tests/conftest.py
            with connection.cursor() as cursor:
                for statement in _migration.GUARD["sqlite"]:
                    cursor.execute(statement)
        self.entry = AuditEntry.objects.create(actor_name="anna", via="admin", action="change", object_type="a.b")

    def test_a_query_cannot_change_an_entry(self) -> None:
        with self.assertRaisesMessage(DatabaseError, "never changed"), transaction.atomic():
            AuditEntry.objects.update(actor_name="bert")
        self.assertEqual(AuditEntry.objects.get(pk=self.entry.pk).actor_name, "anna")

    def test_a_query_cannot_delete_an_entry(self) -> None:
        with self.assertRaisesMessage(DatabaseError, "never changed"), transaction.atomic():
            AuditEntry.objects.all()._raw_delete("default")
        self.assertTrue(AuditEntry.objects.filter(pk=self.entry.pk).exists())

    def test_a_row_cannot_be_saved_again_or_deleted(self) -> None:
        with self.assertRaises(TypeError):
            self.entry.save()
        with self.assertRaises(TypeError):
            self.entry.delete()
