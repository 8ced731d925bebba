"""Platforms, models and routing by the management API."""

import http.server
import json
import threading
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from providers import config_version
from providers.models import Credential, Model, Provider
from routing.models import Policy, Route, RouteEntry, RuntimeSettings, Scene
from tests.manage import rows
from tests.manage.callers import ManageTestCase, operations


class Platforms(ManageTestCase):
    def test_a_platform_is_created_with_its_credential_and_changed(self) -> None:
        body = {
            "name": "main",
            "kind": "openai_compatible",
            "base_url": "https://example.com/v1",
            "timeouts_s": {"connect": 5},
            "credentials": [{"name": "default", "secret": rows.CREDENTIAL}],
        }
        response = self.ask("POST", "platforms", body)
        self.assertEqual(response.status_code, 201, response.content)
        self.assertNotIn(rows.CREDENTIAL, response.content.decode())
        made = response.json()
        self.assertEqual(made["credentials"][0]["last_four"], "wxyz")
        self.assertEqual(made["timeouts_s"]["connect"], 5)
        self.assertEqual(Credential.objects.get().secret(), rows.CREDENTIAL)
        before = config_version.current()
        changed = self.answer("PATCH", f"platforms/{made['id']}", {"max_concurrency": 8, "name": "primary"})
        self.assertEqual((changed["max_concurrency"], changed["name"]), (8, "primary"))
        self.assertEqual(changed["timeouts_s"], made["timeouts_s"])
        self.assertGreater(config_version.current(), before)
        changed = self.answer("PATCH", f"platforms/{made['id']}", {"max_concurrency": None, "timeouts_s": {"idle": 9}})
        self.assertEqual((changed["max_concurrency"], changed["timeouts_s"]["connect"]), (None, 5))
        self.assertFalse(self.answer("POST", f"platforms/{made['id']}/disable")["enabled"])
        self.assertTrue(self.answer("POST", f"platforms/{made['id']}/enable")["enabled"])
        self.assertEqual(self.ask("DELETE", f"platforms/{made['id']}").status_code, 204)
        self.assertFalse(Provider.objects.exists())

    def test_bad_fields_are_named_and_nothing_is_saved(self) -> None:
        good = {"name": "new", "kind": "openai_compatible", "base_url": "https://example.com/v1"}
        rows.make_platform()
        for change, field in (
            ({"name": "main"}, "name"),
            ({"name": "no name!"}, "name"),
            ({"name": "平台"}, "name"),
            ({"kind": "telepathy"}, "kind"),
            ({"base_url": "not a url"}, "base_url"),
            ({"base_url": "http://127.0.0.1:9/v1"}, "base_url"),
            ({"timeouts_s": {"connect": -1}}, "timeouts_s.connect"),
            ({"timeouts_s": {"connect": "abc"}}, "timeouts_s.connect"),
            ({"timeouts_s": {"lunch": 1}}, "timeouts_s.lunch"),
            ({"max_concurrency": 0}, "max_concurrency"),
            ({"flags": {"unheard_of": True}}, "flags.unheard_of"),
            ({"extra_headers": {"x y": "z"}}, "extra_headers.x y"),
            ({"extra_headers": {"x-new": None}}, "extra_headers.x-new"),
            ({"credentials": [{"name": "a", "secret": "with space"}]}, "credentials[0].secret"),
            ({"credentials": [{"name": "a", "secret": "s1"}, {"name": "a", "secret": "s2"}]}, "credentials"),
            ({"credentials": [{"name": "a"}]}, "credentials[0].secret"),
            ({"credentials": [{"name": "a", "secret_env": "SECRET_KEY"}]}, "credentials[0].secret_env"),
        ):
            with self.subTest(change=change):
                self.refused(self.ask("POST", "platforms", good | change), 400, field)
        self.assertEqual(Provider.objects.count(), 1)

    def test_credentials_are_added_replaced_and_removed(self) -> None:
        provider = rows.make_platform()
        path = f"platforms/{provider.pk}/credentials"
        made = self.answer("POST", path, {"name": "second", "secret": "sk-another-secret-abcd"}, status=201)
        self.assertEqual((made["last_four"], made["position"]), ("abcd", 1))
        changed = self.answer("PATCH", f"{path}/{made['id']}", {"secret": "sk-a-third-secret-efgh"})
        self.assertEqual((changed["last_four"], changed["name"]), ("efgh", "second"))
        self.assertEqual(Credential.objects.get(pk=made["id"]).secret(), "sk-a-third-secret-efgh")
        self.refused(self.ask("POST", path, {"name": "second", "secret": "sk-x"}), 400)
        self.refused(self.ask("PATCH", f"{path}/{made['id']}", {"secret": "密钥"}), 400, "secret")
        other = rows.make_platform("other")
        self.refused(self.ask("PATCH", f"platforms/{other.pk}/credentials/{made['id']}", {"name": "x"}), 404)
        self.assertEqual(self.ask("DELETE", f"{path}/{made['id']}").status_code, 204)
        self.assertEqual(provider.credentials.count(), 1)

    def test_one_that_routes_lead_to_is_not_removed(self) -> None:
        provider = rows.make_platform()
        rows.make_routing(provider)
        self.refused(self.ask("DELETE", f"platforms/{provider.pk}"), 409)
        self.assertTrue(Provider.objects.filter(pk=provider.pk).exists())


class _Platform(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({"data": [{"id": "big"}, {"id": "new"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({"choices": [{"message": {"content": "OK"}}]})

    def answer(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


class Live(ManageTestCase):
    def setUp(self) -> None:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Platform)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.good = rows.make_platform("good")
        self.dead = rows.make_platform("a-dead")
        for provider, port in ((self.good, server.server_port), (self.dead, 9)):
            Provider.objects.filter(pk=provider.pk).update(
                base_url=f"http://127.0.0.1:{port}/v1", allow_private_network=True
            )

    def test_one_platform_is_tested_with_a_chat(self) -> None:
        shown = self.answer("POST", f"platforms/{self.good.pk}/test", {"chat": True})
        self.assertEqual((shown["ok"], shown["models"], shown["chat_ok"]), (True, 2, True))
        self.refused(self.ask("POST", f"platforms/{self.good.pk}/test", {"model": "none"}), 400, "model")

    def test_one_that_fails_does_not_stop_the_others(self) -> None:
        [dead, good] = self.answer("POST", "platforms/test", b"")["items"]
        self.assertEqual((dead["platform"], dead["ok"], dead["reachable"]), ("a-dead", False, False))
        self.assertTrue(dead["message"])
        self.assertEqual((good["platform"], good["ok"]), ("good", True))

    def test_lists_of_models_are_refreshed_one_by_one(self) -> None:
        [dead, good] = self.answer("POST", "models/refresh", b"")["items"]
        self.assertEqual((dead["ok"], good["ok"]), (False, True))
        self.assertTrue(dead["error"])
        self.assertEqual((good["added"], good["gone"]), (1, 1))
        gone = self.answer("GET", "models?platform=good&missing=true")["items"]
        self.assertEqual([model["name"] for model in gone], ["good/small"])
        self.refused(self.ask("POST", "models/refresh", {"platform": "none"}), 400, "platform")


class Models(ManageTestCase):
    def test_a_model_is_entered_by_hand_and_changed(self) -> None:
        rows.make_platform()
        made = self.answer(
            "POST", "models", {"platform": "main", "model_id": "qwen2.5:7b", "context_window": 8192}, status=201
        )
        self.assertEqual((made["name"], made["manual"], made["context_window"]), ("main/qwen2.5:7b", True, 8192))
        changed = self.answer("PATCH", f"models/{made['id']}", {"enabled": False, "capabilities": ["tools"]})
        self.assertEqual(
            (changed["enabled"], changed["capabilities"], changed["context_window"]), (False, ["tools"], 8192)
        )
        listed = Model.objects.get(model_id="big")
        self.assertFalse(self.answer("PATCH", f"models/{listed.pk}", {"enabled": False})["manual"])
        for body, field in (
            ({"platform": "none", "model_id": "x"}, "platform"),
            ({"platform": "main", "model_id": "big"}, "model_id"),
            ({"platform": "main", "model_id": "x" * 300}, ""),
            ({"platform": "main", "model_id": "x", "context_window": -5}, "context_window"),
            ({"platform": "main", "model_id": "x", "capabilities": ["flying"]}, "capabilities[0]"),
            ({"platform": "main", "model_id": "x", "flags": {"unheard_of": 1}}, "flags.unheard_of"),
        ):
            with self.subTest(body=body):
                self.refused(self.ask("POST", "models", body), 400, *filter(None, [field]))
        self.assertEqual(Model.objects.count(), 3)


class Routing(ManageTestCase):
    def setUp(self) -> None:
        self.policy = rows.make_routing(rows.make_platform())

    def test_what_is_read_can_be_sent_back_and_changes_nothing(self) -> None:
        rows.set_search_secret()
        routing = self.answer("GET", "routing")
        self.assertIn(
            {"name": "everyday", "order": "priority", "targets": ["main/big", "main/small"]}, routing["routes"]
        )
        done = self.answer("PUT", "routing?prune=true", routing)
        self.assertEqual(done, {"changes": [], "notes": []})
        self.assertEqual(RuntimeSettings.load().search_secret(), rows.SEARCH)

    def test_it_is_written_whole_or_not_at_all(self) -> None:
        body: dict[str, Any] = {
            "routes": [{"name": "cheap", "targets": ["main/small"]}],
            "scenes": [{"name": "代码", "description": "编写和修改代码的请求", "route": "cheap"}],
            "policies": [{"name": "office", "mode": "smart"}],
        }
        planned = self.answer("PUT", "routing?dry_run=true", body)
        self.assertTrue(planned["changes"])
        self.assertFalse(Route.objects.filter(name="cheap").exists())
        wrong = body | {"policies": [{"name": "office", "mode": "dreaming"}]}
        self.refused(self.ask("PUT", "routing", wrong), 400, "policies[0].mode")
        self.assertFalse(Route.objects.filter(name="cheap").exists())
        self.assertEqual(self.answer("PUT", "routing", body)["changes"], planned["changes"])
        self.assertTrue(Scene.objects.filter(name="代码").exists())
        for other in ({"users": []}, {"keys": []}, {"version": 1}):
            self.refused(self.ask("PUT", "routing", other), 400, *other)

    def test_nothing_is_read_from_the_environment(self) -> None:
        search = {"kind": "tavily", "url": "https://search.example.com", "secret_env": "PATH"}
        self.refused(self.ask("PATCH", "routing/settings", {"search": search}), 400, "search.secret_env")

    def test_the_mode_is_read_and_changed(self) -> None:
        self.assertEqual(self.answer("GET", "routing/mode"), {"policy": "office", "mode": "direct"})
        self.assertEqual(self.answer("PATCH", "routing/mode", {"mode": "smart"}), {"policy": "office", "mode": "smart"})
        self.policy.refresh_from_db()
        self.assertEqual(self.policy.mode, Policy.Mode.SMART)
        for body, status in (({"mode": "nonsense"}, 400), ({}, 400), ({"mode": "smart", "policy": "none"}, 404)):
            self.refused(self.ask("PATCH", "routing/mode", body), status)

    def test_single_entries_are_changed(self) -> None:
        changed = self.answer("PATCH", "routing/routes/everyday", {"targets": ["main/small", "main/big"]})
        self.assertEqual(changed["targets"], ["main/small", "main/big"])
        entries = RouteEntry.objects.filter(route__name="everyday").order_by("position")
        self.assertEqual([entry.model.model_id for entry in entries], ["small", "big"])
        changed = self.answer("PATCH", "routing/scenes/闲聊", {"description": "没有别的场景时的对话场景"})
        self.assertEqual(changed["description"], "没有别的场景时的对话场景")
        changed = self.answer("PATCH", "routing/policies/office", {"reference_model": "main/big"})
        self.assertEqual(changed["reference_model"], "main/big")
        self.assertEqual(self.answer("PATCH", "routing/settings", {"ping_interval_s": 20})["ping_interval_s"], 20)
        for path, body, field in (
            ("routes/everyday", {"targets": ["main/none"]}, "targets[0]"),
            ("routes/everyday", {"order": "by mood"}, "order"),
            ("routes/everyday", {"name": "other"}, "name"),
            ("scenes/闲聊", {"enabled": False}, ""),
            ("policies/office", {"session_idle_minutes": -1}, "session_idle_minutes"),
            ("policies/office", {"unheard_of": 1}, "unheard_of"),
            ("settings", {"business_time_zone": "Mars/Base"}, "business_time_zone"),
            ("settings", {"ping_interval_s": "often"}, "ping_interval_s"),
        ):
            with self.subTest(path=path, body=body):
                self.refused(self.ask("PATCH", f"routing/{path}", body), 400, *filter(None, [field]))
        self.refused(self.ask("PATCH", "routing/routes/none", {"order": "priority"}), 404)


class Secrets(ManageTestCase):
    def test_no_answer_holds_a_secret(self) -> None:
        provider = rows.make_platform()
        rows.make_routing(provider)
        rows.set_search_secret()
        call = rows.book(self.plain_key)
        quota = rows.make_quota(user=self.member)
        numbers = {"users": self.member.pk, "teams": self.team.pk, "keys": self.plain_key.pk, "quotas": quota.pk}
        numbers |= {"platforms": provider.pk, "models": provider.models.all()[0].pk}
        credential = provider.credentials.get()
        secrets = [rows.CREDENTIAL, rows.CREDENTIAL[:-4], rows.HEADER, rows.SEARCH, credential.encrypted_secret]
        secrets += [self.admin_secret, self.plain_secret, self.plain_key.digest, self.admin_key.digest]
        walked = 0
        for method, path, name in operations():
            if method != "GET":
                continue
            subject = path.removeprefix("/api/manage/").split("/")[0]
            path = path.replace("{pk}", str(numbers.get(subject, 0))).replace("{request_id}", call.request_id)
            with self.subTest(name=name):
                response = self.ask("GET", f"{path}?stages=true" if name == "get_record" else path)
                self.assertEqual(response.status_code, 200, response.content[:500])
                text = response.content.decode()
                for secret in secrets:
                    self.assertNotIn(secret, text)
                walked += 1
        self.assertGreater(walked, 25)


class Queries(ManageTestCase):
    LISTS = (
        "users",
        "teams",
        "keys",
        "quotas",
        "prices",
        "prices/in-force",
        "rates",
        "platforms",
        "models",
        "records",
        "audit",
        "corrections",
        "closed-months",
        "reports/usage?by=user,model",
        "reports/budgets",
        "routing",
    )

    def counts(self) -> dict[str, int]:
        found = {}
        for path in self.LISTS:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                self.answer("GET", path)
            found[path] = len(queries)
        return found

    def test_the_number_of_queries_does_not_grow_with_the_rows(self) -> None:
        from tests.admin.rows import make_rows

        make_rows(2)
        before = self.counts()
        make_rows(5)
        self.assertEqual(self.counts(), before)
        self.assertLessEqual(max(before.values()), 40, before)
