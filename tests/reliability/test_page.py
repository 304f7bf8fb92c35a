from page import PAGE, TIERS, alarms_table, defects_table, with_tables


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
