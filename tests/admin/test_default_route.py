"""The first models of a fresh installation answer its calls at once."""

from django.urls import reverse

from providers.models import Model, Provider
from routing.models import Route
from tests.admin.pages import AdminTestCase


class DefaultRouteTest(AdminTestCase):
    def add(self, model_id: str) -> str:
        """Add a model by hand and return what the admin says."""
        provider, _is_new = Provider.objects.get_or_create(name="up", kind="openai_compatible")
        data = {
            "provider": provider.pk,
            "model_id": model_id,
            "flags": "{}",
            "token_ratio": "1.0",
            "is_enabled": "on",
            "prices-TOTAL_FORMS": "0",
            "prices-INITIAL_FORMS": "0",
        }
        response = self.client.post(reverse("admin:providers_model_add"), data, follow=True)
        self.assertTrue(Model.objects.filter(model_id=model_id).exists(), response.content.decode()[:3000])
        return " ".join(str(message) for message in response.context["messages"])

    def test_the_first_model_fills_the_route_and_the_second_does_not(self) -> None:
        route = Route.objects.create(name="default")
        self.assertIn("The default route was empty. Calls go to up/a, in this order.", self.add("a"))
        self.assertNotIn("default route", self.add("b"))
        self.assertEqual([str(entry) for entry in route.entries.all()], ["up/a"])

    def test_without_the_route_of_a_fresh_installation_nothing_happens(self) -> None:
        self.assertNotIn("default route", self.add("a"))
