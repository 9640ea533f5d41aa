"""Facts about whose calls are recorded."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from openai import OpenAI

from or_instrument._openrouter import hosts as _hosts
from or_instrument._openrouter.hosts import Endpoint, Hosts, account_host


class Address(NamedTuple):
    """What the HTTP libraries' URLs have in common."""

    scheme: str
    host: str
    port: int | None = None


DEFAULT = Hosts(["openrouter.ai"])


@pytest.mark.parametrize(
    "host", ["openrouter.ai", "eu.openrouter.ai", "a.b.openrouter.ai", "OpenRouter.AI", "openrouter.ai."]
)
def test_a_host_and_its_subdomains_are_recorded(host: str) -> None:
    """In-region hosts are subdomains; names of hosts know no case, and may end in the root's dot."""
    endpoint = DEFAULT.endpoint(Address("https", host))
    assert endpoint == Endpoint(host.lower().rstrip("."), 443, "openrouter", is_named=True)


@pytest.mark.parametrize(
    "host", ["evilopenrouter.ai", "openrouter.ai.evil.com", "openrouter.aix", "api.openai.com", ""]
)
def test_a_host_that_only_looks_like_it_is_not(host: str) -> None:
    """Names are matched on the dot."""
    assert DEFAULT.endpoint(Address("https", host)) is None


@pytest.mark.parametrize(
    ("address", "port"),
    [
        (Address("https", "openrouter.ai"), 443),
        (Address("http", "openrouter.ai"), 80),
        (Address("https", "openrouter.ai", 8443), 8443),
        (Address("unix", "openrouter.ai"), 443),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_port_is_the_one_of_the_url_or_of_its_scheme(address: Address, port: int) -> None:
    """`server.port` is always known."""
    endpoint = DEFAULT.endpoint(address)
    assert endpoint is not None
    assert endpoint.port == port


def test_a_host_that_the_user_names_is_taken_for_openrouter() -> None:
    """A proxy passes OpenRouter's usage through."""
    endpoint = Hosts(["llm.corp.example.", "openrouter.ai"]).endpoint(Address("https", "llm.corp.example"))
    assert endpoint == Endpoint("llm.corp.example", 443, "openrouter", is_named=True)


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("my-resource.openai.azure.com", "azure.ai.openai"),
        ("api.x.ai", "x_ai"),
        ("llm.example", "llm.example"),
    ],
)
def test_the_star_records_other_hosts_under_their_own_provider(host: str, provider: str) -> None:
    """The well-known name, else the host; usage is never asked for there."""
    assert Hosts(["*"]).endpoint(Address("https", host)) == Endpoint(host, 443, provider, is_named=False)


def test_beside_the_star_a_named_host_stays_named() -> None:
    """`*` adds hosts; it takes nothing from those named."""
    assert Hosts(["*", "openrouter.ai"]).endpoint(Address("https", "openrouter.ai")) == Endpoint(
        "openrouter.ai", 443, "openrouter", is_named=True
    )


def test_the_star_alone_names_no_host() -> None:
    """Not even OpenRouter's, since what is named is what the user named."""
    endpoint = Hosts(["*"]).endpoint(Address("https", "openrouter.ai"))
    assert endpoint is not None
    assert not endpoint.is_named


class Counting:
    """A URL that counts how often its host is read."""

    scheme, port, reads = "https", None, 0

    @property
    def host(self) -> str:
        """Return a host."""
        self.reads += 1
        return "openrouter.ai"


def test_a_url_is_resolved_once() -> None:
    """A client's base URL is the same object in every call."""
    url = Counting()
    assert DEFAULT.endpoint(url) is DEFAULT.endpoint(url)
    assert url.reads == 1


def test_the_answers_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that makes a client a request grows no memory, and gets right answers still."""
    monkeypatch.setattr(_hosts, "_CACHE_LIMIT", 4)
    hosts = Hosts(["openrouter.ai"])
    urls = [Address("https", f"{number}.openrouter.ai") for number in range(20)]
    assert [hosts.endpoint(url).host for url in urls] == [url.host for url in urls]  # type: ignore[union-attr]
    assert len(hosts._seen) <= 4


def test_the_base_url_of_a_real_client_is_understood() -> None:
    """The SDK's URL type has the three fields that are read."""
    with OpenAI(api_key="sk-or-test", base_url="https://eu.openrouter.ai/api/v1") as client:
        assert DEFAULT.endpoint(client.base_url) == Endpoint("eu.openrouter.ai", 443, "openrouter", is_named=True)


def test_a_host_that_is_not_recorded_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """At debug level, in one line a host, however many clients and calls there are of it."""
    caplog.set_level("DEBUG", "or_instrument")
    hosts = Hosts(["openrouter.ai"])
    for host in ("proxy.example", "Proxy.Example", "openrouter.ai", "api.openai.com", "proxy.example"):
        hosts.endpoint(Address("https", host))
    assert [record.args[0] for record in caplog.records if record.args] == ["proxy.example", "api.openai.com"]
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_the_hosts_told_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An application that calls ever new hosts fills neither memory nor log."""
    monkeypatch.setattr(_hosts, "_CACHE_LIMIT", 4)
    caplog.set_level("DEBUG", "or_instrument")
    hosts = Hosts(["openrouter.ai"])
    for number in range(20):
        hosts.endpoint(Address("https", f"{number}.example"))
    assert len(caplog.records) == 4


@pytest.mark.parametrize(
    ("host", "of"),
    [
        ("openrouter.ai", "openrouter.ai"),
        ("eu.openrouter.ai", "openrouter.ai"),
        ("evilopenrouter.ai", "evilopenrouter.ai"),
        ("gateway.example", "gateway.example"),
    ],
)
def test_an_account_is_one_in_every_region(host: str, of: str) -> None:
    """A key is charged for calls to all of them."""
    assert account_host(host) == of


def test_a_host_is_named_by_its_parts() -> None:
    """What only holds a configured name is found by the quick search, and is none of them all the same."""
    assert DEFAULT.search("openrouter.ai.evil.com")
    assert DEFAULT.named("https", "openrouter.ai.evil.com", None) is None
    assert DEFAULT.named("http", "EU.openrouter.ai.", None) == Endpoint("eu.openrouter.ai", 80, "openrouter", True)
