from __future__ import annotations

import pytest

from benchmarks.hot_requests import read
from tests.services.processes import ServiceError

WRK = """\
Running 1s test @ http://127.0.0.1:8000/api/v1/issues
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    18.40ms    3.10ms  40.11ms   75.00%
    Req/Sec   430.00     20.00   470.00     70.00%
  Latency Distribution
     50%  850.00us
     75%   19.80ms
     90%   22.00ms
     99%    1.25s
  870 requests in 1.00s, 1.02MB read
Requests/sec:    868.12
Transfer/sec:      1.02MB
"""


def test_rates_and_latencies_are_read_in_one_unit() -> None:
    assert read(WRK) == {"per_s": 868.12, "p50_ms": 0.85, "p99_ms": 1250.0}


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 3", "  Socket errors: connect 0, read 1, write 0, timeout 0"]
)
def test_a_load_with_failed_requests_has_no_figure(line: str) -> None:
    with pytest.raises(ServiceError, match=line.strip()):
        read(WRK.replace("Requests/sec:", f"{line}\nRequests/sec:"))


def test_what_wrk_did_not_measure_is_an_error() -> None:
    with pytest.raises(ServiceError):
        read("unable to connect")
