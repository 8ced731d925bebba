from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = _("Providers")

    def ready(self) -> None:
        from providers.config_version import bump_on_change
        from providers.models import Credential, Model, Price, Provider

        bump_on_change(Provider, Credential, Model, Price)
