from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = _("Routing")

    def ready(self) -> None:
        from providers.config_version import bump_on_change, bump_on_relation, changed
        from routing.intent.training import ensure_after_commit
        from routing.models import (
            ClassifierEntry,
            KindRule,
            ModelAlias,
            Policy,
            Route,
            RouteEntry,
            RuntimeSettings,
            Scene,
            SceneRule,
            TrainedScorer,
        )

        bump_on_change(Policy, Route, RouteEntry, Scene, SceneRule, KindRule, ModelAlias, ClassifierEntry)
        bump_on_change(RuntimeSettings, TrainedScorer)
        bump_on_relation(Policy.scenes.through)
        changed.connect(ensure_after_commit, dispatch_uid="train-scorers")
