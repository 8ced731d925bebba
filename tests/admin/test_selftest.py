"""The self-test in the admin and on the command line, against a scripted platform behind a real socket."""

import io
import json
import re
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import CallRecord, User
from gateway.selftest import check_and_store
from providers import config_version
from providers.models import Model, Provider
from providers.selftest import Options
from routing.models import Route, RouteEntry
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.fakes.platform import Platform, Says, refusal
from tests.fakes.upstream import ScriptedUpstream


class SelftestPages(AdminTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.upstream = ScriptedUpstream().start()
        cls.addClassCleanup(cls.upstream.stop)

    def setUp(self) -> None:
        super().setUp()
        self.upstream.clear()
        self.upstream.script("wolfgate-no-such-model", Platform().script)
        self.provider = Provider.objects.create(
            name="main",
            kind=Provider.Kind.OPENAI_COMPATIBLE,
            base_url=self.upstream.base_url,
            allow_private_network=True,
        )
        self.model = self.add_model("big", Platform({"image": Says("Red."), "forced_tools": Says("London.")}))

    def add_model(self, model_id: str, platform: Platform, **fields: Any) -> Model:
        self.upstream.script(model_id, platform.script)
        return Model.objects.create(provider=self.provider, model_id=model_id, **fields)

    def press(self, action: str, *rows: Any, on_page: bool = True, **headers: str) -> Any:
        """Press a button on the page of the one row, or choose an action in the list; return the page that answers."""
        data: dict[str, Any] = {"action": action, "_selected_action": [row.pk for row in rows]}
        if on_page:
            data["from_form"] = rows[0].pk
        return self.client.post(list_url(type(rows[0])), data, follow=True, headers=headers)

    def card(self) -> dict[str, Any]:
        self.model.refresh_from_db()
        return dict(self.model.compatibility)


class Buttons(SelftestPages):
    def test_the_test_is_run_and_its_card_shown(self) -> None:
        self.assertContains(self.client.get(row_url(self.model)), "Not tested yet.")
        version = config_version.current()
        response = self.press("self_test", self.model)
        self.assertRedirects(response, row_url(self.model))
        self.assertContains(response, "Self-test of")
        self.assertContains(response, "Accepts the image, but does not see it.")
        self.assertContains(response, "Ignores that it is forced to call a tool.")
        self.assertContains(response, "forced_tools: false")
        self.assertContains(response, "are not in the books")
        self.assertEqual(
            len(re.findall(r'<th scope="row">', response.content.decode().split("compatibility", 1)[1])), 15
        )
        self.assertEqual(self.card()["capabilities"], ["tools", "pdf", "thinking"])
        assert self.model.compatibility_checked_at is not None
        self.assertLess(abs((timezone.now() - self.model.compatibility_checked_at).total_seconds()), 60)
        self.assertIsNone(self.model.capabilities)
        self.assertEqual(config_version.current(), version, "nothing that routing reads has changed")
        self.assertEqual(LogEntry.objects.get().change_message, "Self-test: 13 of 15 work.")
        self.assertFalse(CallRecord.objects.exists())

    def test_the_found_capabilities_are_written_with_one_click(self) -> None:
        self.press("self_test", self.model)
        self.assertContains(self.client.get(row_url(self.model)), "Write the found capabilities to this model")
        version = config_version.current()
        response = self.press("write_capabilities", self.model)
        self.assertRedirects(response, row_url(self.model))
        self.assertContains(response, "1 model changed.")
        self.model.refresh_from_db()
        self.assertEqual(
            (self.model.capabilities, self.model.flags), (["tools", "pdf", "thinking"], {"forced_tools": False})
        )
        self.assertTrue(self.model.is_manual)
        self.assertGreater(config_version.current(), version)
        self.assertIn("capabilities, flags", LogEntry.objects.latest("pk").change_message)
        self.assertNotContains(response, "Write the found capabilities to this model")
        self.assertContains(self.press("write_capabilities", self.model), "0 models changed.")

    def test_the_list_shows_a_mark(self) -> None:
        self.press("self_test", self.model)
        good = self.add_model("good", Platform())
        lost = self.add_model("lost", Platform(everything=refusal("no such model", 404)))
        response = self.press("self_test", good, lost, on_page=False)
        self.assertRedirects(response, list_url(Model))
        self.assertContains(response, "it cannot be used as it is")
        marks = re.findall(r'<span class="mark (\w+)" title="[^"]+">(\S+ \d+/\d+)</span>', response.content.decode())
        self.assertEqual(marks, [("partial", "◐ 13/15"), ("ok", "✓ 15/15"), ("no", "✗ 0/1")])

    def test_long_prompts_are_an_action_of_their_own(self) -> None:
        self.press("self_test_long", self.model)
        self.assertTrue(self.card()["long_prompts"])
        self.assertGreater(max(len(request.raw) for request in self.upstream.requests), 100_000)

    def test_a_provider_tests_three_models_those_of_routes_first(self) -> None:
        for model_id in ("alpha", "beta", "gamma"):
            self.add_model(model_id, Platform())
        self.add_model("absent", Platform(), missing_since=timezone.now())
        self.add_model("apart", Platform(), is_enabled=False)
        RouteEntry.objects.create(route=Route.objects.create(name="daily"), model=Model.objects.get(model_id="gamma"))
        response = self.press("self_test_provider", self.provider)
        self.assertRedirects(response, row_url(self.provider))
        tested = Model.objects.filter(compatibility__isnull=False).values_list("model_id", flat=True)
        self.assertEqual(sorted(tested), ["alpha", "beta", "gamma"])
        Model.objects.update(is_enabled=False)
        self.assertContains(self.press("self_test_provider", self.provider), "has no enabled model to test")

    def test_only_who_may_change_models_may_test_them(self) -> None:
        person = User.objects.create_user("eve", is_staff=True)
        person.user_permissions.add(*Permission.objects.filter(codename__in=("view_model", "view_provider")))
        self.client.force_login(person)
        self.assertNotContains(self.client.get(row_url(self.model)), "Run the self-test")
        self.assertNotContains(self.client.get(row_url(self.provider)), "Run the self-test")
        self.press("self_test", self.model)
        self.press("self_test_provider", self.provider)
        self.press("write_capabilities", self.model)
        self.assertEqual(self.upstream.requests, [])
        self.assertIsNone(Model.objects.get().compatibility)

    def test_the_words_of_a_platform_are_escaped(self) -> None:
        hostile = Platform({"image": refusal("<script>alert(1)</script> images not supported")})
        self.upstream.script("big", hostile.script)
        response = self.press("self_test", self.model)
        self.assertContains(response, "&lt;script&gt;alert(1)&lt;/script&gt; images")
        self.assertNotContains(response, "<script>alert(1)")

    def test_a_card_of_another_version_is_shown_as_far_as_it_goes(self) -> None:
        self.press("self_test", self.model)
        card = self.card()
        card["rows"][0] |= {"name": "telepathy", "code": "guessed"}
        card["rows"][1]["params"] = {}
        Model.objects.update(compatibility=card)
        response = self.client.get(row_url(self.model))
        self.assertContains(response, "telepathy")
        self.assertContains(response, "guessed")

    def test_a_test_without_time_replaces_no_card(self) -> None:
        self.press("self_test", self.model)
        before = self.card()
        (card,) = check_and_store([self.model], Options(total_limit_s=0))
        self.assertEqual({row["code"] for row in card["rows"]}, {"out_of_time"})
        self.assertEqual(self.card(), before)

    def test_the_card_speaks_chinese(self) -> None:
        self.press("self_test", self.model)
        response = self.client.get(row_url(self.model), headers={"accept-language": "zh-hans"})
        for text in ("自检", "接受图片，但看不到内容。", "兼容性卡片", "运行自检"):
            self.assertContains(response, text)
        self.assertNotContains(response, "Accepts the image")


class Command(SelftestPages):
    def run_command(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """Return what the command prints, and its complaint; assert the exit status."""
        out, error = io.StringIO(), ""
        try:
            call_command("check_provider", *arguments, stdout=out, stderr=out)
            self.assertEqual(status, 0)
        except CommandError as failure:
            self.assertEqual(failure.returncode, status)
            error = str(failure)
        return out.getvalue(), error

    def test_the_card_is_printed_aligned_and_without_colours(self) -> None:
        printed, _error = self.run_command("main")
        lines = printed.splitlines()
        self.assertEqual(lines[0], "main/big (openai)")
        self.assertNotIn("\033", printed)
        rows = lines[1:16]
        self.assertEqual({line.index(" s  ") for line in rows}, {rows[0].index(" s  ")})
        self.assertRegex(printed, r"✗ Image +\d\.\d s  no: Accepts the image, but does not see it\.")
        self.assertIn("found capabilities: tools, pdf, thinking", printed)
        self.assertIsNone(Model.objects.get().capabilities)
        self.assertEqual(self.card()["model"], "main/big")

    def test_what_was_found_is_written_on_demand(self) -> None:
        printed, _error = self.run_command("main", "--write", "--json")
        cards, _end = json.JSONDecoder().raw_decode(printed)
        self.assertEqual(cards[0]["capabilities"], ["tools", "pdf", "thinking"])
        self.assertEqual(Model.objects.get().capabilities, ["tools", "pdf", "thinking"])
        self.assertIn("Nothing to write to main/big.", self.run_command("main", "--write")[0])

    def test_models_are_chosen(self) -> None:
        for model_id in ("alpha", "beta", "gamma"):
            self.add_model(model_id, Platform())

        def tested(*arguments: str) -> list[str]:
            return re.findall(r"^main/(\S+) ", self.run_command("main", *arguments)[0], re.MULTILINE)

        self.assertEqual(tested(), ["alpha", "beta", "big"])
        self.assertEqual(tested("--all-models"), ["alpha", "beta", "big", "gamma"])
        self.assertEqual(tested("--model", "gamma", "--model", "alpha"), ["gamma", "alpha"])

    def test_the_exit_status_tells_a_bad_name_from_an_unusable_model(self) -> None:
        self.assertIn("known are: main", self.run_command("nain", status=2)[1])
        self.assertIn("has no model huge", self.run_command("main", "--model", "huge", status=2)[1])
        self.upstream.script("big", Platform(has_usage=False).script)
        self.assertIn("main/big", self.run_command("main", status=1)[1])
        Model.objects.all().delete()
        self.assertIn("no enabled model", self.run_command("main", status=2)[1])
