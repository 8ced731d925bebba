"""What a word typed into the search of the calls means."""

import re
import uuid

from django.db.models import Q

from accounts.models import ApiKey, CallRecord, User
from providers.models import Model


def _call_id(term: str) -> uuid.UUID | None:
    """Return the id of the call that `term` names: a request id as clients see it, or a UUID."""
    if re.fullmatch(r"(req_)?[0-9a-fA-F]{32}", term) or re.fullmatch(r"[0-9a-fA-F-]{36}", term):
        try:
            return uuid.UUID(term.removeprefix("req_"))
        except ValueError:
            return None
    return None


def matching_calls(term: str) -> Q:
    """Return the condition for calls that `term` names.

    Ids, people and keys have indexes. A model has none: among the newest calls one that is in use is soon found, but
    the name of a person would be looked for as a model in the whole ledger. So a term is taken for a model only if
    there is such a model, or if it is nothing else.
    """
    call_id = _call_id(term)
    # Looked up before: of conditions joined by OR, PostgreSQL uses the indexes only if it knows the values of all.
    people = list(User.objects.filter(username__icontains=term).values_list("pk", flat=True))
    keys = list(ApiKey.objects.filter(name__icontains=term).values_list("pk", flat=True))
    # The session ids of Claude Code are UUIDs as well.
    wanted = Q(session_id=term) if call_id is None else Q(pk=call_id) | Q(session_id=term)
    if people:
        wanted |= Q(user__in=people)
    if keys:
        wanted |= Q(key__in=keys)
    provider, slash, model = term.partition("/")
    is_model = Model.objects.filter(model_id__in=[term, model] if slash else [term]).exists()
    if is_model or not (people or keys or CallRecord.objects.filter(wanted).exists()):
        wanted |= Q(model_name=term) | Q(requested_model=term)
        if slash:
            wanted |= Q(provider_name=provider, model_name=model)
    return wanted
