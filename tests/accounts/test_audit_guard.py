"""The audit log cannot be edited, not even past the models."""

from django.db import DatabaseError, connection, transaction
from django.test import TestCase

from accounts.models import AuditEntry
from tests.conftest import AUDIT_GUARD


class Guard(TestCase):
    def setUp(self) -> None:
        with connection.cursor() as cursor:
            for statement in AUDIT_GUARD.GUARD[connection.vendor]:
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

    def test_the_table_cannot_be_emptied_nor_an_entry_replaced(self) -> None:
        replacing = {
            "sqlite": "INSERT OR REPLACE INTO accounts_auditentry SELECT * FROM accounts_auditentry",
            "postgresql": "TRUNCATE accounts_auditentry",
        }
        connection.check_constraints()  # PostgreSQL empties no table of which a constraint is still to be checked
        with (
            self.assertRaisesMessage(DatabaseError, "never changed"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(replacing[connection.vendor])

    def test_a_row_cannot_be_saved_again_or_deleted(self) -> None:
        with self.assertRaises(TypeError):
            self.entry.save()
        with self.assertRaises(TypeError):
            self.entry.delete()
