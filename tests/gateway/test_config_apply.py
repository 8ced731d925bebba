"""Applying configuration files: what is written, what is printed, what is left alone."""

import json
import os
import stat
from datetime import UTC, datetime
from decimal import Decimal
from unittest import mock

from accounts import keys
from accounts.models import ApiKey, Quota, Team, User
from providers import config_version
from providers.models import Credential, Model, Price, Provider
from routing.models import ModelAlias, Policy, Route, RuntimeSettings, Scene
from tests.gateway.config_files import FULL, SECRETS, ConfigCase, provider


class FullFileTest(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.printed = self.apply(FULL)

    def test_every_section_is_written(self) -> None:
        main = Provider.objects.get(name="main")
        self.assertEqual((main.first_event_timeout_s, main.flags), (60, {"vision": True}))
        self.assertEqual([row.secret() for row in main.credentials.all()], list(SECRETS[:2]))
        small = Price.objects.get(model__model_id="small")
        self.assertEqual((small.input_per_million, small.output_per_million), (Decimal("0.1"), Decimal("0.000002")))
        self.assertEqual(small.source, "config")
        everyday = Route.objects.get(name="everyday")
        self.assertEqual([str(entry) for entry in everyday.entries.all()], ["main/big", "main/qwen/qwen3:free"])
        cheap = Route.objects.get(name="cheap")
        self.assertEqual(
            [(str(entry), entry.weight) for entry in cheap.entries.all()], [("main/small", 3), ("main/big", 1)]
        )
        self.assertEqual([alias.pattern for alias in ModelAlias.objects.all()], ["claude-haiku-*", "anything"])
        self.assertEqual([scene.name for scene in Scene.objects.all()], ["code", "chat"])
        policy = Policy.objects.get(is_default=True)
        self.assertEqual(str(policy.reference_model), "main/big")
        self.assertEqual(policy.scenes.count(), 2)
        platform = Team.objects.get(name="platform")
        self.assertEqual((str(platform.lead), str(platform.parent)), ("dev1", "company"))
        key = ApiKey.objects.get(user__username="dev1", name="laptop")
        self.assertEqual(key.digest, keys.digest("wg_laptop0123456789abcdef"))
        self.assertEqual(key.expires_at, datetime(2026, 12, 31, 16, tzinfo=UTC))
        self.assertEqual(Quota.objects.count(), 3)
        self.assertEqual(RuntimeSettings.load().business_time_zone, "Asia/Shanghai")

    def test_roles_become_groups_and_open_the_admin_site(self) -> None:
        dev1, boss = User.objects.get(username="dev1"), User.objects.get(username="boss")
        self.assertEqual({group.name for group in dev1.groups.all()}, {"member", "team_lead"})
        self.assertEqual((dev1.is_staff, dev1.is_superuser, dev1.has_usable_password()), (True, False, False))
        self.assertEqual((boss.is_staff, boss.is_superuser), (True, True))

    def test_the_diff_names_new_rows_and_never_a_secret(self) -> None:
        for line in ("+ provider main", "+ credential main/spare", "+ model main/qwen/qwen3:free", "+ key dev1/laptop"):
            self.assertIn(line, self.printed)
        self.assertFalse([secret for secret in SECRETS if secret in "\n".join(self.printed)])

    def test_the_second_run_changes_nothing(self) -> None:
        version = config_version.current()
        self.assertEqual(self.apply(FULL), ["No changes."])
        self.assertEqual(self.apply(FULL, "--prune"), ["No changes."])
        self.assertEqual(config_version.current(), version)
        self.assertEqual(Price.objects.count(), 2)

    def test_changes_are_shown_field_by_field(self) -> None:
        changed = (
            FULL.replace("context_window: 200000", "context_window: 100000")
            .replace("first_event: 60", "first_event: 61.5")
            .replace("max_concurrency: 4", "max_concurrency: null")
            .replace("limit: 1000000", "limit: 1000000.5")
            .replace('targets: [main/big, "main/qwen/qwen3:free"]', "targets: [main/big]")
            .replace("roles: [member, team_lead]", "roles: [member]")
        )
        note = "dev1 leads the team platform, but sees nothing of it without the role team_lead."
        self.assertEqual(
            self.apply(changed),
            [
                "~ provider main: timeouts_s.first_event 60 -> 61.5",
                "~ model main/big: context_window 200000 -> 100000",
                "~ route everyday: targets main/big, main/qwen/qwen3:free -> main/big",
                "~ user dev1: roles member, team_lead -> member",
                "~ key dev1/laptop: max_concurrency 4 -> none",
                "~ quota key dev1/laptop tokens/day: limit 1000000 -> 1000000.5",
                note,
            ],
        )
        self.assertFalse(User.objects.get(username="dev1").is_staff)
        self.assertEqual(self.apply(changed), [note, "No changes."])

    def test_the_safety_model_is_set_kept_and_taken_back(self) -> None:
        chosen = {"settings": {"safety_model": "main/qwen/qwen3:free"}}
        self.assertEqual(self.apply(chosen), ["~ settings: safety_model none -> main/qwen/qwen3:free"])
        self.assertEqual(RuntimeSettings.load().safety_model, Model.objects.get(model_id="qwen/qwen3:free"))
        self.assertEqual(self.apply(chosen), ["No changes."])
        self.assertEqual(self.apply({"settings": {"capture": "metadata"}}), ["No changes."])
        self.assertEqual(
            self.refused({"settings": {"safety_model": "main/bih"}}),
            ["settings.safety_model: there is no model main/bih; did you mean main/big?"],
        )
        self.assertEqual(
            self.apply({"settings": {"safety_model": None}}),
            ["~ settings: safety_model main/qwen/qwen3:free -> none"],
        )

    def test_a_safety_model_is_not_pruned(self) -> None:
        self.apply({"settings": {"safety_model": "main/small"}})
        without = (
            FULL.replace("- {id: small, price: {currency: CNY, input: 0.1, output: 0.000002}}", "")
            .replace("{target: main/small, weight: 3}, ", "")
            .replace("target: main/small", "target: main/big")
            .replace("classifier: [main/small]", "classifier: [main/big]")
        )
        self.assertEqual(
            self.refused(without, "--prune"),
            ["providers[0].models: cannot remove model main/small: used by settings"],
        )

    def test_a_dry_run_prints_the_same_and_changes_nothing(self) -> None:
        changed = FULL.replace("context_window: 200000", "context_window: 100000")
        printed = self.apply(changed, "--dry-run")
        self.assertEqual(printed[0], "~ model main/big: context_window 200000 -> 100000")
        self.assertEqual(Model.objects.get(model_id="big").context_window, 200000)
        self.assertEqual(self.apply(changed), printed[:1])

    def test_secrets_change_without_being_shown(self) -> None:
        changed = (
            FULL.replace("sk-vendor-0123456789", "sk-vendor-new")
            .replace("wg_laptop0123456789abcdef", "wg_laptop_rotated_0123456789")
            .replace("header-secret", "header-secret-2")
        )
        self.assertEqual(
            self.apply(changed),
            [
                "~ provider main: extra_headers changed",
                "~ credential main/default: secret changed",
                "~ key dev1/laptop: secret changed",
            ],
        )
        self.assertEqual(Credential.objects.get(name="default").secret(), "sk-vendor-new")
        self.assertEqual(ApiKey.objects.get().prefix, "wg_laptop_")

    def test_a_changed_price_is_appended(self) -> None:
        printed = self.apply(FULL.replace("cache_read: 0.3", "cache_read: 0.25"))
        self.assertEqual(
            printed,
            [
                "~ price main/big: USD 3 in, 15 out, 0.3 cache_read, 3.75 cache_write -> "
                "USD 3 in, 15 out, 0.25 cache_read, 3.75 cache_write"
            ],
        )
        prices = Price.objects.filter(model__model_id="big").order_by("valid_from")
        self.assertEqual([price.cache_read_per_million for price in prices], [Decimal("0.3"), Decimal("0.25")])

    def test_the_order_of_aliases_and_scenes_is_that_of_the_file(self) -> None:
        swapped = {
            "aliases": [
                {"pattern": "anything", "target": "route:cheap"},
                {"pattern": "claude-haiku-*", "target": "main/small"},
            ]
        }
        self.assertEqual(self.apply(swapped), ["~ aliases: order changed"])
        self.assertEqual([alias.pattern for alias in ModelAlias.objects.all()], ["anything", "claude-haiku-*"])
        self.assertEqual(self.apply(swapped), ["No changes."])
        one_more = {"aliases": [{"pattern": "last", "target": "main/big"}]}
        self.assertEqual(self.apply(one_more), ["+ alias last"])
        self.assertEqual(ModelAlias.objects.last(), ModelAlias.objects.get(pattern="last"))

    def test_the_default_moves_in_one_file(self) -> None:
        other = {"policies": [{"name": "other", "default": True, "route": "cheap"}]}
        self.assertEqual(self.apply(other), ["~ policy default: default true -> false", "+ policy other"])
        both = {
            "policies": [{"name": "default", "default": True}, {"name": "other", "default": False}],
            "scenes": [{"name": "code", "default": False}, {"name": "chat", "default": True}],
        }
        self.assertEqual(
            self.apply(both),
            [
                "~ scene code: default true -> false",
                "~ scene chat: default false -> true",
                "~ policy other: default true -> false",
                "~ policy default: default false -> true",
            ],
        )

    def test_what_the_file_leaves_out_is_left_alone(self) -> None:
        self.assertEqual(self.apply({"providers": [{"name": "main", "models": [{"id": "big"}]}]}), ["No changes."])
        self.assertEqual(Price.objects.count(), 2)

    def test_pruning_keeps_to_the_sections_of_the_file(self) -> None:
        self.assertEqual(
            self.apply({"aliases": [], "scenes": [{"name": "code"}]}, "--prune"),
            ["- alias claude-haiku-*", "- alias anything", "- scene chat"],
        )
        self.assertEqual(Route.objects.count(), 2)

    def test_pruning_deletes_models_and_prices_and_reports_what_is_in_use(self) -> None:
        self.assertEqual(
            self.refused({"providers": [{"name": "main", "models": [{"id": "big"}]}], "routes": []}, "--prune"),
            [
                "routes: cannot remove route cheap: used by alias anything, scene chat",
                "routes: cannot remove route everyday: used by policy default, scene code",
                "providers[0].models: cannot remove model main/qwen/qwen3:free: used by route everyday",
                "providers[0].models: cannot remove model main/small: used by alias claude-haiku-*, policy default, "
                "route cheap",
            ],
        )
        self.assertEqual((Model.objects.count(), Price.objects.count()), (3, 2))
        printed = self.apply(
            {
                "providers": [
                    {"name": "main", "credentials": [{"name": "default"}], "models": [{"id": "big"}, {"id": "small"}]}
                ],
                "routes": [{"name": "everyday", "targets": ["main/big"]}, {"name": "cheap"}],
            },
            "--prune",
        )
        self.assertEqual(
            printed,
            [
                "- price main/big",
                "- price main/small",
                "~ route everyday: targets main/big, main/qwen/qwen3:free -> main/big",
                "- credential main/spare",
                "- model main/qwen/qwen3:free",
            ],
        )

    def test_pruning_deactivates_people_teams_keys_and_quotas(self) -> None:
        printed = self.apply({"users": [{"username": "boss"}], "keys": [], "quotas": [], "teams": []}, "--prune")
        self.assertEqual(
            printed,
            [
                "- quota key dev1/laptop tokens/day: deactivated",
                "- quota user dev1 cost/month CNY: deactivated",
                "- quota team platform requests/5h: deactivated",
                "- key dev1/laptop: deactivated",
                "- user dev1: deactivated",
                "- team company: deactivated",
                "- team platform: deactivated",
            ],
        )
        self.assertIsNotNone(ApiKey.objects.get().revoked_at)

    def test_a_revoked_key_stays_revoked_and_a_stated_quota_is_in_force(self) -> None:
        keys.revoke(ApiKey.objects.get())
        Quota.objects.update(is_active=False)
        printed = self.apply(FULL)
        self.assertIn("~ quota key dev1/laptop tokens/day: active false -> true", printed)
        self.assertEqual(printed[-1], "key dev1/laptop is inactive and stays so; `active: true` would change that.")
        self.assertFalse(ApiKey.objects.get().is_active)
        self.apply(FULL.replace("note: a note", "note: a note, active: true"))
        key = ApiKey.objects.get()
        self.assertEqual((key.is_active, key.revoked_at), (True, None))

    def test_the_last_administrator_is_never_locked_out(self) -> None:
        printed = self.apply({"users": []}, "--prune")
        self.assertEqual(printed[-1], "user boss stays active: no other administrator would be left.")
        self.assertEqual(
            self.refused({"users": [{"username": "boss", "roles": ["member"]}]}),
            ["users: no active administrator would be left"],
        )
        self.assertTrue(User.objects.get(username="boss").is_superuser)


class SmallFileTest(ConfigCase):
    def test_made_keys_go_to_a_private_file(self) -> None:
        out = self.directory / "keys.jsonl"
        document = {"users": [{"username": "dev1"}], "keys": [{"user": "dev1", "name": "laptop"}]}
        self.assertEqual(
            self.refused(document),
            ["keys[0].secret: is required for a new key, or --keys-out FILE to write a made one to"],
        )
        self.assertEqual(User.objects.count(), 0)
        self.apply(document, "--keys-out", str(out), "--dry-run")
        self.assertFalse(out.exists())
        printed = self.apply(document, "--keys-out", str(out))
        [line] = out.read_text().splitlines()
        issued = json.loads(line)
        self.assertEqual(issued["key"], "dev1/laptop")
        self.assertEqual(ApiKey.objects.get().digest, keys.digest(issued["secret"]))
        self.assertEqual(stat.S_IMODE(out.stat().st_mode), 0o600)
        self.assertNotIn(issued["secret"], "\n".join(printed))
        self.assertEqual(self.apply(document), ["No changes."])
        # A second one is added: the first can be read nowhere else.
        document["keys"].append({"user": "dev1", "name": "desktop"})
        out.chmod(0o644)
        self.apply(document, "--keys-out", str(out))
        self.assertEqual(len(out.read_text().splitlines()), 2)
        self.assertEqual(stat.S_IMODE(out.stat().st_mode), 0o600)

    def test_no_key_is_made_when_its_secret_cannot_be_written(self) -> None:
        document = {"users": [{"username": "dev1"}], "keys": [{"user": "dev1", "name": "laptop"}]}
        link = self.directory / "link"
        link.symlink_to(self.directory / "elsewhere")
        for path in (link, self.directory / "none" / "keys", self.directory):
            [problem] = self.refused(document, "--keys-out", str(path))
            self.assertRegex(problem, "^--keys-out: cannot write ")
        self.assertEqual((ApiKey.objects.count(), User.objects.count()), (0, 0))

    def test_secrets_come_from_the_environment(self) -> None:
        file = self.directory / "key"
        file.write_text("wg_from_a_file_0123456789\n")
        document = {
            "providers": [provider(credentials=[{"secret_env": "TEST_VENDOR_KEY"}])],
            "users": [{"username": "dev1", "password_env": "TEST_PASSWORD"}],
            "keys": [{"user": "dev1", "name": "laptop", "secret_env": "TEST_GATEWAY_KEY"}],
        }
        environment = {
            "TEST_VENDOR_KEY": "sk-from-the-environment",
            "TEST_PASSWORD": "correct horse battery",
            "TEST_GATEWAY_KEY_FILE": str(file),
        }
        with mock.patch.dict(os.environ, environment):
            printed = self.apply(document)
            self.assertEqual(Credential.objects.get().secret(), "sk-from-the-environment")
            self.assertEqual(ApiKey.objects.get().digest, keys.digest("wg_from_a_file_0123456789"))
            user = User.objects.get()
            self.assertTrue(user.check_password("correct horse battery"))
            self.assertNotIn("horse", "\n".join(printed))
            user.set_password("chosen by the person")
            user.save(update_fields=["password"])
            self.assertEqual(self.apply(document), ["No changes."])

    def test_a_refreshed_model_that_the_file_changes_is_kept_from_the_next_refresh(self) -> None:
        self.apply({"providers": [provider(models=[])]})
        main = Provider.objects.get()
        Model.objects.create(provider=main, model_id="big", context_window=1000)
        self.apply({"providers": [provider(models=[{"id": "big", "context_window": 1000}])]})
        self.assertFalse(Model.objects.get().is_manual)
        self.assertEqual(
            self.apply({"providers": [provider(models=[{"id": "big", "context_window": 2000}])]}),
            ["~ model main/big: context_window 1000 -> 2000"],
        )
        self.assertTrue(Model.objects.get().is_manual)

    def test_null_sets_the_default(self) -> None:
        document = {"providers": [provider(enabled=False, timeouts_s={"connect": 3})]}
        self.apply(document)
        document["providers"][0] |= {"enabled": None, "timeouts_s": {"connect": None}}
        self.assertEqual(self.apply(document), ["~ provider main: enabled false -> true; timeouts_s.connect 3 -> none"])

    def test_a_header_may_keep_its_stored_value(self) -> None:
        self.apply({"providers": [provider(extra_headers={"x-token": "t", "x-a": "1"})]})
        self.apply({"providers": [provider(extra_headers={"x-token": None, "x-a": "2"})]})
        self.assertEqual(Provider.objects.get().extra_headers, {"x-token": "t", "x-a": "2"})
        self.assertEqual(
            self.refused({"providers": [provider(extra_headers={"x-new": None})]}),
            ["providers[0].extra_headers.x-new: has no stored value to keep"],
        )
