"""What happens to a fresh installation when its first models come: they answer its calls."""

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext

from gateway.admin_base import ModelAdmin
from routing.model_choice import fill_default_route


def fill_and_say(model_admin: ModelAdmin, request: HttpRequest) -> None:
    """Fill the default route if it is empty, and say where calls go.

    An installation begins with a policy and a scene whose route waits for models. At its next start it would be filled
    as well, but whoever has just added a platform wants to use it.
    """
    models = fill_default_route()
    if models:
        targets = ", ".join(str(model) for model in models)
        text = gettext("The default route was empty. Calls go to %(targets)s, in this order.")
        model_admin.message_user(request, text % {"targets": targets}, messages.SUCCESS)
