"""Checks that every registered method must pass, also those of other packages."""

import pytest

from bench.testing import methods

OF_ARITHMETIC = (
    methods.strategies_are_declared_and_give_logits_without_gradient,
    methods.steps_on_one_batch_lower_its_losses,
    methods.same_seed_same_bits_other_seed_other_bits,
    methods.save_load_continue_equals_not_stopping,
    methods.a_batch_of_nan_gives_a_loss_that_is_not_finite,
    methods.a_last_batch_of_one_image_is_a_step_like_others,
    methods.compiled_steps_learn_what_plain_ones_do,
)


@pytest.mark.parametrize("check", methods.CHECKS, ids=lambda check: check.name)
def test_a_method(check, method, hold):
    hold(check, method)


@pytest.mark.slow
@pytest.mark.parametrize(
    "check", [each for each in methods.CHECKS if each.function in OF_ARITHMETIC], ids=lambda check: check.name
)
def test_a_method_in_bfloat16(check, in_half_precision, hold):
    hold(check, in_half_precision)
