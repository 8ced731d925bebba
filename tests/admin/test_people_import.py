"""The import of people in the admin: a preview that changes nothing, then all rows or none, then keys."""

import io
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from openpyxl import load_workbook

from accounts import people_files
from accounts.models import ApiKey, Team, User
from gateway.admin.people import import_page as people_import
from tests.admin.pages import AdminTestCase, list_url, row_url

URL = "admin:accounts_user_import"
LIST = "用户名,姓名,团队,角色,备注\r\nlilei,李雷,Core,成员,x\r\nada,Ada L,Core,,y\r\n"


class ImportCase(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.core = Team.objects.create(name="Core")

    def upload(self, content: bytes | str = LIST, name: str = "people.csv", **fields: Any) -> HttpResponse:
        data = content.encode() if isinstance(content, str) else content
        return self.client.post(reverse(URL), {"file": SimpleUploadedFile(name, data), **fields})

    def carried(self, page: HttpResponse) -> str:
        return str(page.context["carried"])  # type: ignore[attr-defined]

    def confirm(self, page: HttpResponse) -> HttpResponse:
        return self.client.post(reverse(URL), {"carried": self.carried(page)}, follow=True)

    def people(self) -> set[str]:
        return set(User.objects.exclude(pk=self.root.pk).values_list("username", flat=True))


class Importing(ImportCase):
    def test_a_preview_changes_nothing_and_the_confirmation_writes_what_it_showed(self) -> None:
        self.assertContains(self.client.get(list_url(User)), reverse(URL))
        self.assertContains(self.client.get(reverse(URL)), "用户名")
        page = self.upload(LIST.encode("gbk"))
        for text in ("CSV in GB18030", "2 new people", "lilei", "李雷", "<strong>备注</strong>"):
            self.assertContains(page, text)
        self.assertEqual(self.people(), set())
        done = self.confirm(page)
        self.assertContains(done, "2 people were made.")
        self.assertEqual(self.people(), {"lilei", "ada"})
        self.assertEqual(User.objects.get(username="lilei").team, self.core)
        self.assertEqual(LogEntry.objects.filter(change_message="Imported from a list.").count(), 2)

    def test_who_may_log_in_but_has_no_password_is_told(self) -> None:
        done = self.confirm(self.upload("username,roles\nlead,team lead\nada,member\n"))
        self.assertContains(done, "These may log in here, but have no password yet.")
        self.assertContains(done, f'<a href="{row_url(User.objects.get(username="lead"))}">lead</a>')
        self.assertNotContains(done, row_url(User.objects.get(username="ada")))
        self.assertNotContains(done, "changed.")

    def test_a_new_person_of_whom_only_the_name_is_given_is_one_more(self) -> None:
        User.objects.create(username="bert")
        done = self.confirm(self.upload("username,email\nada,\nbert,b@x.example\n"))
        self.assertContains(done, "1 person was made. 1 person was changed.")

    def test_the_keys_of_those_who_are_new_are_one_click_away(self) -> None:
        done = self.confirm(self.upload())
        data = {"selection": done.context["selection"]}  # type: ignore[attr-defined]
        page = self.client.post(reverse("admin:accounts_user_import_keys"), data)
        self.assertContains(page, "lilei")
        data |= {"name": "cc", "lifetime": "30", "allowed_models": "[]", "delivery": "86400"}
        self.client.post(reverse("admin:accounts_user_issue_keys"), data)
        self.assertEqual(ApiKey.objects.filter(name="cc").count(), 2)

    def test_changes_are_shown_before_and_after(self) -> None:
        User.objects.create(username="ada", first_name="Ada", email="old@x.example")
        page = self.upload("username,email\nada,new@x.example\n")
        self.assertContains(page, "<del>old@x.example</del> → new@x.example")
        self.assertContains(self.confirm(page), "1 person was changed.")
        self.assertEqual(User.objects.get(username="ada").email, "new@x.example")

    def test_a_row_with_an_error_is_shown_with_its_column_and_nothing_can_be_confirmed(self) -> None:
        page = self.upload("username,email\ngood,\nbad,nobody\n")
        self.assertContains(page, "1 row with an error")
        self.assertContains(page, "Enter a valid email address.")
        self.assertNotContains(page, 'name="carried"')
        self.assertEqual(self.carried(page), "")

    def test_a_list_that_changes_nothing_has_nothing_to_confirm(self) -> None:
        self.confirm(self.upload())
        self.assertContains(self.upload(), "There is nothing to do")

    def test_teams_are_made_if_ticked(self) -> None:
        text = "username,team\na,Lab\n"
        self.assertContains(self.upload(text), "there is no team Lab")
        page = self.upload(text, make_teams="on")
        self.assertContains(page, "Teams that are made:")
        self.assertFalse(Team.objects.filter(name="Lab").exists())
        self.confirm(page)
        self.assertEqual(User.objects.get(username="a").team.name, "Lab")

    def test_what_changed_since_the_preview_is_shown_again_and_not_written(self) -> None:
        page = self.upload()
        User.objects.create(username="ada", first_name="Other")
        again = self.confirm(page)
        self.assertContains(again, "Something changed since the preview")
        self.assertContains(again, "<del>Other</del> → Ada L")
        self.assertEqual(self.people(), {"ada"})
        self.assertContains(self.confirm(again), "1 person was made.")

    def test_a_form_sent_twice_imports_once(self) -> None:
        page = self.upload()
        self.confirm(page)
        self.assertContains(self.confirm(page), "There is nothing to do")
        self.assertEqual(User.objects.count(), 3)

    def test_what_people_wrote_is_escaped(self) -> None:
        page = self.upload("username,name,<script>x</script>\na,<script>y</script>,\n<script>,b,\n")
        self.assertNotContains(page, "<script>x")
        self.assertNotContains(page, "<script>y")

    def test_files_that_are_no_list_are_refused_at_their_field(self) -> None:
        for name, content, message in (
            ("a.csv", b"", "The file is empty."),
            ("a.csv", b"%PDF-1.4 ...", "neither a CSV file nor an Excel workbook"),
            ("a.xlsx", b"PK\x03\x04", "cannot be read"),
            ("a.csv", b"name\nx\n", "There is no column for the username."),
            ("a.csv", b"username\n" + b"a" * (people_files.MAX_BYTES + 1), "more than 5 MB"),
        ):
            with self.subTest(name=name, content=content[:9]):
                page = self.upload(content, name)
                self.assertContains(page, message)
                self.assertContains(page, "errorlist")
        self.assertContains(self.client.post(reverse(URL), {}), "This field is required.")
        self.assertEqual(self.people(), set())


class Carrying(ImportCase):
    def test_what_another_one_previewed_or_nobody_is_not_confirmed(self) -> None:
        carried = self.carried(self.upload())
        other = User.objects.create_superuser("other")
        for user, text in ((other, carried), (self.root, carried[:-2]), (self.root, "x"), (self.root, "")):
            self.client.force_login(user)
            response = self.client.post(reverse(URL), {"carried": text}, follow=True)
            self.assertContains(response, "The preview is too old, or not yours.")
        self.assertEqual(self.people(), {"other"})

    def test_a_preview_ends_after_an_hour(self) -> None:
        page = self.upload()
        age, people_import._MAX_AGE_S = people_import._MAX_AGE_S, -1
        self.addCleanup(setattr, people_import, "_MAX_AGE_S", age)
        self.assertContains(self.confirm(page), "The preview is too old")

    def test_a_large_list_goes_through_form_and_few_queries(self) -> None:
        text = "username,name,email\n" + "".join(f"u{n},Person {n},u{n}@x.example\n" for n in range(2000))
        with CaptureQueriesContext(connection) as context:
            page = self.upload(text)
        self.assertLess(len(context), 20)
        self.assertContains(page, "and 1500 more")
        self.assertLess(len(page.content), 600_000)
        self.confirm(page)
        self.assertEqual(len(self.people()), 2000)


class Access(ImportCase):
    def test_who_may_not_make_and_change_people_imports_none(self) -> None:
        staff = User.objects.create_user("staff", is_staff=True)
        staff.user_permissions.add(*Permission.objects.filter(codename__in=["view_user", "change_user"]))
        self.client.force_login(staff)
        self.assertNotContains(self.client.get(list_url(User)), reverse(URL))
        for url in (reverse(URL), reverse("admin:accounts_user_import_template", args=("csv",))):
            self.assertEqual(self.client.get(url).status_code, 403)
        self.assertEqual(self.upload().status_code, 403)
        self.assertEqual(self.client.post(reverse("admin:accounts_user_import_keys"), {}).status_code, 403)

    def test_who_may_not_make_teams_is_not_offered_it(self) -> None:
        staff = User.objects.create_user("staff", is_staff=True)
        wanted = ["view_user", "add_user", "change_user", "view_all_teams"]
        staff.user_permissions.add(*Permission.objects.filter(codename__in=wanted))
        self.client.force_login(staff)
        self.assertNotContains(self.client.get(reverse(URL)), "make_teams")
        self.assertContains(self.upload("username,team\na,Lab\n", make_teams="on"), "there is no team Lab")


class Templates(ImportCase):
    def test_the_empty_lists_can_be_filled_and_imported(self) -> None:
        for language, first in (("en", "username"), ("zh-hans", "用户名")):
            User.objects.filter(pk=self.root.pk).update(language=language)
            with self.subTest(language):
                data = self.client.get(reverse("admin:accounts_user_import_template", args=("csv",))).content
                self.assertTrue(data.startswith(b"\xef\xbb\xbf"))
                line = data.decode("utf-8-sig")
                self.assertEqual(line.split(",")[0], first)
                filled = data + f"n{language},N,,Core,,,,".encode()
                self.assertEqual(self.upload(filled).context["plan"].count("new"), 1)  # type: ignore[attr-defined]
                url = reverse("admin:accounts_user_import_template", args=("xlsx",))
                book = load_workbook(io.BytesIO(self.client.get(url).content))
                sheet: Any = book.active
                self.assertEqual([cell.value for cell in sheet[1]], line.strip().split(","))
                self.assertEqual((sheet.freeze_panes, sheet.column_dimensions["A"].number_format), ("A2", "@"))
                sheet.append([f"x{language}", "N", None, "Core"])
                target = io.BytesIO()
                book.save(target)
                page = self.upload(target.getvalue(), "people.xlsx")
                self.assertEqual(page.context["plan"].count("new"), 1)  # type: ignore[attr-defined]
        self.assertEqual(
            self.client.get(reverse("admin:accounts_user_import_template", args=("exe",))).status_code, 404
        )
