"""The API first: its paths must never meet a redirect or a page of the admin."""

from django.contrib import admin
from django.urls import include, path

from gateway.admin.reports import exports
from gateway.admin.reports import pages as report_pages
from gateway.api import api
from gateway.handover_page import handover_view
from gateway.manage.api import api as manage_api

urlpatterns = [
    # Before the site, whose last pattern takes every address below it.
    path("admin/reports/", include((report_pages.urls(), "reports"))),
    path("admin/exports/", include((exports.urls(), "exports"))),
    path("admin/", admin.site.urls),
    path("handover/<str:token>/", handover_view, name="handover"),
    path("api/manage/", manage_api.urls),
    path("", api.urls),
]
