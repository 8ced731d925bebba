"""The management API: its routers, and who may read its document."""

from typing import Any

from ninja import NinjaAPI, Router, Schema
from pydantic import Field

from accounts.roles import roles_of
from gateway.manage import (
    audit_log,
    closing,
    keys,
    models,
    platform_tests,
    platforms,
    prices,
    quotas,
    rates,
    records,
    reports,
    routing,
    teams,
    users,
)
from gateway.manage.auth import Caller
from gateway.manage.errors import add_handlers
from gateway.manage.examples import with_examples
from gateway.manage.operations import ExactParser, operation

api = NinjaAPI(
    title="Wolfgate management",
    version="1",
    description=(
        "What the administration does, as JSON. Callers are keys with the scope `admin` or `finance`, or a signed-in "
        "session, which sends the header `X-CSRFToken` with everything but GET. PATCH changes the fields that are "
        "sent; null empties one. Lists are read page by page with `limit` and `after`. Amounts and costs are decimal "
        "numbers as text. Secrets go in and never come out again, but for a new key's in the answer that makes it. "
        "Every change stands in the audit log."
    ),
    docs_url=None,
    openapi_url=None,
    urls_namespace="manage",
    parser=ExactParser(),
)
add_handlers(api)
about = Router(tags=["about"])


@operation(about, "GET", "openapi.json", "", summary="This document", answer=dict[str, Any])
def openapi_document(caller: Caller) -> dict[str, Any]:
    return with_examples(dict(api.get_openapi_schema()))


class Whoami(Schema):
    """The caller."""

    name: str
    user: str
    key: str | None = Field(description="Null: a session.")
    scope: str = Field(description="Of the key.")
    roles: list[str] = Field(description="Of the person.")
    sees_all_teams: bool


@operation(about, "GET", "whoami", "", summary="Who calls, and with which rights", answer=Whoami)
def whoami(caller: Caller) -> Whoami:
    return Whoami(
        name=caller.name,
        user=caller.user.get_username(),
        key=str(caller.key) if caller.key is not None else None,
        scope=caller.key.scope if caller.key is not None else "",
        roles=sorted(roles_of(caller.user)),
        sees_all_teams=caller.sees_all_teams,
    )


api.add_router("", about)
for prefix, router in (
    ("users", users.router),
    ("teams", teams.router),
    ("keys", keys.router),
    ("keys", reports.keys_router),
    ("quotas", quotas.router),
    ("prices", prices.router),
    ("rates", rates.router),
    ("reports", reports.router),
    ("platforms", platforms.router),
    ("platforms", platform_tests.router),
    ("models", models.router),
    ("routing", routing.router),
    ("records", records.router),
    ("audit", audit_log.router),
    ("", closing.router),
):
    api.add_router(prefix, router)
