"""What the workers learnt from the calls: failing targets, and the scenes of sessions."""

from django.contrib import admin

from gateway.admin.entries import EntryAdmin
from routing.models import (
    StickySession,
    TargetHealth,
)


@admin.register(TargetHealth)
class TargetHealthAdmin(EntryAdmin):
    """How the targets answer."""

    list_display = (
        "provider_name",
        "model_name",
        "credential_name",
        "failures",
        "error_kind",
        "cooling_until",
        "ttft_ms",
    )
    list_filter = ("provider_name", "error_kind")
    list_select_related = ()
    search_fields = ("provider_name", "model_name", "credential_name")
    ordering = ("provider_name", "model_name", "credential_name")


@admin.register(StickySession)
class StickySessionAdmin(EntryAdmin):
    """The sessions that hold a scene."""

    list_display = ("key", "policy_name", "scene_name", "target_name", "used_at")
    list_filter = ("policy_name", "scene_name")
    list_select_related = ()
    search_fields = ("scene_name", "target_name")
    ordering = ("-used_at",)
