from page import PAGE, TIERS, alarms_table, defects_table, detected_table, drops_table, seeds_table, with_tables


def test_the_page_is_made_from_the_kept_results():
    assert with_tables(PAGE.read_text()) == PAGE.read_text()


def found(**by_tier):
    return {tier: {"verdict": by_tier.get(tier.replace(", ", "_").replace(" ", "_"), "ok")} for tier in TIERS}


def test_a_defect_counts_as_caught_if_it_is_in_every_method_that_has_it():
    results = {
        "one": {"title": "One", "methods": {"asge": found(accuracy="regression"), "ff": found(accuracy="regression")}},
        "two": {"title": "Two", "methods": {"asge": found(golden_same_machine="losses differ"), "ff": found()}},
        "control": {"title": "None", "methods": {"asge": found(golden_same_machine="losses differ")}},
    }
    text = defects_table(results)
    assert "| One | asge, ff | - | - | - | - | all | yes |" in text
    assert "| Two | asge, ff | asge | - | - | - | - | asge |" in text
    assert "| None | asge | all | - | - | - | - | no defect |" in text
    assert "1 of 2 defects** on a machine like the references', 1 of 2 on any other." in text


def test_alarms_are_counted_beside_the_promise():
    text = alarms_table(
        {
            "suites": 1000,
            "alarms": 20,
            "failures": 1,
            "alarms by row": {"asge/last": 5, "ff/softmax": 15},
            "memory": {"ok": 4000},
            "speed": {"ok": 990, "slower": 10, "not compared": 7},
            "slower by method": {"ff": 10},
        }
    )
    assert "| 1,000 | 20 (2.00 %) | 1 (0.10 %) | 1 % |" in text
    assert "Alarms by row: ff/softmax 15, asge/last 5." in text
    assert "Memory was compared 4,000 times, with 0 alarms" in text
    assert "Speed was compared 1,000 times, with 10 alarms (10 of ff); 7 times it was not" in text


SEEDS = {
    "draws": 10_000,
    "repeated": 0.9,
    "suites": {
        "ci": {
            "healthy": {
                "normal": {"before": {"alarms": 90, "failures": 30}, "after": {"alarms": 2500, "failures": 0}}
            },
            "detected": {"normal": {"before": 3.25, "after": None}},
            "drops": {
                "ff/softmax": {
                    "deviation": 0.5, "repeats": 3, "before": None, "nothing repeats": 1.0, "most repeats": 0.25,
                    "after": 0.5,
                }
            },
        }
    },
}  # fmt: skip


def test_simulated_seeds_are_shown_with_their_error():
    # 2 * sqrt(0.25 * 0.75 / 10,000) = 0.87 %
    line = "| normal | 0.30 % ± 0.11 % | 0.00 % ± 0.00 % | 25.00 % ± 0.87 % |"
    assert line in seeds_table(SEEDS)
    assert "| normal | 3.2 | - |" in detected_table(SEEDS)


def test_drops_are_shown_row_by_row():
    text = drops_table(SEEDS)
    assert "| ci | ff/softmax | 0.50 | - | 0.50 | 1.00 | 0.25 |" in text
    assert "if 90 % repeats |" in text
    assert "Repeated seeds that the references hold: `ci` 3 per row." in text
