"""Kinds of intent, and how they are recognised."""

from django.core.validators import MinLengthValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from routing.models.routes import Route


class Scene(models.Model):
    """A kind of intent, and the route that serves it."""

    name = models.CharField(_("name"), max_length=50, unique=True, validators=[MinLengthValidator(2)])
    description = models.CharField(_("description"), max_length=500, validators=[MinLengthValidator(10)])
    examples = models.JSONField(
        _("examples"), default=list, blank=True, help_text=_("Prompts of this kind, as a JSON list.")
    )
    route = models.ForeignKey(Route, models.PROTECT, related_name="scenes", verbose_name=_("route"))
    is_default = models.BooleanField(_("default"), default=False)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    position = models.PositiveIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("scene")
        verbose_name_plural = _("scenes")
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint("is_default", condition=Q(is_default=True), name="routing_scene_one_default"),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(is_enabled=True), name="routing_scene_default_is_enabled"
            ),
        ]

    def __str__(self) -> str:
        return self.name
