import shutil
from dataclasses import dataclass

import pytest
import torch
from command_line import run_cells_here
from factories import record

from bench import records, studies, suites
from bench.errors import UserError
from bench.options import RunOptions
from bench.running import local
from bench.studies import skipping

TOML = """
description = "Two gated networks and one without gates"
tasks = ["digits"]
seeds = 1
epochs = 1
batch_size = 128
loader = "memory"
train_samples = 256
[start]
method = "bas"
settings = { architecture = "cifar-8", gating = "none" }
epochs = 1
[methods.conv-aig]
architecture = "cifar-8"
[methods.bas]
architecture = "cifar-8"
[sweep.bas]
gating = ["none", "channels"]
"""


@dataclass
class Silent:
    def cell_started(self, cell, index, total):
        pass

    def cell_event(self, cell, event):
        pass

    def cell_finished(self, cell, outcome):
        assert outcome.problem is None


def cells(folder):
    (folder / "gates.toml").write_text(TOML)
    return suites.cells(suites.load(str(folder / "gates.toml")), suites.Overrides(threads=1))


def run(expanded, out, **options):
    out.mkdir(exist_ok=True)
    return local.run_cells(expanded, RunOptions("gates", out=out, **options), watcher=Silent())


def study(out, folder, samples=100, **options):
    return studies.run(
        "skipping", studies.Request(None, samples, 0, None), folder, {"runs": str(out), "rounds": 2, **options}
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skipping")
    with pytest.MonkeyPatch.context() as patch:
        run_cells_here(patch)
        outcomes = run(cells(folder), folder / "runs", keep=True)
    assert {outcome.record.status for outcome in outcomes} == {"ok"}
    return folder / "runs"


@pytest.mark.slow
def test_every_network_beside_the_whole_one(kept, tmp_path):
    found, figures = study(kept, tmp_path, batch_size=50, threads=1)
    assert [path.name for path in figures] == ["skipping.png"]
    assert len(found.rows) == 3  # the start, a whole network too, is no point of its own
    lines = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert [line["network"] for line in lines] == ["bas gating=none", "bas gating=channels", "conv-aig"]
    assert lines[0]["MACs x whole"] == lines[0]["time x whole"] == 1
    assert all(0 < line["MACs x whole"] < 1.05 for line in lines[1:])
    assert all(line["time x whole"] > 0 and line["ms per image"] > 0 for line in lines)
    assert any(note.startswith("bas gating=none, seed 0, relative to itself: ") for note in found.notes)


def test_records_of_gated_networks_hold_how_often_every_block_ran_after_each_epoch(kept):
    for one in (found.record for found in skipping.find(kept)):
        opened = [epoch.layer_means.get("open") for epoch in one.epochs]
        if one.cell.settings.get("gating") == "none":
            assert opened == [None]
        else:
            assert [len(shares) for shares in opened] == [3]
            assert all(0 <= share <= 1 for share in opened[0])


def test_networks_predict_as_their_cells_have_left_them(kept):
    for one in skipping.find(kept):
        spec = one.record.cell
        with skipping.parts.data(spec, None) as data:
            learner = skipping.restored(one, torch.device("cpu"))
            right = sum(
                int((learner.predict(images, "logits").argmax(1) == labels).sum())
                for images, labels in data.test.epoch(0)
            )
            assert 100 * right / data.test.samples == pytest.approx(one.record.strategies[0].accuracy)


@pytest.mark.slow
def test_finished_cells_that_kept_nothing_run_again(kept, tmp_path):
    expanded = cells(tmp_path)[1:2]
    again = run(expanded, kept, keep=True)
    assert [outcome.reused for outcome in again] == [True]
    (kept / expanded[0].id / records.LEARNED_FILE).rename(tmp_path / "aside")
    assert [outcome.reused for outcome in run(expanded, kept)] == [True]
    assert [outcome.reused for outcome in run(expanded, kept, keep=True)] == [False]
    assert (kept / expanded[0].id / records.LEARNED_FILE).is_file()


def test_images_are_of_all_places_and_each_once(kept):
    spec = skipping.find(kept)[0].record.cell
    with skipping.parts.data(spec, None) as data:
        every = torch.cat([images for images, _ in data.test.epoch(0)])
        drawn = skipping._drawn(data.test, 100, 0)
        places = [int((every == image).flatten(1).all(1).nonzero()[0]) for image in drawn]
        assert places == sorted(set(places))
        assert places[-1] > 400
        assert not torch.equal(drawn, skipping._drawn(data.test, 100, 1))
        assert torch.equal(every, skipping._drawn(data.test, len(every), 0))


def test_a_start_alone_is_nothing_to_compare(kept, tmp_path):
    for spec in cells(tmp_path):
        shutil.copytree(kept / spec.id, tmp_path / "runs" / spec.id)
        if spec.start is not None:
            (tmp_path / "runs" / spec.id / records.LEARNED_FILE).unlink()
    with pytest.raises(UserError, match="has kept its weights"):
        skipping.find(tmp_path / "runs")


def test_of_several_suites_one_is_chosen(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "runs")
    other = skipping.find(kept)[-1].record
    path = tmp_path / "runs" / other.id / records.RECORD_FILE
    records.write(path, other.model_copy(update={"suite": "others"}))
    with pytest.raises(UserError, match=r"has several suites \(gates, others\): choose by --set suite=NAME"):
        skipping.find(tmp_path / "runs")
    assert len(skipping.find(tmp_path / "runs", suite="gates")) == 2


def test_networks_of_other_code_are_noted(kept):
    found = skipping.find(kept)
    assert skipping._other_code(found) == []
    code = found[0].record.code.model_copy(update={"computation": "other"})
    old = skipping.Kept("old", found[0].record.model_copy(update={"code": code}), found[0].folder)
    assert skipping._other_code([old, *found]) == ["1 of 4 networks were trained by a different version of the code"]


def test_a_cell_that_diverged_is_not_run_again_for_what_it_cannot_keep(kept, tmp_path):
    [expanded] = cells(tmp_path)[1:2]
    shutil.copytree(kept / expanded.id, tmp_path / "runs" / expanded.id, ignore=shutil.ignore_patterns("*.pt"))
    path = tmp_path / "runs" / expanded.id / records.RECORD_FILE
    diverged = records.read(path).model_copy(update={"status": "diverged"})
    records.write(path, diverged)
    [outcome] = run([expanded], tmp_path / "runs", keep=True)
    assert outcome.reused


def test_what_is_missing_is_one_sentence(kept, tmp_path):
    with pytest.raises(UserError, match=r"folder of runs .* does not exist"):
        study(tmp_path / "nowhere", tmp_path)
    with pytest.raises(
        UserError, match=r"no cell in .* has kept its weights; `bench run SUITE --keep` makes such cells"
    ):
        study(tmp_path, tmp_path)
    with pytest.raises(UserError, match="--samples 5000 is more than the 500 test images there are"):
        study(kept, tmp_path, samples=5000)
    with pytest.raises(UserError, match="device 'tpu' is not"):
        study(kept, tmp_path, device="tpu")


@pytest.mark.slow
def test_a_damaged_file_is_named(kept, tmp_path):
    one = skipping.find(kept)[0]
    file = one.folder / records.LEARNED_FILE
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-100])
        with pytest.raises(UserError, match=r"learned.pt is damaged; delete it and run `bench run --keep` again"):
            study(kept, tmp_path)
    finally:
        file.write_bytes(content)


def test_networks_that_all_skip_have_nothing_to_stand_beside(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(skipping, "_is_whole", lambda _: False)
    with pytest.raises(UserError, match=r"no network in .* always runs all layers"):
        study(kept, tmp_path)


def test_a_file_of_other_code_is_named(kept):
    one = skipping.find(kept)[0]
    other = record("bas", settings={"architecture": "cifar-14", "gating": "none"}, task="digits")
    with pytest.raises(UserError, match="does not fit this version of bas"):
        skipping.restored(skipping.Kept("other", other, one.folder), torch.device("cpu"))
