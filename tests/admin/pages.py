"""A superuser at the pages of the admin."""

from django.db.models import Model
from django.test import TestCase
from django.urls import reverse

from accounts.models import User


def list_url(model: type[Model]) -> str:
    """Return the path of the list of `model`."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def row_url(row: Model) -> str:
    """Return the path of the page of `row`."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=(row.pk,))


class AdminTestCase(TestCase):
    """Tests with a superuser who has logged in."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.root = User.objects.create_superuser("root")

    def setUp(self) -> None:
        self.client.force_login(self.root)
