"""The API first: its paths must never meet a redirect or a page of the admin."""

from django.contrib import admin
from django.urls import path

from gateway.api import api
from gateway.handover_page import handover_view

urlpatterns = [
    path("admin/", admin.site.urls),
    path("handover/<str:token>/", handover_view, name="handover"),
    path("", api.urls),
]
