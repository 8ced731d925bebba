"""Invoices in the admin: looked at before they are kept, held against the books, withdrawn."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry, Invoice, InvoiceLine, UsageDaily, User
from providers.models import Provider
from tests.admin.pages import AdminTestCase, list_url, row_url
from tests.admin.rows import make_key

ADD = "/admin/accounts/invoice/add/"
RECONCILIATION = "/admin/accounts/invoice/reconciliation/"
CSV = "日期,模型,金额\n2026-03-01,big,11\n2026-03-03,<b>small</b>,4\n"


class Invoices(AdminTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        Provider.objects.create(name="main", kind=Provider.Kind.OPENAI_COMPATIBLE, base_url="https://example.com/v1")

    def look(self, content: bytes = CSV.encode("gbk"), name: str = "账单.csv", **fields: Any) -> Any:
        file = SimpleUploadedFile(name, content)
        return self.client.post(ADD, {"provider": "main", "currency": "CNY", "file": file, **fields})

    def keep(self, page: Any) -> Any:
        token = re.search(r'name="confirmed" value="([^"]+)"', page.content.decode())
        assert token is not None
        return self.client.post(ADD, {"confirmed": token[1]}, follow=True)

    def use(self, day: int, cost: str) -> None:
        key = make_key(self.root, f"key{day}")
        UsageDaily.objects.create(
            date=date(2026, 3, day),
            key=key,
            user=self.root,
            provider_name="main",
            model_name="big",
            currency="CNY",
            calls=2,
            cost=Decimal(cost),
        )

    def test_a_file_is_looked_at_first_and_kept_when_that_is_confirmed(self) -> None:
        page = self.look(note="March")
        self.assertContains(page, "gb18030")
        self.assertContains(page, "15 CNY")
        self.assertContains(page, "&lt;b&gt;small")
        self.assertEqual(Invoice.objects.count(), 0)
        self.assertContains(self.keep(page), "Kept, with 2 lines.")
        invoice = Invoice.objects.get()
        self.assertEqual((invoice.file_name, invoice.note, invoice.uploaded_by), ("账单.csv", "March", self.root))
        self.assertEqual(InvoiceLine.objects.count(), 2)
        for url in (
            list_url(Invoice),
            row_url(invoice),
            list_url(InvoiceLine),
            f"{list_url(InvoiceLine)}?invoice__id__exact={invoice.pk}",
        ):
            self.assertEqual(self.client.get(url).status_code, 200)

    def test_a_file_with_problems_keeps_nothing_and_names_each_line(self) -> None:
        page = self.look(b"date,amount\n2026-03-01,1\n2026-13-01,1\n2026-03-02,x\n2999-01-01,1\n")
        for text in (">3</td>", ">4</td>", ">5</td>", "Nothing was kept"):
            self.assertContains(page, text)
        self.assertNotContains(page, 'name="confirmed"')
        for content in (b"\xff\xfe\xfd\xfc\xfb", b"PK\x03\x04", b"a,b\n", b"\x00\x01\x02"):
            with self.subTest(content=content):
                self.assertContains(self.look(content), "Nothing was kept")
        self.assertEqual(Invoice.objects.count(), 0)

    def test_fields_are_checked(self) -> None:
        self.assertContains(self.look(currency="yuan"), "errornote")
        self.assertContains(self.look(provider="nobody"), "errornote")
        self.assertContains(self.client.post(ADD, {"provider": "main", "currency": "CNY"}), "errornote")

    def test_the_same_file_is_kept_once_and_other_files_of_the_same_days_are_named(self) -> None:
        first, again = self.look(), self.look()
        self.keep(first)
        self.assertContains(self.keep(again), "uploaded before")
        self.assertEqual(Invoice.objects.count(), 1)
        self.assertContains(self.look(CSV.replace("11", "12").encode()), "There are invoices of these days already")

    def test_what_was_not_shown_cannot_be_kept(self) -> None:
        page = self.client.post(ADD, {"confirmed": "made-up:token"}, follow=True)
        self.assertContains(page, "Upload it again")

    def test_an_invoice_is_withdrawn_after_a_question_and_stays(self) -> None:
        self.keep(self.look())
        invoice = Invoice.objects.get()
        url = reverse("admin:accounts_invoice_withdraw", args=(invoice.pk,))
        self.assertContains(self.client.get(url), "Withdraw")
        self.assertFalse(Invoice.objects.get().is_withdrawn)
        self.client.post(url)
        self.assertTrue(Invoice.objects.get().is_withdrawn)
        self.assertEqual(InvoiceLine.objects.count(), 2)
        self.assertContains(self.keep(self.look()), "Kept")

    def test_days_stand_beside_each_other_with_a_way_to_their_calls(self) -> None:
        self.use(1, "10")
        self.use(2, "5")
        self.keep(self.look())
        page = self.client.get(RECONCILIATION, {"provider": "main", "month": "2026-03"})
        for text in ("2026-03-01", "9.09 %", "on no invoice", "not in the books", "booked=2026-03-01..2026-03-01"):
            self.assertContains(page, text)
        response: Any = self.client.get(f"{RECONCILIATION}csv/", {"provider": "main", "month": "2026-03"})
        text = b"".join(response.streaming_content).decode("utf-8-sig")
        self.assertIn("2026-03-02,,2,0,5,0,5,,-5,,CNY", text)
        self.assertTrue(AuditEntry.objects.filter(note__contains="reconciliation").exists())

    def test_the_number_of_queries_does_not_grow_with_the_days(self) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as context:
                self.client.get(RECONCILIATION, {"provider": "main", "month": "2026-03"})
            return len(context)

        self.keep(self.look())
        self.use(1, "10")
        few = queries()
        for day in range(2, 20):
            self.use(day, "1")
        self.assertEqual(queries(), few)

    def test_wrong_months_and_providers_are_field_errors(self) -> None:
        for parameters in (
            {"provider": "main", "month": "2026-13"},
            {"provider": "x", "month": "2026-03"},
            {"provider": "main"},
        ):
            with self.subTest(parameters=parameters):
                self.assertContains(self.client.get(RECONCILIATION, parameters), "errorlist")
                self.assertEqual(self.client.get(f"{RECONCILIATION}csv/", parameters).status_code, 400)

    def test_permissions(self) -> None:
        self.keep(self.look())
        invoice = Invoice.objects.get()
        reader = User.objects.create(username="reader", is_staff=True)
        reader.user_permissions.add(Permission.objects.get(codename="view_invoice"))
        self.client.force_login(reader)
        self.assertEqual(self.client.get(list_url(Invoice)).status_code, 200)
        for url in (ADD, reverse("admin:accounts_invoice_withdraw", args=(invoice.pk,)), RECONCILIATION):
            with self.subTest(url=url):
                self.assertEqual(self.client.get(url).status_code, 403)
                self.assertEqual(self.client.post(url).status_code, 403)
