"""The one loop behind predictions: each answer at its place, in any threads and batches; errors that stop nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from leukoscope.errors import ImageError, LeukoscopeError
from leukoscope.predict.batches import BATCH, Picture, predict_pictures, reason_of

PIXELS = np.arange(40, dtype=np.uint8)[:, None, None] + np.zeros((40, 12, 3), np.uint8)


def boxed(place: int, y: int, height: int = 2) -> tuple[int, dict]:
    return place, {"image": "field.png", "cell_id": str(place), "x": 0, "y": y, "width": 12, "height": height}


def mean_level(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    level = cells.reshape(len(cells), -1).mean(1)
    return np.stack([level, -level], 1), 100 + level


def two_ways(row: dict, pixels: np.ndarray) -> tuple[list[np.ndarray], str]:
    """A cell as it is, and 100 levels lighter."""
    return [pixels, pixels + np.uint8(100)], row["cell_id"]


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("batch", [0, 1, 3, 1000])
def test_every_cell_has_its_answers_at_its_place(parallel, batch):
    """Three images with many cells, no cell and one; places in no order."""
    places = np.random.default_rng(0).permutation(38).tolist()
    pictures = [Picture(lambda: PIXELS, [boxed(place, place) for place in places[:37]]),
                Picture(lambda: PIXELS, []), Picture(lambda: PIXELS, [boxed(places[37], places[37])])]
    progress: list[tuple[int, int]] = []
    answers = predict_pictures(pictures, two_ways, mean_level, parallel=parallel, ways=2, batch=batch, total=38,  # type: ignore
                               on_progress=lambda done, total: progress.append((done, total)))
    levels = np.arange(38) + 0.5
    np.testing.assert_allclose(answers.probabilities[:, :, 0], [levels, levels + 100])
    np.testing.assert_allclose(answers.energies, [levels + 100, levels + 200])
    assert answers.notes == [str(place) for place in range(38)]
    assert answers.errors == {}
    assert progress == [(n, 38) for n in range(1, 39)]


def test_the_caller_answers_where_several_threads_may_not():
    threads = set()

    def answer(cells: np.ndarray) -> tuple[np.ndarray, None]:
        threads.add(threading.current_thread())
        return np.ones((len(cells), 1)), None

    pictures = [Picture(lambda: PIXELS, [boxed(place, 0)]) for place in range(100)]
    assert np.isnan(predict_pictures(pictures, two_ways, answer, parallel=False, ways=2).energies).all()  # type: ignore
    assert threads == {threading.current_thread()}
    threads.clear()
    predict_pictures(pictures, two_ways, answer, parallel=True, ways=2)  # type: ignore
    assert threading.current_thread() not in threads


def test_errors_are_listed_by_place_or_raised():
    def broken() -> np.ndarray:
        raise ImageError("torn.png", "is torn", "repair it")

    def look(row: dict, pixels: np.ndarray) -> tuple[list[np.ndarray], None]:
        if row["cell_id"] == "2":
            raise LeukoscopeError("too small", "give larger images")
        return [pixels], None

    pictures = [Picture(broken, [boxed(0, 0), boxed(1, 0)]),
                Picture(lambda: PIXELS, [boxed(2, 0), boxed(3, 3), boxed(4, 90)])]
    answers = predict_pictures(pictures, look, mean_level, parallel=True)  # type: ignore
    reasons = {place: reason_of(error) for place, error in sorted(answers.errors.items())}
    assert {place: reasons[place] for place in (0, 1, 2)} == {0: "is torn", 1: "is torn", 2: "too small"}
    assert "outside the image" in reasons[4]
    assert np.isnan(answers.probabilities[0, :, 0]).tolist() == [True, True, True, False, True]
    with pytest.raises(ImageError, match=r"torn\.png: is torn"):
        predict_pictures(pictures, look, mean_level, parallel=True, strict=True)  # type: ignore
    nothing = predict_pictures(pictures[:1], look, mean_level, parallel=True, classes=2)  # type: ignore
    assert nothing.probabilities.shape == (1, 2, 2)
    assert predict_pictures([], look, mean_level, parallel=False, classes=2).probabilities.shape == (1, 0, 2)  # type: ignore


def test_few_pictures_are_taken_ahead_and_none_after_an_error():
    taken = []

    def pictures() -> Iterator[Picture]:
        for place in range(100 * BATCH):
            taken.append(place)
            yield Picture(lambda: PIXELS, [boxed(place, 0)])

    def answer(cells: np.ndarray) -> tuple[np.ndarray, None]:
        raise RuntimeError("the network broke")

    with pytest.raises(RuntimeError, match="the network broke"):
        predict_pictures(pictures(), two_ways, answer, parallel=False, ways=2)  # type: ignore
    assert len(taken) <= 20 * BATCH
