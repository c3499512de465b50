"""Fan-out as Prefect tasks: order, retries, and errors that are not worth one."""

from pathlib import Path

import pytest
from prefect import flow, task

from flows.adapters import mapper
from tessera_core.errors import SceneError

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper, "TILE_RETRY_DELAYS_S", [0.0, 0.0])


def test_results_come_in_the_order_of_the_items() -> None:
    @flow
    def run() -> list[str]:
        return mapper.map_as_tasks("tile", lambda path: path.name, [Path("b"), Path("a")])

    assert run() == ["b", "a"]


def test_a_stage_task_may_fan_out_inside() -> None:
    @task
    def stage() -> list[int]:
        return mapper.map_as_tasks("tile", lambda item: item * 2, range(5))

    @flow
    def run() -> list[int]:
        return stage()

    assert run() == [0, 2, 4, 6, 8]


def test_a_passing_fault_is_tried_again() -> None:
    calls: list[int] = []

    def flaky(item: int) -> int:
        calls.append(item)
        if len(calls) < 3:
            raise OSError("the disk blinked")
        return item

    @flow
    def run() -> list[int]:
        return mapper.map_as_tasks("tile", flaky, [7])

    assert run() == [7]
    assert calls == [7, 7, 7]


def test_bad_input_is_not_tried_again_and_comes_out_as_it_is() -> None:
    calls: list[int] = []

    def broken(item: int) -> int:
        calls.append(item)
        raise SceneError("masks.npy is missing")

    @flow
    def run() -> list[int]:
        return mapper.map_as_tasks("tile", broken, [1])

    with pytest.raises(SceneError, match=r"masks\.npy is missing"):
        run()
    assert calls == [1]
