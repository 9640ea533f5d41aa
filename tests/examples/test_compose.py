"""The files that bring up Grafana, Prometheus, Jaeger and the collector: valid, pinned, and fitting each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_server import EXAMPLES

from or_instrument._telemetry import names

yaml = pytest.importorskip("yaml")

COST_BAND = "openrouter.cost.band"
"""The tag that the collector adds."""
FLEET = ["collector.yaml", "collector-fleet.yaml"]


def load(path: str) -> dict[str, Any]:
    """Return a YAML file of the examples."""
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / path).read_text())
    return loaded


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one configuration over another as the collector does: maps are merged, all else is replaced."""
    both = {key: merged(below[key], value) for key, value in above.items() if isinstance(below.get(key), dict)}
    return {**below, **above, **both}


def collector(*paths: str) -> dict[str, Any]:
    """Return the configuration that these files add up to."""
    config: dict[str, Any] = {}
    for path in paths:
        config = merged(config, load(path))
    return config


def mounts() -> Iterator[tuple[str, str, str]]:
    """Return service, own path and path in the container of every mounted file."""
    for name, service in load("compose.yaml")["services"].items():
        for volume in service.get("volumes", []):
            source, target, mode = volume.split(":")
            assert mode == "ro"
            yield name, source, target


def test_compose_file_follows_the_specification() -> None:
    """A parser of the Compose Specification accepts the file and what it refers to."""
    compose_spec = pytest.importorskip("compose_spec")

    compose_spec.PyCompose.from_yaml((EXAMPLES / "compose.yaml").read_text()).validate()


def test_images_are_pinned() -> None:
    """Every image has a full version as its tag."""
    for service in load("compose.yaml")["services"].values():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])


def test_ports_are_open_to_this_machine_only() -> None:
    """Grafana lets anyone in as administrator, so nobody else may reach it."""
    ports = [port for service in load("compose.yaml")["services"].values() for port in service["ports"]]

    assert {"127.0.0.1:3000:3000", "127.0.0.1:4318:4318", "127.0.0.1:16686:16686"} <= set(ports)
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_dependencies_are_services() -> None:
    """What a service waits for is there."""
    services = load("compose.yaml")["services"]

    assert {name for service in services.values() for name in service.get("depends_on", [])} <= set(services)


def test_mounted_files_are_there() -> None:
    """Every file or folder that a container is given exists."""
    found = list(mounts())

    assert len(found) >= 4
    assert [source for _, source, _ in found if not (EXAMPLES / source).exists()] == []


def test_containers_read_what_is_mounted() -> None:
    """The paths on the command lines and in Grafana's provisioning are those where the files are mounted."""
    services = load("compose.yaml")["services"]
    targets = {(name, target) for name, _, target in mounts()}
    (provider,) = load("grafana/provisioning/dashboards/dashboards.yaml")["providers"]
    dashboard = f"{provider['options']['path']}/openrouter-cost.json"

    assert services["collector"]["command"] == ["--config=/etc/collector.yaml"]
    assert ("collector", "/etc/collector.yaml") in targets
    assert "--config.file=/etc/prometheus/prometheus.yml" in services["prometheus"]["command"]
    assert ("prometheus", "/etc/prometheus") in targets
    assert ("grafana", dashboard) in targets
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard


def test_data_sources_are_services() -> None:
    """Grafana's data sources lead to services of the compose file, and traces to Jaeger's."""
    services = load("compose.yaml")["services"]
    sources = {source["uid"]: source for source in load("grafana/provisioning/datasources/sources.yaml")["datasources"]}
    (exemplars,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]

    assert {urlsplit(source["url"]).hostname for source in sources.values()} <= set(services)
    assert exemplars["datasourceUid"] in sources


def test_dashboard_fits_the_provisioned_data_source() -> None:
    """The dashboard lets choose among data sources of the provisioned kind."""
    variables = json.loads((EXAMPLES / "grafana" / "openrouter-cost.json").read_text())["templating"]["list"]
    kinds = {source["type"] for source in load("grafana/provisioning/datasources/sources.yaml")["datasources"]}

    assert next(v["query"] for v in variables if v["type"] == "datasource") in kinds


@pytest.mark.parametrize("paths", [FLEET[:1], FLEET], ids=["one-machine", "fleet"])
def test_pipelines_are_made_of_what_is_defined(paths: list[str]) -> None:
    """Every receiver, processor and exporter of a pipeline is configured."""
    config = collector(*paths)

    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert pipeline[kind]
            assert set(pipeline[kind]) <= set(config[kind])


def test_every_call_goes_to_clickhouse() -> None:
    """No sampling is in its way, and no other spans than ours come there."""
    config = collector(*FLEET)
    (pipeline,) = [p for p in config["service"]["pipelines"].values() if p["exporters"] == ["clickhouse"]]

    assert pipeline["processors"] == ["memory_limiter", "filter/calls", "batch"]
    assert config["processors"]["filter/calls"]["traces"]["span"] == ['instrumentation_scope.name != "or_instrument"']
    assert "clickhouse" not in config["service"]["pipelines"]["traces"]["exporters"]


def test_nothing_in_the_collector_is_unused() -> None:
    """Every component that is configured works in a pipeline."""
    config = collector("collector.yaml")

    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in config["service"]["pipelines"].values() for name in pipeline[kind]}
        assert used == set(config[kind])


def test_memory_is_limited_first_and_batches_made_last() -> None:
    """The order that the collector's own documentation asks for."""
    for pipeline in collector("collector.yaml")["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"][-1] == "batch"


def test_exporters_lead_to_services() -> None:
    """The collector sends traces and metrics to services of the compose file."""
    services = load("compose.yaml")["services"]
    hosts = {re.sub(r"^\w+://", "", e["endpoint"]).split(":")[0] for e in load("collector.yaml")["exporters"].values()}

    assert hosts == {"jaeger", "prometheus"}
    assert hosts <= set(services)
    assert "--web.enable-otlp-receiver" in services["prometheus"]["command"]


def test_sampling_keeps_errors_and_expensive_calls() -> None:
    """Traces with an error or an expensive call are kept whatever share of the rest is."""
    policies = {p["name"]: p for p in load("collector.yaml")["processors"]["tail_sampling"]["policies"]}

    assert policies["errors"]["status_code"]["status_codes"] == ["ERROR"]
    assert names.SPEND in policies["expensive-calls"]["ottl_condition"]["span"][0]
    assert policies["the-rest"]["type"] == "probabilistic"


def test_collector_asks_for_attributes_that_we_write() -> None:
    """No condition of the collector names an attribute that no span carries."""
    asked = set(re.findall(r'attributes\["(.*?)"\]', (EXAMPLES / "collector.yaml").read_text()))

    assert asked == {names.SPEND, COST_BAND}
