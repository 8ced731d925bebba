from django.db import migrations, models
from django.db.models import F, Q


class AddIndexWithoutLock(migrations.AddIndex):
    """Add an index while calls go on: concurrently on PostgreSQL, where a build would else hold up every settle.

    Within a transaction (tests that go back and forth) PostgreSQL cannot; there it is added as usual.
    """

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if not _is_concurrent(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.add_index(model, self.index, concurrently=True)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        if not _is_concurrent(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.remove_index(model, self.index, concurrently=True)


def _is_concurrent(schema_editor):
    connection = schema_editor.connection
    return connection.vendor == "postgresql" and not connection.in_atomic_block


class Migration(migrations.Migration):
    """Find the failed, cancelled, fallback and estimated calls among millions."""

    atomic = False

    dependencies = [("accounts", "0005_rebuild_daily_usage")]

    operations = [
        AddIndexWithoutLock(
            "callrecord",
            models.Index(
                F("started_at").desc(),
                condition=Q(status__in=("failed", "cancelled", "lost"))
                | Q(fallbacks__gt=0)
                | Q(usage_is_estimated=True),
                name="accounts_call_particular",
            ),
        ),
    ]
