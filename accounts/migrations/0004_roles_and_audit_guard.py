from django.db import migrations

ROLES = ("administrator", "team_lead", "finance", "member")

# An entry of the audit log is written once. SQLite's INSERT OR REPLACE deletes without firing a trigger of deletions.
GUARD = {
    "postgresql": (
        """
        CREATE FUNCTION accounts_auditentry_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'an entry of the audit log is never changed or deleted'; END $$
        """,
        """
        CREATE TRIGGER accounts_auditentry_guard BEFORE UPDATE OR DELETE ON accounts_auditentry
        FOR EACH ROW EXECUTE FUNCTION accounts_auditentry_refuse()
        """,
        """
        CREATE TRIGGER accounts_auditentry_keep BEFORE TRUNCATE ON accounts_auditentry
        FOR EACH STATEMENT EXECUTE FUNCTION accounts_auditentry_refuse()
        """,
    ),
    "sqlite": tuple(
        f"""
        CREATE TRIGGER accounts_auditentry_no_{name} BEFORE {event} ON accounts_auditentry {condition}
        BEGIN SELECT RAISE(ABORT, 'an entry of the audit log is never changed or deleted'); END
        """
        for name, event, condition in (
            ("update", "UPDATE", ""),
            ("delete", "DELETE", ""),
            ("replace", "INSERT", "WHEN EXISTS (SELECT 1 FROM accounts_auditentry WHERE id = NEW.id)"),
        )
    ),
}
UNGUARD = {
    "postgresql": (
        "DROP TRIGGER IF EXISTS accounts_auditentry_keep ON accounts_auditentry",
        "DROP TRIGGER IF EXISTS accounts_auditentry_guard ON accounts_auditentry",
        "DROP FUNCTION IF EXISTS accounts_auditentry_refuse()",
    ),
    "sqlite": tuple(f"DROP TRIGGER IF EXISTS accounts_auditentry_no_{event}" for event in ("update", "delete", "replace")),
}


def guard(_apps, schema_editor):
    for statement in GUARD.get(schema_editor.connection.vendor, ()):
        schema_editor.execute(statement)


def unguard(_apps, schema_editor):
    for statement in UNGUARD.get(schema_editor.connection.vendor, ()):
        schema_editor.execute(statement)


def make_groups(apps, _schema_editor):
    group = apps.get_model("auth", "Group")
    for name in ROLES:
        group.objects.get_or_create(name=name)


class Migration(migrations.Migration):
    """The groups of the roles, whose permissions follow accounts/roles.py, and the guard of the audit log."""

    dependencies = [
        ("accounts", "0003_books_and_audit"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        # Going back leaves the groups: people may be in them.
        migrations.RunPython(make_groups, migrations.RunPython.noop),
        migrations.RunPython(guard, unguard),
    ]
