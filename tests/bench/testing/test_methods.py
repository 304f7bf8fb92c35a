"""Each check fails for a method that breaks what it is about, and says what was expected and what was found."""

from dataclasses import dataclass
from types import FunctionType

import pytest
import torch
import torch.nn.functional as F

from bench import registry
from bench.errors import UserError
from bench.methods import settings
from bench.plugins import Examination
from bench.testing import METHOD_CHECKS, CheckFailed, NotOffered, SmallMethod, check_method


@dataclass(frozen=True, kw_only=True)
class Settings:
    learning_rate: float = 0.02


class Toy:
    """Two linear layers that each learn to classify, on the pixels and on random features of them, with all hooks."""

    strategies = ("last",)

    def __init__(self, task, settings, budget, device, generator):
        self.rate, self.device, self.on_layer = settings.learning_rate, device, None
        self.kernel = torch.randn(32, 64, generator=generator).to(device) / 8
        self.weights = [torch.zeros(10, size, device=device, requires_grad=True) for size in (64, 32)]

    def begin_epoch(self, epoch):
        pass

    def features(self, images):
        return [images.flatten(1), F.relu(images.flatten(1) @ self.kernel.T)]

    def train_step(self, images, labels):
        losses = {}
        for number, (features, weight) in enumerate(zip(self.features(images), self.weights, strict=True)):
            loss = F.cross_entropy(features @ weight.T, labels)
            [gradient] = torch.autograd.grad(loss, [weight])
            weight.data -= self.rate * gradient
            losses[f"layer{number}"] = loss.detach()
            if self.on_layer is not None:
                self.on_layer()
        return losses

    def finish(self, validation):
        pass

    @torch.no_grad()
    def layer_logits(self, images):
        return [features @ weight.T for features, weight in zip(self.features(images), self.weights, strict=True)]

    def predict(self, images, strategy):
        return self.layer_logits(images)[-1]

    def layer_goodness(self, images):
        return [features.square().mean() for features in self.features(images)]

    def examine(self, images):
        return Examination(
            {"last": self.predict(images, "last")}, self.layer_logits(images), self.layer_goodness(images)
        )

    def choose_layer(self, accuracies):
        return {"last": accuracies[-1]}

    def compile(self, backend="inductor"):
        pass

    def layer_values(self, validation):
        return {"norm": [weight.detach().norm(dim=1) for weight in self.weights]}

    def executed_macs(self, images):
        return 1.0 + (images.flatten(1) > 0).sum(1)

    def executed_layers(self, images):
        return torch.ones(len(images), 2)

    def begin_with(self, state):
        if "weights" not in state:
            raise ValueError("it is the state of another network")
        self.load_state_dict(state)

    def parameters(self, strategy=None):
        yield from self.weights if strategy is None else [self.weights[-1], self.kernel]

    def state_dict(self):
        return {"kernel": self.kernel, "weights": [weight.detach().clone() for weight in self.weights]}

    def load_state_dict(self, state):
        self.kernel.copy_(state["kernel"])
        for weight, value in zip(self.weights, state["weights"], strict=True):
            weight.data.copy_(value)


def method_of(learner, **changes):
    def says(settings):
        return "words"

    parts = {
        "Settings": Settings, "strategies": ("last",), "build": learner, "between": staticmethod(says),
        "published": staticmethod(lambda settings: [("Toy", "plain")]),
    }  # fmt: skip
    return type("ToyMethod", (), {name: part for name, part in {**parts, **changes}.items() if part is not None})


@pytest.fixture
def register(monkeypatch):
    def register(method):
        monkeypatch.setattr(registry, "load", lambda group, kind, name: method)

    return register


def failures(results):
    return {result.check: result.reason for result in results if result.status == "failed"}


def test_a_method_with_all_hooks_passes_all(register):
    register(method_of(Toy))
    results = check_method("toy")
    assert [result.check for result in results] == [check.name for check in METHOD_CHECKS]
    assert {result.check: result.reason for result in results if result.status != "passed"} == {}


def test_what_is_not_offered_is_skipped_with_the_reason(register):
    class Plain(Toy):
        layer_goodness = examine = choose_layer = layer_values = executed_macs = executed_layers = begin_with = (
            property()
        )
        compile = property()

        def __init__(self, *given):
            super().__init__(*given)
            del self.on_layer

        def train_step(self, images, labels):
            self.on_layer = None
            losses = super().train_step(images, labels)
            del self.on_layer
            return losses

    register(method_of(Plain, between=None, published=None))
    skipped = {result.reason for result in check_method("toy") if result.status == "skipped"}
    assert skipped == {
        "the method has no published",
        "the method has no between, optimiser or family",
        "the learner has no examine",
        "the learner has no choose_layer",
        "the learner has no on_layer",
        "the learner has no layer_values",
        "the learner has no executed_macs and no executed_layers",
        "the learner has no begin_with",
        "the learner has no compile",
    }


class WrongShape(Toy):
    def predict(self, images, strategy):
        return super().predict(images, strategy)[:, :9]


class WithGradient(Toy):
    def predict(self, images, strategy):
        return self.features(images)[-1] @ self.weights[-1].T


class OtherStrategies(Toy):
    strategies = ("last", "first")


class LearnsNothing(Toy):
    def train_step(self, images, labels):
        self.rate = 0.0
        return super().train_step(images, labels)


class AttachedLoss(Toy):
    def train_step(self, images, labels):
        return {key: loss + self.weights[0].sum() for key, loss in super().train_step(images, labels).items()}


class AlwaysTheSame(Toy):
    def __init__(self, *given):
        super().__init__(*given[:-1], torch.Generator().manual_seed(0))


class GlobalSeed(Toy):
    def __init__(self, *given):
        super().__init__(*given[:-1], torch.default_generator)


class ForgetsALayer(Toy):
    def load_state_dict(self, state):
        self.weights[0].data.copy_(state["weights"][0])
        self.kernel.copy_(state["kernel"])


class LearnsInFinish(Toy):
    def finish(self, validation):
        self.weights[0].data += 0.1


class HidesNaN(Toy):
    def train_step(self, images, labels):
        return super().train_step(images.nan_to_num(), labels)


class NeedsTwoImages(Toy):
    def train_step(self, images, labels):
        if len(images) < 2:
            raise RuntimeError("Expected more than 1 value\nper channel")
        return super().train_step(images, labels)


class WritesToTheBatch(Toy):
    def predict(self, images, strategy):
        images.clamp_(min=0)
        return super().predict(images, strategy)


class NamesTooFew(Toy):
    def parameters(self, strategy=None):
        yield from self.weights if strategy is None else [self.kernel]


class NamesNone(Toy):
    def parameters(self, strategy=None):
        yield from self.weights if strategy is None else []


class ExaminesOtherwise(Toy):
    def examine(self, images):
        seen = super().examine(images)
        return Examination(seen.strategies, [seen.layers[0], 1.001 * seen.layers[1] + 1e-3], seen.goodness)


class ChoosesAnother(Toy):
    def choose_layer(self, accuracies):
        return {"last": accuracies[0] - 1}


class LearnsOtherwise(Toy):
    def compile(self, backend="inductor"):
        self.rate *= 2


class ChoosesNone(Toy):
    def choose_layer(self, accuracies):
        return {}


class WrongLayers(Toy):
    def layer_logits(self, images):
        return [super().layer_logits(images)[1][:, :5]] * 2

    def predict(self, images, strategy):
        return Toy.layer_logits(self, images)[-1]


class CallsOnce(Toy):
    def train_step(self, images, labels):
        told, self.on_layer = self.on_layer, None
        losses = super().train_step(images, labels)
        self.on_layer = told
        if told is not None:
            told()
        return losses


class Watched(Toy):
    def train_step(self, images, labels):
        self.rate = 0.02 if self.on_layer is None else 0.01
        return super().train_step(images, labels)


class LearnsFromAbove(Toy):
    def train_step(self, images, labels):
        self.weights[0].data += 0.01 * self.weights[1].data.mean()
        return super().train_step(images, labels)


class ShowsNaN(Toy):
    def layer_values(self, validation):
        return {"norm": [torch.tensor([torch.nan])] * 2}


class ChangesWhenShown(Toy):
    def layer_values(self, validation):
        self.weights[1].data *= 2
        return super().layer_values(validation)


class WorkOfTheBatch(Toy):
    def executed_macs(self, images):
        return torch.full((len(images),), float(len(images)))


class HalfConditional(Toy):
    executed_layers = property()


class TakesNothingOver(Toy):
    def begin_with(self, state):
        if "weights" not in state:
            raise ValueError("it is the state of another network")


class TakesAnything(Toy):
    def begin_with(self, state):
        if "weights" in state:
            self.load_state_dict(state)


class Unfinished(Toy):
    finish = property()


class Misnamed(Toy):
    layer_logits = property()
    layer_logit = None

    def predict(self, images, strategy):
        return self.features(images)[-1].detach() @ self.weights[-1].detach().T


@pytest.mark.parametrize(
    ("learner", "check", "reason"),
    [
        (
            WrongShape,
            "strategies-are-declared-and-give-logits-without-gradient",
            "expected logits of shape (16, 10) by 'last', found (16, 9)",
        ),
        (WithGradient, "strategies-are-declared-and-give-logits-without-gradient", "expected logits without gradient"),
        (
            OtherStrategies,
            "strategies-are-declared-and-give-logits-without-gradient",
            "expected the method's strategies ('last',), found ('last', 'first')",
        ),
        (LearnsNothing, "steps-on-one-batch-lower-its-losses", "expected loss 'layer0' below 2.3"),
        (AttachedLoss, "steps-on-one-batch-lower-its-losses", "expected loss 'layer0' detached, found a gradient"),
        (AlwaysTheSame, "same-seed-same-bits-other-seed-other-bits", "expected other logits with another seed"),
        (
            GlobalSeed,
            "same-seed-same-bits-other-seed-other-bits",
            "expected the same logits by 'last' with the same seed, found 160 of 160",
        ),
        (GlobalSeed, "nothing-random-comes-from-outside-the-generator", "whatever torch.manual_seed was given"),
        (
            ForgetsALayer,
            "save-load-continue-equals-not-stopping",
            "from a resumed training as from one that never stopped",
        ),
        (
            LearnsInFinish,
            "choosing-and-predicting-change-no-weight-and-no-later-step",
            "expected trained tensor 0 the same",
        ),
        (HidesNaN, "a-batch-of-nan-gives-a-loss-that-is-not-finite", "expected a loss that is not finite"),
        (
            NeedsTwoImages,
            "a-last-batch-of-one-image-is-a-step-like-others",
            "RuntimeError: Expected more than 1 value per channel (test_methods.py, line",
        ),
        (WritesToTheBatch, "the-callers-batch-is-not-changed", "expected images unchanged by predict with 'last'"),
        (
            NamesTooFew,
            "a-strategy-reads-no-tensor-but-those-that-it-names",
            "without the tensors that parameters('last') leaves out",
        ),
        (NamesNone, "every-strategy-counts-its-parameters", "expected tensors from parameters('last'), found none"),
        (
            ExaminesOtherwise,
            "one-pass-shows-what-single-calls-do-to-the-bit",
            "expected examine's layers, number 1, as the single call gives",
        ),
        (ChoosesAnother, "choosing-from-accuracies-is-choosing-by-a-pass", "expected choose_layer to say "),
        (
            ChoosesNone,
            "choosing-from-accuracies-is-choosing-by-a-pass",
            "expected the accuracy of a strategy that predicts with the chosen layer, found none",
        ),
        (LearnsOtherwise, "compiled-steps-learn-what-plain-ones-do", "expected loss 'layer0' of batch 1 near "),
        (WrongLayers, "layers-predict", "expected logits of shape (16, 10) of layer 0, found (16, 5)"),
        (
            CallsOnce,
            "layers-can-be-watched-and-watching-changes-nothing",
            "expected 2 calls of on_layer in a step, one per layer of layer_logits, found 1",
        ),
        (
            Watched,
            "layers-can-be-watched-and-watching-changes-nothing",
            "expected the same logits by 'last', watched or not",
        ),
        (
            LearnsFromAbove,
            "no-gradient-crosses-from-one-layer-to-the-layers-before",
            "to change nothing in the layers before, found another update in layers [0]",
        ),
        (
            ShowsNaN,
            "what-layers-show-are-lists-of-numbers-and-showing-changes-nothing",
            "expected finite values as 'norm'",
        ),
        (
            ChangesWhenShown,
            "what-layers-show-are-lists-of-numbers-and-showing-changes-nothing",
            "expected the same logits by 'last', shown or not",
        ),
        (
            WorkOfTheBatch,
            "work-that-depends-on-the-image-is-of-each-image",
            "whatever else is in the batch, found a difference of 11",
        ),
        (
            HalfConditional,
            "work-that-depends-on-the-image-is-of-each-image",
            "expected executed_layers beside executed_macs, found none",
        ),
        (
            TakesNothingOver,
            "beginning-takes-over-what-was-learned",
            "expected trained tensor 0 as the other learned it",
        ),
        (TakesAnything, "beginning-takes-over-what-was-learned", "expected a ValueError from begin_with"),
        (
            Unfinished,
            "it-has-what-a-learner-needs",
            "the learner has no 'finish', of which bench.plugins.Learner says: Called after every epoch",
        ),
        (Misnamed, "it-has-what-a-learner-needs", "'layer_logit' is no hook; 'layer_logits' is"),
    ],
)
def test_a_learner_that_breaks_it_fails(learner, check, reason, register):
    register(method_of(learner))
    [of_it] = [each for each in METHOD_CHECKS if each.name == check]
    result = of_it.result(SmallMethod("toy"))
    assert result.status == "failed"
    assert reason in result.reason
    assert "\n" not in result.reason


class NotSettings:
    learning_rate = 0.1


def wrapped(part):
    return staticmethod(part) if isinstance(part, FunctionType) else part


@dataclass(frozen=True)
class Demanding:
    learning_rate: float


@pytest.mark.parametrize(
    ("changes", "check", "reason"),
    [
        ({"Settings": NotSettings}, "settings-have-defaults-and-survive-a-file", "NotSettings is neither"),
        ({"Settings": Demanding}, "settings-have-defaults-and-survive-a-file", "toy.learning_rate"),
        (
            {"strategies": None},
            "it-has-what-a-method-needs",
            "the method has no 'strategies', of which bench.plugins.Method says: Names of its",
        ),
        (
            {"Settings": None, "settings": Settings},
            "it-has-what-a-method-needs",
            "the method has no 'Settings' but 'settings'",
        ),
        ({"published": None, "publish": 1}, "it-has-what-a-method-needs", "'publish' is no hook; 'published' is"),
        ({"published": lambda settings: ["Toy"]}, "published-rows-are-pairs", "expected pairs (method, variant)"),
        (
            {"between": lambda settings: None},
            "what-it-says-for-tables-is-words",
            "expected words from between(), found None",
        ),
    ],
)
def test_a_method_that_breaks_it_fails(changes, check, reason, register):
    register(method_of(Toy, **{name: wrapped(part) for name, part in changes.items()}))
    assert reason in failures(check_method("toy", {}))[check]


def test_after_a_first_check_the_others_are_skipped(register):
    register(method_of(Toy, strategies=None))
    first, *others = check_method("toy")
    assert first.status == "failed"
    assert {(result.status, result.reason) for result in others} == {("skipped", f"{first.check} failed")}


def test_settings_are_those_given_or_each_of_small(register):
    register(method_of(Toy, small=({"learning_rate": 0.01}, {"learning_rate": 0.03})))
    assert {result.variant for result in check_method("toy")} == {"learning_rate=0.01", "learning_rate=0.03"}
    assert {result.variant for result in check_method("toy", {"learning_rate": 0.05})} == {"learning_rate=0.05"}


def test_a_way_back_that_is_told_of_is_no_failure(register):
    class Told(LearnsFromAbove):
        way_back = "the first layer looks at the second"

    register(method_of(Told))
    [check] = [each for each in METHOD_CHECKS if each.name.startswith("no-gradient")]
    with pytest.raises(NotOffered, match="the first layer looks"):
        check(SmallMethod("toy"))
    register(method_of(LearnsFromAbove))
    with pytest.raises(CheckFailed):
        check(SmallMethod("toy"))


def test_settings_of_another_kind_are_one_sentence(register):
    register(method_of(Toy, Settings=dict))
    with pytest.raises(UserError, match=r"^settings have to be a dataclass or a pydantic model, and builtins.dict is"):
        settings.complete("toy", {})


def test_every_check_has_a_name_and_a_statement():
    names = [check.name for check in METHOD_CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.says.endswith(".") for check in METHOD_CHECKS)
