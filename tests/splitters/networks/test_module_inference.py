"""Accuracy and metrics per class, against scikit-learn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from splitters.networks.inference import accuracy, class_report

_PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@settings(deadline=None)
@given(pairs=_PAIRS)
def test_metrics_per_class_match_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    answers, labels = torch.tensor(pairs).T
    report = class_report(answers, labels, 5)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, answers, labels=range(5), zero_division=0)
    assert report.precision.tolist() == pytest.approx(precision.tolist())
    assert report.recall.tolist() == pytest.approx(recall.tolist())
    assert report.f1.tolist() == pytest.approx(f1.tolist())
    assert accuracy(answers, labels) == pytest.approx(sum(one == other for one, other in pairs) / len(pairs))
