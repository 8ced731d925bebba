"""The names that clients may ask for, and what they mean."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from providers.models import Model
from providers.row import Row
from routing.models.routes import Route
from routing.models.scenes import Scene


class ModelAlias(Row):
    """A name that clients may ask for, and what it means."""

    pattern = models.CharField(
        _("pattern"), max_length=200, unique=True, help_text=_("A model name; * stands for any characters.")
    )
    model = models.ForeignKey(
        Model, models.PROTECT, related_name="aliases", null=True, blank=True, verbose_name=_("model")
    )
    route = models.ForeignKey(
        Route, models.PROTECT, related_name="aliases", null=True, blank=True, verbose_name=_("route")
    )
    scene = models.ForeignKey(
        Scene, models.PROTECT, related_name="aliases", null=True, blank=True, verbose_name=_("scene")
    )
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("model alias")
        verbose_name_plural = _("model aliases")
        ordering = ["position", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(model__isnull=False, route__isnull=True, scene__isnull=True)
                | Q(model__isnull=True, route__isnull=False, scene__isnull=True)
                | Q(model__isnull=True, route__isnull=True, scene__isnull=False),
                name="routing_modelalias_one_target",
            ),
        ]

    def __str__(self) -> str:
        return self.pattern

    def clean(self) -> None:
        if sum(target is not None for target in (self.model_id, self.route_id, self.scene_id)) != 1:
            raise ValidationError(_("Choose one of model, route and scene."))
