import pytest

from cloud_api.telemetry.metrics import ROUTES_MAX, Metrics


def series(metrics, name):
    """Label text and value of every series of that name."""
    found = {}
    for line in metrics.exposition().decode().splitlines():
        if line.startswith((name + "{", name + " ")):
            key, _, value = line.rpartition(" ")
            found[key.removeprefix(name)] = float(value)
    return found


@pytest.fixture
def metrics():
    return Metrics()


def test_requests_are_counted_by_template_method_and_status(metrics) -> None:
    for status in (200, 200, 404):
        metrics.request_began()
        metrics.request_ended(method="GET", route="/a/{id:uuid}", status=status, seconds=0.003)

    assert series(metrics, "sunaiva_http_requests_total") == {
        '{method="GET",route="/a/{id:uuid}",status="200"}': 2,
        '{method="GET",route="/a/{id:uuid}",status="404"}': 1,
    }
    buckets = series(metrics, "sunaiva_http_request_seconds_bucket")
    assert buckets['{le="0.002",route="/a/{id:uuid}"}'] == 0
    assert buckets['{le="0.005",route="/a/{id:uuid}"}'] == 3


def test_a_request_on_its_way_is_in_progress(metrics) -> None:
    metrics.request_began()
    metrics.request_began()
    metrics.request_ended(method="GET", route="/", status=200, seconds=0.1)

    assert series(metrics, "sunaiva_http_requests_in_progress") == {"": 1}


def test_strange_methods_and_too_many_routes_are_one_series_each(metrics) -> None:
    for number in range(ROUTES_MAX + 50):
        metrics.request_began()
        metrics.request_ended(method=f"M{number}", route=f"/{number}", status=200, seconds=0.1)

    counted = series(metrics, "sunaiva_http_requests_total")
    assert len(counted) == ROUTES_MAX + 1
    assert counted['{method="other",route="other",status="200"}'] == 50


def test_pool_jobs_and_mails_have_a_closed_set_of_states(metrics) -> None:
    metrics.observe_pool(
        {"pool_size": 10, "pool_available": 4, "requests_waiting": 2, "usage_ms": 9}
    )
    metrics.observe_jobs({"todo": 3, "invented": 9})
    metrics.mail_ended("sent")

    assert series(metrics, "sunaiva_database_pool_connections") == {
        '{state="open"}': 10,
        '{state="free"}': 4,
        '{state="waiting"}': 2,
    }
    jobs = series(metrics, "sunaiva_jobs")
    assert jobs['{state="todo"}'] == 3
    assert '{state="invented"}' not in jobs
    assert series(metrics, "sunaiva_mails_total") == {'{outcome="sent"}': 1}
