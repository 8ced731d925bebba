"""Each role at each page of the admin. A page that is new, and stands in neither table, fails."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import TestCase
from django.urls import URLPattern, URLResolver, reverse

from accounts import handovers, keys
from accounts.models import ApiKey, CallRecord, Invoice, Team, User
from accounts.roles import Role
from gateway.admin.reports import exports
from gateway.admin.reports import pages as report_pages
from gateway.models import Capture
from providers.models import Provider
from routing.models import Policy, RuntimeSettings
from tests.admin.rows import NOW, make_rows

# What an administrator, a team lead and finance find at the pages of each table, at a row that they may see:
# l list, a add, v a row, c its form, d its deletion, h its history. A superuser finds what an administrator finds.
# Everybody else is sent to the login.
TABLES: dict[str, tuple[str, str, str]] = {
    "auth.group": ("lavh", "", ""),
    "accounts.apikey": ("lavch", "lavch", "lvh"),
    "accounts.attempt": ("lvh", "lvh", "lvh"),
    "accounts.auditentry": ("lvh", "", ""),
    "accounts.callrecord": ("lvh", "lvh", "lvh"),
    "accounts.closedmonth": ("lavh", "", "lvh"),
    "accounts.correction": ("lavh", "lvh", "lvh"),
    "accounts.exchangerate": ("lavcdh", "", "lvh"),
    "accounts.invoice": ("lavh", "", "lavh"),
    "accounts.invoiceline": ("lvh", "", "lvh"),
    "accounts.keyhandover": ("lvh", "lvh", ""),
    "accounts.keynetwork": ("lvh", "lvh", ""),
    "accounts.monthlyexport": ("lvh", "", "lvh"),
    "accounts.notification": ("lvh", "", ""),
    "accounts.notificationchannel": ("lavcdh", "", ""),
    # The row is the limit of a team, which a lead may only look at.
    "accounts.quota": ("lavch", "lavh", "lvh"),
    "accounts.quotaraise": ("lvch", "lvh", "lvh"),
    "accounts.quotawindow": ("lvh", "lvh", "lvh"),
    "accounts.team": ("lavch", "lvh", "lvh"),
    "accounts.usagedaily": ("lvh", "lvh", "lvh"),
    "accounts.user": ("lavch", "lvh", "lvh"),
    "accounts.worker": ("lvh", "", ""),
    "gateway.capture": ("lvh", "", ""),
    "providers.credential": ("lavcdh", "", ""),
    "providers.model": ("lavcdh", "", "lvh"),
    "providers.price": ("lavh", "", "lvh"),
    "providers.provider": ("lavcdh", "", ""),
    "routing.classifierentry": ("lvh", "", ""),
    "routing.kindrule": ("lvh", "", ""),
    "routing.modelalias": ("lavcdh", "", ""),
    "routing.policy": ("lavcdh", "", ""),
    "routing.route": ("lavcdh", "", ""),
    "routing.routeentry": ("lvh", "", ""),
    "routing.runtimesettings": ("lvch", "", ""),
    "routing.scene": ("lavcdh", "", ""),
    "routing.scenerule": ("lvh", "", ""),
    "routing.stickysession": ("lvh", "", ""),
    "routing.targethealth": ("lvh", "", ""),
    "routing.trainedscorer": ("lvh", "", ""),
}
# The pages of our own, with the status for an administrator, a team lead and finance.
OWN_PAGES: dict[str, tuple[int, int, int]] = {
    "accounts_apikey_extend": (302, 302, 403),
    "accounts_apikey_rotate": (200, 200, 403),
    "accounts_apikey_rotate_selected": (200, 200, 403),
    "accounts_callrecord_example": (200, 403, 403),
    "accounts_invoice_reconciliation": (200, 403, 200),
    "accounts_invoice_reconciliation_csv": (200, 403, 200),
    "accounts_invoice_withdraw": (200, 403, 200),
    "accounts_user_import": (200, 403, 403),
    "accounts_user_import_keys": (200, 200, 403),
    "accounts_user_import_template": (200, 403, 403),
    "accounts_user_issue_keys": (200, 200, 403),
    "auth_user_password_change": (200, 403, 403),
    "gateway_capture_body": (200, 403, 403),
    "providers_price_catalogue": (200, 403, 200),
    "routing_modelalias_families": (200, 403, 403),
    "routing_replay": (200, 403, 403),
    "routing_scene_offered": (200, 403, 403),
    "routing_trial": (200, 403, 403),
    # Beside the site, below its address.
    "reports:overview": (200, 200, 200),
    "reports:usage": (200, 200, 200),
    "reports:savings": (200, 200, 200),
    "reports:failures": (200, 200, 200),
    "reports:keys": (200, 200, 200),
    "reports:key": (200, 200, 200),
    "reports:budgets": (200, 200, 200),
    "exports:index": (200, 200, 200),
    "exports:report_csv": (200, 200, 200),
    "exports:report_xlsx": (200, 200, 200),
    "exports:focus": (200, 200, 200),
    "exports:calls_csv": (200, 200, 200),
    "exports:calls_xlsx": (200, 200, 200),
    "exports:listed_calls": (200, 200, 200),
    "exports:statement": (200, 200, 200),
}
# They answer forms only; what is sent to each.
FORMS: dict[str, dict[str, str]] = {
    "accounts_apikey_extend": {"selection": "{}", "lifetime": "7"},
    "accounts_apikey_rotate_selected": {"selection": "{}", "grace": "0"},
    "accounts_user_import_keys": {"selection": "{}"},
    "accounts_user_issue_keys": {"selection": "{}", "name": "cc", "lifetime": "7", "allowed_models": "[]"},
}
# Django's own around them, for whoever is in; "jsi18n" and the catch-all for everybody.
FRAME = {"index", "password_change", "password_change_done"}
OPEN = {"login", "logout", "autocomplete", "jsi18n", "view_on_site", "app_list", None}

VIEWERS = ("administrator", "team_lead", "finance")
OUTSIDE = ("member", "nobody", "deactivated")
STANDARD = {"l": "changelist", "a": "add", "v": "change", "d": "delete", "h": "history"}


def names() -> set[str | None]:
    """Return the names of all pages below the address of the admin."""
    found: set[str | None] = set()
    for each in admin.site.get_urls():
        if isinstance(each, URLResolver):
            found |= {page.name for page in each.url_patterns if isinstance(page, URLPattern)}
        else:
            found.add(each.name)
    for namespace, urls in (("reports", report_pages.urls()), ("exports", exports.urls())):
        found |= {f"{namespace}:{page.name}" for page in urls}
    return found


class Matrix(TestCase):
    maxDiff = None

    """Two teams, the first of them with a lead, and a person of each role."""

    @classmethod
    def setUpTestData(cls) -> None:
        make_rows(2)
        RuntimeSettings.objects.create(pk=1)
        names = ("nobody", "deactivated", *Role.values)
        cls.people = {name: User.objects.create(username=name, is_active=name != "deactivated") for name in names}
        for role in Role:
            cls.people[role.value].groups.add(Group.objects.get(name=role))
        cls.people["deactivated"].groups.set(Group.objects.all())
        cls.people["superuser"] = User.objects.create_superuser("superuser")
        cls.team = Team.objects.order_by("pk")[0]
        Team.objects.filter(pk=cls.team.pk).update(lead=cls.people["team_lead"])

    def row(self, model: type[Model]) -> Model:
        """Return a row of the lead's team."""
        rows = model._default_manager.order_by("pk")
        of_team = {CallRecord: "team", Capture: "call__team"}.get(model)
        found = rows.filter(**{of_team: self.team}).first() if of_team else rows.first()
        assert found is not None
        return found

    def url(self, model: type[Model], kind: str) -> str:
        args = () if kind in ("changelist", "add") else (self.row(model).pk,)
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=args)

    def own_pages(self) -> Mapping[str, str]:
        key, call = self.row(ApiKey), self.row(CallRecord)
        args: dict[str, tuple[Any, ...]] = {
            "accounts_apikey_rotate": (key.pk,),
            "accounts_callrecord_example": (call.pk,),
            "accounts_invoice_withdraw": (self.row(Invoice).pk,),
            "accounts_user_import_template": ("csv",),
            "auth_user_password_change": (self.row(User).pk,),
            "gateway_capture_body": (call.pk, "client_request"),
            "routing_replay": (self.row(Policy).pk,),
            "routing_scene_offered": ("templates",),
            "reports:key": (key.pk,),
            "exports:statement": (NOW.date().replace(day=1), self.team.pk),
        }
        asked = {"accounts_invoice_reconciliation_csv": f"?provider={self.row(Provider)}&month=2026-01"}
        return {
            name: reverse(name if ":" in name else f"admin:{name}", args=args.get(name, ())) + asked.get(name, "")
            for name in OWN_PAGES
        }

    def found(self, model: type[Model]) -> str:
        """Return what the one who is logged in finds at the pages of `model`."""
        letters = ""
        for letter, kind in STANDARD.items():
            response = self.client.get(self.url(model, kind))
            # The list of settings leads to their form.
            leads_on = response.status_code == 302 and response["Location"] not in (reverse("admin:index"),)
            if response.status_code == 200 or leads_on:
                letters += letter
                if kind == "change" and response.context["has_change_permission"]:
                    letters += "c"
            elif response.status_code != 302:
                self.assertEqual(response.status_code, 403)
        return letters

    def login(self, name: str) -> None:
        """Log in as the person of that name; one who is deactivated had a session before."""
        self.client.force_login(self.people[name])

    def test_every_page_stands_in_a_table(self) -> None:
        standard = {f"{label.replace('.', '_')}_{kind}" for label in TABLES for kind in STANDARD.values()}
        self.assertEqual(names(), standard | set(OWN_PAGES) | FRAME | OPEN)

    def test_each_role_at_the_pages_of_each_table(self) -> None:
        for number, viewer in enumerate(VIEWERS):
            self.login(viewer)
            found = {model._meta.label_lower: self.found(model) for model in admin.site._registry}
            with self.subTest(viewer=viewer):
                self.assertEqual(found, {label: letters[number] for label, letters in TABLES.items()})

    def test_a_superuser_finds_what_an_administrator_finds(self) -> None:
        self.login("superuser")
        found = {model._meta.label_lower: self.found(model) for model in admin.site._registry}
        self.assertEqual(found, {label: letters[0] for label, letters in TABLES.items()})

    def test_each_role_at_the_pages_of_our_own(self) -> None:
        for name, url in self.own_pages().items():
            for viewer, status in zip(("superuser", *VIEWERS), (OWN_PAGES[name][0], *OWN_PAGES[name]), strict=True):
                self.login(viewer)
                with self.subTest(page=name, viewer=viewer):
                    data = FORMS.get(name)
                    response = self.client.get(url) if data is None else self.client.post(url, data)
                    self.assertEqual(response.status_code, status)

    def test_a_one_time_link_asks_nobody_who_he_is(self) -> None:
        token = handovers.create(*keys.issue(self.people["member"], "cc"), None)
        for viewer in (None, "superuser", *VIEWERS, *OUTSIDE):
            self.client.logout()
            if viewer is not None:
                self.login(viewer)
            for found, status in ((token, 200), ("unknown", 404)):
                with self.subTest(viewer=viewer, status=status):
                    url = reverse("handover", args=(found,))
                    self.assertEqual(self.client.get(url).status_code, status)

    def test_what_a_role_does_not_find_it_cannot_post_to_either(self) -> None:
        for number, viewer in enumerate(VIEWERS):
            self.login(viewer)
            for model in admin.site._registry:
                letters = TABLES[model._meta.label_lower][number]
                before = model._default_manager.count()
                for letter, kind in (("a", "add"), ("c", "change"), ("d", "delete")):
                    if letter not in letters:
                        with self.subTest(viewer=viewer, model=model.__name__, kind=kind):
                            response = self.client.post(self.url(model, kind), {"post": "yes"})
                            self.assertEqual(response.status_code, 403)
                self.assertEqual(model._default_manager.count(), before)

    def test_finance_has_no_action_that_changes_anything(self) -> None:
        self.login("finance")
        for model in admin.site._registry:
            if "l" in TABLES[model._meta.label_lower][2]:
                with self.subTest(model=model.__name__):
                    self.assertNotContains(self.client.get(self.url(model, "changelist")), 'name="action"')

    def test_the_others_find_no_page_at_all(self) -> None:
        urls = [self.url(model, kind) for model in admin.site._registry for kind in STANDARD.values()]
        urls += [
            *self.own_pages().values(),
            reverse("admin:autocomplete"),
            reverse("admin:app_list", args=("accounts",)),
        ]
        urls += [reverse(f"admin:{name}") for name in FRAME]
        for viewer in (*OUTSIDE, None):
            self.client.logout()
            if viewer is not None:
                self.login(viewer)
            for url in urls:
                with self.subTest(viewer=viewer, url=url):
                    self.assertRedirects(
                        self.client.get(url),
                        f"{reverse('admin:login')}?next={quote(url)}",
                        fetch_redirect_response=False,
                    )

    def test_the_overview_lists_what_the_role_finds(self) -> None:
        for number, viewer in enumerate(VIEWERS):
            self.login(viewer)
            listed = {
                f"{app['app_label']}.{each['object_name'].lower()}"
                for app in self.client.get(reverse("admin:index")).context["app_list"]
                for each in app["models"]
            }
            # Some tables have no line there, for being changed elsewhere; nothing is there that cannot be opened.
            with self.subTest(viewer=viewer):
                self.assertTrue(listed)
                self.assertLessEqual(listed, {label for label, letters in TABLES.items() if "l" in letters[number]})
