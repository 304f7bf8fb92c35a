from types import SimpleNamespace

import pytest
import torch

from bench.errors import UserError
from bench.measure import clock, environment, layers, noise
from bench.measure.energy import ProcessorEnergy
from bench.records import Noise


def test_rate_leaves_out_the_first_segment():
    rate = clock.rate([100, 100, 100, 100], [100.0, 1.0, 2.0, 4.0], [True, False, False, False])
    assert (rate.median, rate.minimum) == (50.0, 25.0)
    assert rate.iqr == pytest.approx(75.0 - 37.5)


def test_the_only_segment_has_to_serve():
    assert clock.rate([100], [4.0], [False]) == clock.Rate(25.0, 25.0, 0.0, noisy=False)


def test_noisy_segments_count_only_where_there_are_no_others():
    seconds = [9.0, 1.0, 2.0, 4.0]
    assert clock.rate([100] * 4, seconds, [False, False, True, True]) == clock.Rate(100.0, 100.0, 0.0, noisy=False)
    disturbed = clock.rate([100] * 4, seconds, [False, True, True, True])
    assert (disturbed.median, disturbed.noisy) == (50.0, True)


def reading(pressure):
    return Noise(cpu_pressure=pressure, steal=0.0, noisy=pressure > 20)


def test_a_quiet_run_is_kept_before_a_noisy_one_with_less_of_one_disturbance(monkeypatch):
    monkeypatch.delenv("BENCH_TRIES", raising=False)
    readings = iter([Noise(cpu_pressure=21.0, steal=0.0, noisy=True), Noise(cpu_pressure=18.0, steal=4.9, noisy=False)])
    monkeypatch.setattr(noise.NoiseMeter, "read", lambda self: next(readings))
    assert not noise.quietest(lambda: None)[1].noisy


@pytest.mark.parametrize(
    ("pressures", "expected", "runs"), [([5.0], 0, 1), ([50.0, 10.0], 1, 2), ([90.0, 40.0, 60.0, 1.0], 1, 3)]
)
def test_a_disturbed_segment_is_repeated_and_the_quietest_kept(monkeypatch, pressures, expected, runs):
    monkeypatch.delenv("BENCH_TRIES", raising=False)
    readings, segments = iter(pressures), iter(range(9))
    monkeypatch.setattr(noise.NoiseMeter, "read", lambda self: reading(next(readings)))
    result, found = noise.quietest(lambda: next(segments))
    assert (result, found.cpu_pressure) == (expected, pressures[expected])
    assert next(segments) == runs


def test_how_often_is_for_the_user_to_say(monkeypatch):
    monkeypatch.setattr(noise.NoiseMeter, "read", lambda self: reading(90.0))
    segments = iter(range(9))
    monkeypatch.setenv("BENCH_TRIES", "1")
    assert noise.quietest(lambda: next(segments))[0] == 0
    assert next(segments) == 1
    monkeypatch.setenv("BENCH_TRIES", "none")
    with pytest.raises(UserError, match="BENCH_TRIES must be a number from 1, got 'none'"):
        noise.quietest(lambda: None)


def test_environment_says_what_decides_speed_and_last_bits():
    here = environment.environment(torch.device("cpu"))
    assert here.torch == torch.__version__
    assert here.threads == torch.get_num_threads()
    assert here.gpu is None
    assert here.cpu


def test_code_has_a_fingerprint_of_its_sources():
    code = environment.code()
    assert len(code.fingerprint) == 16
    assert code.commit is None or len(code.commit) == 40


def test_noise_from_the_systems_counters(monkeypatch, tmp_path):
    pressure, stat = tmp_path / "pressure", tmp_path / "stat"
    monkeypatch.setattr(noise, "_PRESSURE", pressure)
    monkeypatch.setattr(noise, "_STAT", stat)
    clock_values = iter([0.0, 10.0])
    monkeypatch.setattr(noise.time, "monotonic", lambda: next(clock_values))
    pressure.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0 total=0\n")
    stat.write_text("cpu  100 0 100 800 0 0 0 0 0 0\n")
    meter = noise.NoiseMeter()
    pressure.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=4000000\nfull avg10=0 total=0\n")
    stat.write_text("cpu  150 0 150 890 0 0 0 10 0 0\n")
    reading = meter.read()
    assert reading.cpu_pressure == pytest.approx(30.0)  # 3 s of 10 s
    assert reading.steal == pytest.approx(5.0)  # 10 of 200 ticks
    assert reading.noisy


def test_noise_that_cannot_be_read_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(noise, "_PRESSURE", tmp_path / "none")
    monkeypatch.setattr(noise, "_STAT", tmp_path / "none")
    reading = noise.NoiseMeter().read()
    assert (reading.cpu_pressure, reading.steal, reading.noisy) == (None, None, False)


def test_energy_from_a_counter_that_ran_over(tmp_path):
    for package, before in (("intel-rapl:0", "5000000"), ("intel-rapl:1", "9000000")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "energy_uj").write_text(before)
        (tmp_path / package / "max_energy_range_uj").write_text("10000000")
    counter = ProcessorEnergy(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("7000000")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000000")
    assert counter.joules() == pytest.approx(2.0 + 2.0)
    assert counter.note is None


def test_no_energy_counter_says_so(tmp_path):
    counter = ProcessorEnergy(tmp_path)
    assert counter.joules() is None
    assert counter.note == "no energy counter on this machine"


def test_what_layers_have_to_show_and_its_means():
    learner = SimpleNamespace(layer_values=lambda batches: {"gamma": [torch.tensor([1.0, 3.0]), torch.tensor([5.0])]})
    shown = layers.values(learner, [])
    assert shown == {"gamma": [[1.0, 3.0], [5.0]]}
    assert layers.means(shown) == {"gamma": [2.0, 5.0]}
    assert layers.values(SimpleNamespace(), []) == {}
