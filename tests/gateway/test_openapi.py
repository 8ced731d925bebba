"""The OpenAPI document: each route once, nothing dangling, and true."""

import re
from typing import Any

from tests.fakes.transport import Reply, text_stream
from tests.gateway.case import GatewayCase

ROUTES = {
    ("post", "/v1/messages"),
    ("post", "/v1/messages/count_tokens"),
    ("post", "/v1/chat/completions"),
    ("post", "/v1/responses"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model_id}"),
    ("get", "/v1/me"),
    ("get", "/healthz"),
    ("get", "/readyz"),
}


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


class TestDocument(GatewayCase):
    async def test_each_route_is_in_it_once_and_is_served(self) -> None:
        async with self.gateway(Reply(text_stream())) as gateway:
            document = (await gateway.client.get("/api/openapi.json")).json()
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    url = path.replace("{model_id}", "up/a")
                    response = await gateway.client.request(method, url, content=b"{}" if method == "post" else None)
                    assert response.status_code == (400 if method == "post" else 200), path
                    assert str(response.status_code) in operation["responses"]
        found = {(method, path) for path, operations in document["paths"].items() for method in operations}
        assert found >= ROUTES
        names = [
            operation["operationId"] for operations in document["paths"].values() for operation in operations.values()
        ]
        assert len(names) == len(set(names))
        schemas = document["components"]["schemas"]
        assert {name.rpartition("/")[2] for name in references(document)} <= set(schemas)
        schemes = set(document["components"]["securitySchemes"])
        assert schemes == {"bearer", "apiKey"}

    async def test_a_wrong_method_names_the_right_ones(self) -> None:
        async with self.gateway() as gateway:
            response = await gateway.client.get("/v1/chat/completions")
        assert response.status_code == 405
        assert re.findall(r"\w+", response.headers["allow"]) == ["POST"]
