from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = _("Routing")

    def ready(self) -> None:
        from providers.config_version import bump_on_change, bump_on_relation
        from routing.models import ClassifierEntry, ModelAlias, Policy, Route, RouteEntry, RuntimeSettings, Scene

        bump_on_change(Policy, Route, RouteEntry, Scene, ModelAlias, ClassifierEntry, RuntimeSettings)
        bump_on_relation(Policy.scenes.through)
