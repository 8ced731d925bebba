"""The API first: its paths must never meet a redirect or a page of the admin."""

from django.contrib import admin
from django.urls import path

from gateway.api import api

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", api.urls),
]
