from bench.reference import published


def test_published_accuracies_by_method_and_task():
    assert published.accuracy("asge", "fashion-mnist") == 93.41
    assert published.accuracy("cwc", "cifar100") == 51.23
    assert published.accuracy("ff", "mnist") == 98.64


def test_where_nothing_comparable_is_published():
    assert published.accuracy("asge", "digits") is None
    assert published.accuracy("backprop", "mnist") is None
    assert published.accuracy("unheard-of", "mnist") is None
