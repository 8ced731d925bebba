"""A temporary password opens the form that changes it, and nothing else."""

import contextlib

from django.test import Client, TestCase, override_settings
from django.urls import NoReverseMatch, get_resolver, reverse

from accounts.models import User

TEMPORARY = "temporary 4711 words"
CHOSEN = "chosen 0815 words"
VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "gateway.first_login.NotTheOldPassword"},
]

FAST_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def form(new: str, old: str = TEMPORARY) -> dict[str, str]:
    return {"old_password": old, "new_password1": new, "new_password2": new}


@override_settings(AUTH_PASSWORD_VALIDATORS=VALIDATORS, PASSWORD_HASHERS=FAST_HASHERS)
class FirstLogin(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_superuser("root", password=TEMPORARY, must_change_password=True)

    def login(self) -> Client:
        client = Client()
        response = client.post(reverse("admin:login"), {"username": "root", "password": TEMPORARY})
        self.assertEqual(response.status_code, 302)
        return client

    def must_change(self) -> bool:
        return User.objects.get().must_change_password

    def test_every_page_of_the_admin_leads_to_the_form(self) -> None:
        client = self.login()
        names = [name for name in get_resolver().namespace_dict["admin"][1].reverse_dict if isinstance(name, str)]
        self.assertGreater(len(names), 80)
        target = reverse("admin:password_change")
        allowed = {target, reverse("admin:logout"), reverse("admin:jsi18n")}
        paths = set()
        for name in names:
            for args in ((), (1,), ("00000000-0000-0000-0000-000000000000",), ("accounts",)):
                # Most arguments do not fit most pages.
                with contextlib.suppress(NoReverseMatch):
                    paths.add(reverse(f"admin:{name}", args=args))
        self.assertGreater(len(paths - allowed), 80)
        for path in paths - allowed:
            for method in (client.get, client.post):
                with self.subTest(path=path, method=method.__name__):
                    self.assertRedirects(method(path), target, fetch_redirect_response=False)
        self.assertEqual(client.get(target).status_code, 200)

    def test_a_program_gets_json(self) -> None:
        response = self.login().get(reverse("admin:index"), headers={"accept": "application/json"})
        self.assertEqual(response.status_code, 403)
        self.assertEqual(response.json(), {"error": {"message": "Change your password first."}})

    def test_the_changed_password_opens_everything_and_ends_the_other_sessions(self) -> None:
        client, other = self.login(), self.login()
        response = client.post(reverse("admin:password_change"), form(CHOSEN))
        self.assertRedirects(response, reverse("admin:index"))
        self.assertFalse(self.must_change())
        self.assertEqual(client.get(reverse("admin:index")).status_code, 200)
        response = other.get(reverse("admin:index"))
        self.assertRedirects(response, f"{reverse('admin:login')}?next={reverse('admin:index')}")

    def test_passwords_that_do_not_count_as_a_change(self) -> None:
        client = self.login()
        for data in (form(TEMPORARY), form("short"), form(CHOSEN, old="wrong"), {**form(CHOSEN), "new_password2": "x"}):
            with self.subTest(data=data):
                response = client.post(reverse("admin:password_change"), data)
                self.assertEqual(response.status_code, 200)
                self.assertTrue(self.must_change())
                self.assertEqual(client.get(reverse("admin:index")).status_code, 302)

    def test_logging_out_works(self) -> None:
        client = self.login()
        self.assertEqual(client.post(reverse("admin:logout")).status_code, 200)
        self.assertNotIn("_auth_user_id", client.session)

    def test_a_later_change_of_the_password_needs_no_flag(self) -> None:
        User.objects.update(must_change_password=False)
        client = self.login()
        self.assertEqual(client.post(reverse("admin:password_change"), form(CHOSEN)).status_code, 302)
        self.assertFalse(self.must_change())


class LoginPage(TestCase):
    def test_the_browser_chooses_the_language(self) -> None:
        for language, text in (("en", "Password"), ("zh-CN,zh;q=0.9,en;q=0.5", "密码"), ("fr", "Password")):
            with self.subTest(language=language):
                response = self.client.get(reverse("admin:login"), headers={"accept-language": language})
                self.assertContains(response, text)
                self.assertContains(response, "Wolfgate")


@override_settings(PASSWORD_HASHERS=FAST_HASHERS)
class People(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.root = User.objects.create_superuser("root")

    def setUp(self) -> None:
        self.client.force_login(self.root)

    def test_a_person_created_by_an_administrator_must_change_the_password(self) -> None:
        add = reverse("admin:accounts_user_add")
        form = self.client.get(add).context["adminform"].form
        self.assertTrue(form["must_change_password"].value())
        data = {"username": "ann", "password1": TEMPORARY, "password2": TEMPORARY, "usable_password": "true"}
        self.client.post(add, {**data, "must_change_password": "on"})
        self.client.post(add, {**data, "username": "bob"})
        flags = User.objects.exclude(pk=self.root.pk).values_list("username", "must_change_password")
        self.assertEqual(dict(flags), {"ann": True, "bob": False})

    def test_a_password_set_by_an_administrator_is_temporary(self) -> None:
        ann = User.objects.create_user("ann")
        url = reverse("admin:auth_user_password_change", args=(ann.pk,))
        wrong = {"password1": TEMPORARY, "password2": "another", "usable_password": "true"}
        self.client.post(url, wrong)
        ann.refresh_from_db()
        self.assertFalse(ann.must_change_password)
        self.assertEqual(self.client.post(url, {**wrong, "password2": TEMPORARY}).status_code, 302)
        ann.refresh_from_db()
        self.assertTrue(ann.must_change_password)
        self.assertTrue(ann.check_password(TEMPORARY))
