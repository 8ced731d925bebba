"""What is written into the audit log when rows are saved, deleted, related and written in bulk."""

from decimal import Decimal
from typing import Any
from unittest import skipIf

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from accounts import audit, keys
from accounts.audit_signals import AUDITED
from accounts.audit_values import MASK, MAX_LENGTH, bounded
from accounts.key_limits import set_minute_limits
from accounts.models import ApiKey, AuditEntry, Quota, Team, User
from providers.models import Credential, Model, Price, Provider
from routing.models import Policy, Route, Scene
from tests.admin.rows import make_key

# What the gateway writes by itself, and rows of another row that is written down.
UNAUDITED = {
    *("providers.configversion", "routing.stickysession", "routing.targethealth", "routing.trainedscorer"),
    *("accounts.callrecord", "accounts.attempt", "accounts.usagedaily", "accounts.worker", "accounts.quotawindow"),
    *("accounts.keynetwork", "accounts.auditentry", "accounts.monthlyexport", "accounts.notification"),
    *("accounts.invoiceline", "gateway.capture"),
}


class AuditCase(TestCase):
    """Entries from here on; `anna` acts."""

    def setUp(self) -> None:
        self.anna = User.objects.create(username="anna")
        actor = audit.Actor("anna", AuditEntry.Via.ADMIN, self.anna, "192.0.2.1")
        self.enterContext(audit.acting(actor))
        self.begin()

    def begin(self) -> None:
        """Forget what was written so far."""
        last = AuditEntry.objects.order_by("pk").last()
        self._seen = last.pk if last is not None else 0

    def entries(self, **filters: Any) -> list[AuditEntry]:
        """Return what was written since, oldest first."""
        return list(AuditEntry.objects.filter(pk__gt=self._seen, **filters).order_by("pk"))

    def entry(self, **filters: Any) -> AuditEntry:
        """Return the one entry that was written since."""
        [entry] = self.entries(**filters)
        return entry


class WhichModels(TestCase):
    def test_of_each_model_it_is_decided_whether_it_is_written_down(self) -> None:
        ours = {
            model._meta.label_lower
            for label in ("providers", "routing", "accounts", "gateway")
            for model in apps.get_app_config(label).get_models()
        }
        audited = {model._meta.label_lower for model in AUDITED}
        self.assertEqual(audited & UNAUDITED, set())
        self.assertEqual(audited | UNAUDITED, ours | {"auth.group"})


class Saving(AuditCase):
    def test_a_new_row_is_written_down_with_what_it_has(self) -> None:
        team = Team.objects.create(name="platform", cost_center="4711")
        entry = self.entry()
        self.assertEqual((entry.action, entry.object_type), ("create", "accounts.team"))
        self.assertEqual((entry.object_id, entry.object_name), (str(team.pk), "platform"))
        self.assertEqual(entry.changes["cost_center"], [None, "4711"])
        self.assertNotIn("parent", entry.changes)
        self.assertNotIn("created_at", entry.changes)

    def test_the_entry_says_who_by_which_way_and_from_where(self) -> None:
        Team.objects.create(name="platform")
        entry = self.entry()
        self.assertEqual(
            (entry.actor, entry.actor_name, entry.via, entry.address), (self.anna, "anna", "admin", "192.0.2.1")
        )

    def test_a_change_is_written_down_with_what_differs_alone(self) -> None:
        team = Team.objects.create(name="platform", cost_center="1")
        self.begin()
        team.cost_center = "2"
        team.save()
        self.assertEqual(self.entry().changes, {"cost_center": ["1", "2"]})

    def test_a_save_that_changes_nothing_writes_nothing(self) -> None:
        team = Team.objects.create(name="platform")
        quota = Quota.objects.create(team=team, unit="cost", window="month", limit=Decimal("5"))
        self.begin()
        team.save()
        # As a form gives it, not as the database does.
        quota.limit = Decimal("5.000000")
        quota.save()
        self.assertEqual(self.entries(), [])

    def test_a_save_of_some_fields_compares_those_alone(self) -> None:
        team = Team.objects.create(name="platform", cost_center="1")
        self.begin()
        team.name, team.cost_center = "other", "2"
        team.save(update_fields=["cost_center"])
        self.assertEqual(self.entry().changes, {"cost_center": ["1", "2"]})

    def test_a_save_of_fields_that_nobody_watches_asks_nothing(self) -> None:
        self.anna.last_login = timezone.now()
        with self.assertNumQueries(1):
            self.anna.save(update_fields=["last_login"])
        self.assertEqual(self.entries(), [])

    def test_a_save_of_an_expression_is_read_back(self) -> None:
        quota = Quota.objects.create(user=self.anna, unit="tokens", window="day", limit=Decimal(5))
        self.begin()
        quota.limit = F("limit") + 1  # type: ignore[assignment]
        quota.save(update_fields=["limit"])
        self.assertEqual(self.entry().changes, {"limit": ["5", "6"]})

    def test_a_relation_is_written_with_name_and_id(self) -> None:
        one, other = Team.objects.create(name="one"), Team.objects.create(name="other")
        self.anna.team = one
        self.anna.save()
        self.begin()
        self.anna.team = other
        self.anna.save()
        self.assertEqual(self.entry().changes, {"team": [f"one ({one.pk})", f"other ({other.pk})"]})

    def test_a_deleted_row_and_what_goes_with_it_are_written_down(self) -> None:
        provider = Provider.objects.create(name="main", kind="ollama")
        model = Model.objects.create(provider=provider, model_id="big")
        Price.objects.create(model=model, currency="USD", input_per_million=1, output_per_million=2)
        self.begin()
        provider.delete()
        found = {entry.object_type: entry for entry in self.entries(action="delete")}
        self.assertEqual(set(found), {"providers.provider", "providers.model", "providers.price"})
        self.assertEqual(found["providers.model"].changes["model_id"], ["big", None])

    def test_a_relation_that_a_deletion_empties_is_a_change_of_the_other_row(self) -> None:
        route = Route.objects.create(name="everyday")
        shadow = Policy.objects.create(name="shadow", route=route)
        Policy.objects.create(name="main", route=route, shadow=shadow)
        self.begin()
        pk = shadow.pk
        shadow.delete()
        changed, deleted = self.entries()
        self.assertEqual((changed.object_name, changed.changes), ("main", {"shadow": [f"shadow ({pk})", None]}))
        self.assertEqual((deleted.object_name, deleted.action), ("shadow", "delete"))

    def test_without_anybody_the_gateway_itself_is_written_down(self) -> None:
        with audit.acting(audit._NOBODY):
            Team.objects.create(name="platform")
        entry = self.entry()
        self.assertEqual((entry.actor, entry.actor_name, entry.via), (None, "Wolfgate", "system"))

    def test_a_password_changes_without_its_hash(self) -> None:
        self.anna.set_password("correct horse battery")
        self.anna.save()
        entry = self.entry()
        self.assertEqual((entry.changes, entry.note), ({"password": ["", MASK]}, ""))

    def test_a_long_list_says_what_came_and_went(self) -> None:
        many = [f"example number {number}" for number in range(500)]
        scene = Scene.objects.create(
            name="code", description="writing code", examples=many, route=Route.objects.create(name="r")
        )
        self.begin()
        scene.examples = [*many[1:], "a new one"]
        scene.save()
        before, after = self.entry().changes["examples"]
        note = "… 499 others, the same before and after"
        self.assertEqual((before, after), (["example number 0", note], ["a new one", note]))

    def test_values_are_cut_where_they_are_long(self) -> None:
        text = "x" * 10_000
        for value in (text, [text] * 50, {"a": text}, ["short"] * 5000):
            with self.subTest(kind=type(value).__name__):
                _before, after = bounded(None, value)
                self.assertLess(len(str(after)), MAX_LENGTH + 100)
                self.assertIn("more", str(after))


class Relations(AuditCase):
    def setUp(self) -> None:
        super().setUp()
        route = Route.objects.create(name="everyday")
        self.scenes = [
            Scene.objects.create(name=name, description="a scene of it", route=route) for name in ("aa", "bb", "cc")
        ]
        self.policy = Policy.objects.create(name="smart", route=route)
        self.policy.scenes.set(self.scenes[:2])
        self.begin()

    def test_both_lists_are_written_down(self) -> None:
        self.policy.scenes.add(self.scenes[2])
        entry = self.entry()
        self.assertEqual((entry.object_type, entry.action), ("routing.policy", "change"))
        self.assertEqual(entry.changes, {"scenes": [["aa", "bb"], ["aa", "bb", "cc"]]})

    def test_the_same_again_is_no_change(self) -> None:
        self.policy.scenes.set(self.scenes[:2])
        self.policy.scenes.add(self.scenes[0])
        self.assertEqual(self.entries(), [])

    def test_from_the_other_side_it_is_an_entry_of_the_row_that_has_the_list(self) -> None:
        self.scenes[2].policies.add(self.policy)
        self.assertEqual(self.entry().object_name, "smart")
        self.begin()
        self.scenes[2].policies.clear()
        self.assertEqual(self.entry().changes, {"scenes": [["aa", "bb", "cc"], ["aa", "bb"]]})

    def test_a_replaced_list_and_other_changes_are_one_entry_when_done_together(self) -> None:
        with audit.together():
            self.policy.min_confidence = 0.9
            self.policy.save()
            self.policy.scenes.set(self.scenes[1:])
        changes = {"min_confidence": [0.6, 0.9], "scenes": [["aa", "bb"], ["bb", "cc"]]}
        self.assertEqual(self.entry().changes, changes)

    def test_what_is_taken_back_together_is_no_change(self) -> None:
        with audit.together():
            self.policy.scenes.clear()
            self.policy.scenes.set(self.scenes[:2])
        self.assertEqual(self.entries(), [])

    def test_a_new_row_with_its_lists_is_one_entry(self) -> None:
        with audit.together():
            group = Group.objects.create(name="readers")
            self.anna.groups.add(group)
            policy = Policy.objects.create(name="other", route=self.policy.route)
            policy.scenes.set(self.scenes)
        self.assertEqual(
            [(entry.object_type, entry.action) for entry in self.entries()],
            [("auth.group", "create"), ("accounts.user", "change"), ("routing.policy", "create")],
        )
        self.assertEqual(self.entries()[2].changes["scenes"], [[], ["aa", "bb", "cc"]])


class InBulk(AuditCase):
    def test_an_update_writes_an_entry_for_each_row_that_it_changes(self) -> None:
        Team.objects.create(name="a", cost_center="1")
        Team.objects.create(name="b", cost_center="2")
        self.begin()
        rows = audit.update(Team.objects.order_by("pk"), "moved", cost_center="2")
        self.assertEqual([row.cost_center for row in rows], ["1", "2"])
        entry = self.entry()
        self.assertEqual((entry.object_name, entry.changes, entry.note), ("a", {"cost_center": ["1", "2"]}, "moved"))

    def test_many_rows_take_no_more_queries_than_few(self) -> None:
        for number in range(3):
            make_key(self.anna, f"key{number}")
        self.begin()
        for name in ("key0", "key"):
            # A savepoint and its end; the rows, their values before, the update, the values after, the names, the entries.
            with self.assertNumQueries(8):
                audit.update(ApiKey.objects.filter(name__startswith=name), max_concurrency=len(name))
        self.assertEqual(
            [entry.object_name for entry in self.entries()], ["anna/key0", *(f"anna/key{n}" for n in range(3))]
        )

    def test_keys_issued_together_and_rotated_are_written_down_one_by_one(self) -> None:
        people = [self.anna, User.objects.create(username="bert")]
        self.begin()
        issued = keys.issue_all(people, "ci")
        self.assertEqual([entry.object_name for entry in self.entries(action="create")], ["anna/ci", "bert/ci"])
        self.begin()
        keys.rotate_all({key.pk: None for key, _secret in issued}, timezone.timedelta(hours=1))
        entries = self.entries(object_type="accounts.apikey", action="change")
        self.assertEqual(len(entries), 2)
        self.assertEqual(entries[0].changes["digest"], [MASK, MASK])
        self.assertEqual(entries[0].changes["prefix"][0], issued[0][0].prefix)

    def test_the_limits_of_a_key_are_quotas_and_written_down(self) -> None:
        key = make_key(self.anna, "laptop")
        self.begin()
        set_minute_limits([key], {"requests": 10})
        self.assertEqual(self.entry().changes["limit"], [None, "10"])
        self.begin()
        set_minute_limits([key], {"requests": 20})
        self.assertEqual(self.entry().changes, {"limit": ["10", "20"]})

    def test_a_revoked_key_and_a_cleared_flag_are_written_down(self) -> None:
        key = make_key(self.anna, "laptop")
        ApiKey.objects.update(flagged_at=timezone.now(), flag_reason="seen")
        self.begin()
        keys.clear_flag(key)
        self.assertEqual(self.entry().changes["flag_reason"], ["seen", ""])
        self.begin()
        keys.revoke(key)
        self.assertEqual(self.entry().changes["is_active"], [True, False])


class Together(AuditCase):
    def test_the_entries_go_with_the_change(self) -> None:
        with self.assertRaises(IntegrityError), transaction.atomic():
            Team.objects.create(name="platform")
            Team.objects.create(name="platform")
        self.assertEqual(self.entries(), [])
        with self.assertRaises(IntegrityError), audit.together():
            Team.objects.create(name="platform")
            Team.objects.create(name="platform")
        self.assertEqual(self.entries(), [])

    def test_a_secret_changed_twice_stays_in_the_entry(self) -> None:
        provider = Provider.objects.create(name="main", kind="ollama")
        credential = Credential(provider=provider)
        credential.set_secret("sk-first-0123456789")
        credential.save()
        self.begin()
        with audit.together():
            for secret in ("sk-second-0123456789", "sk-third-0123456789"):
                credential.set_secret(secret)
                credential.save()
        self.assertEqual(self.entry().changes, {"encrypted_secret": [MASK, MASK]})


class OwnTransaction(TransactionTestCase):
    """Where no transaction is open, Django commits a row before it sends the signal."""

    def test_a_row_whose_entry_cannot_be_written_is_not_saved(self) -> None:
        def refuse(**_kwargs: Any) -> None:
            raise RuntimeError("no entry")

        post_save.connect(refuse, sender=AuditEntry)
        self.addCleanup(post_save.disconnect, refuse, sender=AuditEntry)
        for make in (
            lambda: Team.objects.create(name="platform"),
            lambda: User.objects.create(username="anna"),
            lambda: Provider.objects.create(name="main", kind="ollama"),
            lambda: Route.objects.create(name="everyday"),
        ):
            with self.assertRaisesMessage(RuntimeError, "no entry"):
                make()
        for model in (Team, User, Provider, Route, AuditEntry):
            self.assertFalse(model._default_manager.exists(), model)

    def test_an_update_whose_entry_cannot_be_written_is_none(self) -> None:
        team = Team.objects.create(name="platform")
        with self.assertRaises(RuntimeError), audit.acting(_Broken()):  # type: ignore[arg-type]
            audit.update(Team.objects.all(), name="other")
        team.refresh_from_db()
        self.assertEqual(team.name, "platform")


class _Broken:
    """An actor that cannot be written down."""

    @property
    def user(self) -> None:
        raise RuntimeError("no actor")


@skipIf(connection.vendor != "postgresql", "locks of rows are PostgreSQL's")
class Locks(AuditCase):
    def test_a_selection_that_is_counted_can_be_updated(self) -> None:
        from django.db.models import Count

        Team.objects.create(name="platform")
        audit.update(Team.objects.annotate(count=Count("members")), cost_center="1")
        self.assertEqual(Team.objects.get().cost_center, "1")
