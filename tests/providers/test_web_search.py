"""The search backends below httpx: what they are asked, and what their answers become."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from providers.clients.http import close_shared_client, open_shared_client
from providers.target import SearchBackend
from providers.translation.web_search import SearchResult, SearchTool
from providers.web_search import SearchFailed, search
from tests.fakes.transport import Reply, ScriptedTransport, json_reply

SEARXNG = SearchBackend("searxng", "http://127.0.0.1:8888")
TAVILY = SearchBackend("tavily", "https://api.tavily.com/", "tvly-0123456789abcdef")
TOOL = SearchTool("web_search", "web_search")
ITEM = {"title": "Wolf", "url": "https://wolf.example/", "content": "A wolf."}


def run(
    reply: Reply,
    backend: SearchBackend = SEARXNG,
    tool: SearchTool = TOOL,
    query: str = "grey wolf",
    within_s: float = 5,
) -> tuple[list[SearchResult], httpx.Request]:
    transport = ScriptedTransport(reply)

    async def scenario() -> list[SearchResult]:
        await open_shared_client(transport)
        try:
            return await search(backend, query, tool, within_s=within_s)
        finally:
            await close_shared_client()

    return asyncio.run(scenario()), transport.requests[0]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8888", "http://127.0.0.1:8888/", "http://127.0.0.1:8888/search", " http://127.0.0.1:8888 "],
)
def test_searxng_is_asked_for_json_on_a_private_address(url: str) -> None:
    results, request = run(json_reply({"results": [ITEM]}), SearchBackend("searxng", url))
    assert (request.method, str(request.url)) == ("GET", "http://127.0.0.1:8888/search?q=grey+wolf&format=json")
    assert "authorization" not in request.headers
    assert results == [SearchResult("Wolf", "https://wolf.example/", "A wolf.")]


def test_a_searxng_behind_a_proxy_gets_the_secret() -> None:
    _results, request = run(json_reply({"results": []}), SearchBackend("searxng", "https://s.example/sx", "s3cret"))
    assert request.headers["authorization"] == "Bearer s3cret"
    assert request.url.path == "/sx/search"


@pytest.mark.parametrize(
    ("domains", "query"),
    [
        ((), "grey wolf"),
        (("a.example",), "grey wolf site:a.example"),
        (("a.example", "b.example"), "grey wolf (site:a.example OR site:b.example)"),
        (tuple(f"{n}.example" for n in range(6)), "grey wolf"),
    ],
)
def test_sites_are_hinted_at(domains: tuple[str, ...], query: str) -> None:
    _results, request = run(json_reply({"results": []}), tool=SearchTool("w", "w", 5, domains))
    assert request.url.params["q"] == query


def test_tavily_is_asked_by_post_with_its_secret() -> None:
    tool = SearchTool("w", "w", 5, (), ("bad.example",))
    found = {"results": [{**ITEM, "published_date": "2026-01-02", "score": 0.9}]}
    results, request = run(json_reply(found), TAVILY, tool)
    assert (request.method, str(request.url)) == ("POST", "https://api.tavily.com/search")
    assert request.headers["authorization"] == f"Bearer {TAVILY.secret}"
    assert json.loads(request.content) == {
        "query": "grey wolf",
        "max_results": 10,
        "exclude_domains": ["bad.example"],
    }
    assert results == [SearchResult("Wolf", "https://wolf.example/", "A wolf.", "2026-01-02")]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({**ITEM, "content": " a\n\tb\x00\u200b "}, SearchResult("Wolf", ITEM["url"], "a b")),
        ({**ITEM, "content": "x" * 5000}, SearchResult("Wolf", ITEM["url"], "x" * 1000)),
        ({"url": ITEM["url"]}, SearchResult(ITEM["url"], ITEM["url"], "")),
        ({**ITEM, "title": None, "content": 5, "publishedDate": None}, SearchResult(ITEM["url"], ITEM["url"], "")),
        ({**ITEM, "url": "javascript:alert(1)"}, None),
        ({**ITEM, "url": "https://" + "x" * 2000}, None),
        ({**ITEM, "url": 5}, None),
        ("text", None),
    ],
)
def test_results_are_cleaned(item: Any, expected: SearchResult | None) -> None:
    results, _request = run(json_reply({"results": [item]}))
    assert results == ([expected] if expected else [])


def test_results_are_bounded_and_differ() -> None:
    items = [ITEM, ITEM, *({**ITEM, "url": f"https://w.example/{number}"} for number in range(30))]
    results, _request = run(json_reply({"results": items}))
    assert len(results) == 10
    assert len({result.url for result in results}) == 10


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (json_reply({"error": "tvly-0123456789abcdef"}, 401), "status 401"),
        (Reply([], 302, {"location": "https://evil.example/"}), "status 302"),
        (Reply([b"<html>"]), "not JSON"),
        (json_reply([]), "no list of results"),
        (json_reply({"results": {}}), "no list of results"),
        (Reply([b"x" * 1_000_000] * 3), "larger than"),
        (Reply(failure=httpx.ConnectError("x")), "no connection"),
        (Reply([b"{", httpx.ReadError("x")]), "cut off"),
        (Reply(silent=True), "silent"),
        (Reply([b"{", None]), "silent"),
    ],
)
def test_failures_are_one_exception_without_query_and_secret(reply: Reply, message: str) -> None:
    within_s = 0.05 if reply.silent or None in reply.pieces else 5
    with pytest.raises(SearchFailed, match=message) as caught:
        run(reply, TAVILY, within_s=within_s)
    assert TAVILY.secret not in str(caught.value)
    assert "wolf" not in str(caught.value)


def test_the_secret_is_in_no_repr() -> None:
    assert TAVILY.secret not in repr(TAVILY)
