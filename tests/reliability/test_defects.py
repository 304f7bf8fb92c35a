import ast

import pytest
from defects import ALL, CONTROL, DEFECTS
from planting import PACKAGES, edited, plant


@pytest.mark.parametrize("defect", [*DEFECTS, CONTROL], ids=lambda defect: defect.key)
def test_a_defect_fits_the_code_and_leaves_it_valid(defect):
    for text in edited(defect).values():
        ast.parse(text)
    assert set(defect.methods) <= set(ALL)


def test_there_are_ten_and_every_method_has_some():
    assert len({defect.key for defect in DEFECTS}) == 10
    assert all(sum(method in defect.methods for defect in DEFECTS) >= 6 for method in ALL)


def test_a_tree_holds_the_packages_with_the_edit(tmp_path):
    defect = DEFECTS[2]
    tree = plant(defect, tmp_path / "tree")
    assert sorted(path.name for path in tree.iterdir()) == sorted(PACKAGES)
    assert "torch.randint(0, classes" in (tree / "baselines" / "forward_forward.py").read_text()
