from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from asge.network import ASGENetwork
from baselines.local_error import LocalErrors, LocalErrorSettings, build
from baselines.local_error_signals import PredSignal, SimSignal, read_out_windows, similarity

TASK = SimpleNamespace(shape=(1, 8, 8), classes=3)
BUDGET = SimpleNamespace(epochs=1, steps_per_epoch=10)


def make(**settings):
    options = {"plan": "4,M,6", "hidden": (5,), "optimiser": "sgd", "momentum": 0.0, "schedule": "constant"}
    if settings.get("topology") == "asge":
        options["hidden"] = ()
    generator = torch.Generator().manual_seed(0)
    return build(TASK, LocalErrorSettings(**options | settings), BUDGET, torch.device("cpu"), generator)


def batch(size=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.randint(3, (size,), generator=generator)


def similarity_by_loops(rows, labels):
    """Mean squared difference of the two matrices of cosines, pair by pair."""

    def cosine(a, b):
        a, b = a - a.mean(), b - b.mean()
        return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())

    hot = torch.eye(3, dtype=rows.dtype)[labels]
    pairs = [
        (cosine(rows[i], rows[j]) - cosine(hot[i], hot[j])) ** 2 for i in range(len(rows)) for j in range(len(rows))
    ]
    return torch.stack(pairs).mean()


def local_loss(signal, error, h, labels):
    """The paper's losses in a few lines of plain PyTorch."""
    losses = {}
    if error.pred is not None:
        flat = h.flatten(1)  # 4 x 8 x 8 and less: nothing is averaged below 2048 values
        losses["pred"] = F.cross_entropy(flat @ error.pred.read_out.weight.T + error.pred.read_out.bias, labels)
    if error.sim is not None:
        weight = error.sim.transform.weight
        if h.dim() == 4:
            z = F.conv2d(h, weight, padding=1)
            rows = ((z - z.mean((2, 3), keepdim=True)).square().sum((2, 3)) / (z[0, 0].numel() - 1)).sqrt()
        else:
            rows = h @ weight.T
        losses["sim"] = similarity_by_loops(rows, labels)
    return 0.01 * losses["pred"] + 0.99 * losses["sim"] if signal == "predsim" else losses[signal]


@pytest.mark.parametrize("signal", ["pred", "sim", "predsim"])
def test_a_step_equals_plain_gradient_descent_on_every_local_loss(signal):
    learner = make(signal=signal, learning_rate=0.1)
    for error in learner.errors:  # a read-out of zeros would hide the gradient of pred
        if error.pred is not None:
            torch.nn.init.normal_(error.pred.read_out.weight, std=0.1, generator=torch.Generator().manual_seed(3))
    learner._modules.double()
    images, labels = batch()
    images = images.double()
    before = [
        ({k: v.detach().clone() for k, v in block.named_parameters()}, error)
        for block, error in zip(learner.network.blocks, learner.errors, strict=True)
    ]
    x, gradients = images, []
    for index, (old, error) in enumerate(before):
        parameters = [p.requires_grad_() for p in old.values()]
        weight, bias, scale, shift = parameters
        z = F.conv2d(x, weight, bias, padding=1) if index < 2 else x.flatten(1) @ weight.T + bias
        over = (0, 2, 3) if index < 2 else (0,)
        shape = (1, -1, 1, 1) if index < 2 else (1, -1)
        mean, variance = z.mean(over, keepdim=True), z.var(over, keepdim=True, unbiased=False)
        z = (z - mean) / (variance + 1e-5).sqrt() * scale.view(shape) + shift.view(shape)
        h = torch.where(z > 0, z, 0.01 * z if signal != "pred" else 0 * z)  # the authors' activations
        loss = local_loss(signal, error, h, labels)
        own = list(error.parameters())  # pred's read-out, sim's transform
        by_parameter = torch.autograd.grad(loss, [*parameters, *own])
        gradients.append((loss.detach(), by_parameter, [*old.values(), *(p.detach().clone() for p in own)]))
        x = F.max_pool2d(h, 2).detach() if index == 0 else h.detach()
    last = [p.detach().clone().requires_grad_() for p in learner.network.classifier.parameters()]
    loss = F.cross_entropy(x @ last[0].T + last[1], labels)
    gradients.append((loss.detach(), torch.autograd.grad(loss, last), last))

    losses = learner.train_step(images, labels)

    parts = [
        *(
            [*block.parameters(), *error.parameters()]
            for block, (_, error) in zip(learner.network.blocks, before, strict=True)
        ),
        [*learner.network.classifier.parameters()],
    ]
    for name, part, (loss, by_parameter, old) in zip(losses, parts, gradients, strict=True):
        torch.testing.assert_close(losses[name].double(), loss)
        for new, first, gradient in zip(part, old, by_parameter, strict=True):
            torch.testing.assert_close(new, first - 0.1 * gradient, rtol=1e-9, atol=1e-11)


def test_no_gradient_leaves_a_block_or_the_classifier():
    learner = make(signal="predsim", learning_rate=0.1)
    torch.nn.init.normal_(learner.network.classifier.weight)
    images, labels = batch()
    loss = learner.train_step(images, labels)["classifier"]
    assert torch.isfinite(loss)
    assert all(parameter.grad is None for parameter in learner.parameters())  # used and let go: nothing came later

    def reaches(index):
        """The parts of the learner to which the loss of one block has a gradient."""
        parts = [*learner.network.blocks, *learner.errors, learner.network.classifier]
        calls, plain = [], learner._learn
        learner._learn = lambda place, loss: calls.append(loss) or loss.detach()
        learner.train_step(images, labels)
        learner._learn = plain
        found = set()
        for number, part in enumerate(parts):
            gradients = torch.autograd.grad(
                calls[index], [*part.parameters()], allow_unused=True, retain_graph=True, materialize_grads=False
            )
            if any(gradient is not None for gradient in gradients):
                found.add(number)
        return found

    assert [reaches(index) for index in range(4)] == [{0, 3}, {1, 4}, {2, 5}, {6}]


def test_similarity_of_rows_by_hand():
    rows = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0], [1.0, 3.0, 2.0]])
    expected = torch.tensor([[1.0, 1, -1, 0.5], [1, 1, -1, 0.5], [-1, -1, 1, -0.5], [0.5, 0.5, -0.5, 1]])
    torch.testing.assert_close(similarity(rows), expected)


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 4, 4), (5,)])
def test_where_there_is_no_deviation_sim_compares_all_values(shape):
    signal = SimSignal(shape, 3, generator=torch.Generator().manual_seed(0)).double()
    h, labels = torch.rand(6, *shape, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = similarity_by_loops(signal.transform(h).flatten(1), labels)
    torch.testing.assert_close(signal(h, labels), expected)


def test_a_batch_whose_activations_are_dead_has_a_finite_sim_loss_and_gradient():
    signal = SimSignal((4, 3, 3), 3, generator=torch.Generator().manual_seed(0))
    h = torch.zeros(5, 4, 3, 3, requires_grad=True)
    loss = signal(h, torch.tensor([0, 1, 2, 0, 1]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(h.grad).all()


@pytest.mark.parametrize(
    ("shape", "limit", "window"),
    [
        ((128, 32, 32), 2048, (8, 8)),  # 128 x 4 x 4
        ((256, 32, 32), 2048, (16, 8)),  # 256 x 2 x 4
        ((512, 4, 4), 2048, (2, 2)),
        ((512, 2, 2), 2048, (1, 1)),
        ((48, 28, 28), 1024, (8, 8)),  # 48 x 4 x 4 = 768, 48 x 4 x 7 were too many
        ((10, 3, 1), 10, (4, 2)),
        ((99, 1, 1), 10, (1, 1)),
    ],
)
def test_pred_averages_height_first_until_it_fits(shape, limit, window):
    assert read_out_windows(*shape, limit) == window


def test_read_out_reads_whole_windows_and_what_is_left_at_the_border():
    pred = PredSignal((4, 7, 6), 3, read_out_size=16)
    h = torch.rand(2, 4, 7, 6)
    assert pred.window == (4, 4)
    torch.nn.init.normal_(pred.read_out.weight)
    averages = torch.stack([h[:, :, i : i + 4, j : j + 4].mean((2, 3)) for i in (0, 4) for j in (0, 4)], -1)
    expected = averages.flatten(1) @ pred.read_out.weight.T + pred.read_out.bias
    torch.testing.assert_close(pred.logits(h), expected)


@pytest.mark.parametrize(("side", "limit"), [(7, 16), (14, 64), (28, 64), (8, 16), (5, 4)])
def test_as_in_the_authors_code_windows_may_lie_over_a_map_padded_with_zeros(side, limit):
    pred, plain = (PredSignal((4, side, side), 3, read_out_size=limit, border=each) for each in ("zeros", "remainder"))
    h = torch.rand(2, 4, side, side)
    windows = torch.tensor(pred.window)
    fitting = -(-side // windows)
    before = (windows * (fitting - side // windows)).div(2, rounding_mode="floor").tolist()
    padded = F.pad(h, (before[1], before[1] + 8, before[0], before[0] + 8))  # more than enough behind
    (rows, columns), (tall, wide) = fitting.tolist(), pred.window
    averages = torch.stack(
        [
            padded[:, :, i * tall : (i + 1) * tall, j * wide : (j + 1) * wide].mean((2, 3))
            for i in range(rows)
            for j in range(columns)
        ],
        -1,
    )
    torch.nn.init.normal_(pred.read_out.weight)
    torch.testing.assert_close(pred.logits(h), averages.flatten(1) @ pred.read_out.weight.T)
    assert pred.read_out.weight.shape == plain.read_out.weight.shape


def test_only_blocks_with_a_read_out_predict():
    images, _ = batch()
    assert len(make(signal="pred").layer_logits(images)) == 3
    assert len(make(signal="predsim").layer_logits(images)) == 3
    assert not hasattr(make(signal="sim"), "layer_logits")


@pytest.mark.parametrize("affine", [False, True])
def test_asges_topology_is_asges_network(affine):
    learner = make(signal="pred", topology="asge", pooling="rms", affine=affine)
    images, labels = batch()
    for _ in range(2):  # the read-outs are 0 at first, and so is what they teach
        learner.train_step(images, labels)
    assert [unit.gamma is not None for unit in learner.network.blocks] == [False, affine]
    assert all(bool(unit.beta.any()) for unit in learner.network.blocks if unit.beta is not None)
    outputs = list(learner.network.activations(images))
    network = ASGENetwork(TASK.shape, 3, plan="4,M,6", affine=affine, generator=torch.Generator())
    for block, ours in zip(network.blocks, learner.network.blocks, strict=True):
        block.unit.load_state_dict(ours.state_dict())
    for y, h in zip(network.activations(images), outputs, strict=True):
        torch.testing.assert_close(y.detach(), h.detach())
    handed_on = learner.network.blocks[1].propagate(outputs[1]).flatten(1)
    expected = handed_on @ learner.network.classifier.weight.T + learner.network.classifier.bias
    torch.testing.assert_close(learner.predict(images, "logits"), expected)


def test_topology_asge_refuses_what_it_has_not():
    with pytest.raises(ValueError, match="neither hidden layers nor dropout"):
        make(topology="asge", dropout=0.1)
    with pytest.raises(ValueError, match="ReLU for its activation: it cannot be 'leaky-relu'"):
        make(topology="asge", activation="leaky-relu")
    with pytest.raises(ValueError, match="affine has no effect with topology 'vgg'"):
        make(affine=True)


def test_a_batch_of_one_trains_its_hidden_layers_too():
    learner = make()
    losses = learner.train_step(*batch(1))
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize(("topology", "channels"), [("vgg", 6), ("asge", 6)])
def test_the_classifier_may_read_the_mean_over_each_map(topology, channels):
    extra = {"pooling": "rms"} if topology == "asge" else {}
    learner = make(topology=topology, signal="pred", hidden=(), head="pooled", **extra)
    images, labels = batch()
    learner.train_step(images, labels)
    learner._modules.eval()
    *_, last = learner.network.activations(images)
    expected = last.mean((2, 3)) @ learner.network.classifier.weight.T + learner.network.classifier.bias
    torch.testing.assert_close(learner.predict(images, "logits"), expected)
    assert learner.network.classifier.weight.shape == (3, channels)


def test_a_pooled_head_needs_a_map():
    with pytest.raises(ValueError, match="head 'pooled' averages maps: hidden must be"):
        make(head="pooled", hidden=(5,))


def test_best_predicts_with_the_block_that_validation_images_choose():
    learner = make(signal="pred")
    images, _ = batch()
    generator = torch.Generator().manual_seed(4)
    for error in learner.errors:
        torch.nn.init.normal_(error.pred.read_out.weight, generator=generator)
    layers = learner.layer_logits(images)
    chosen = layers[1].argmax(1)  # labels that the second block alone gets all right
    assert all((logits.argmax(1) != chosen).any() for logits in (layers[0], layers[2]))
    learner.finish([(images, chosen)])
    assert learner.best_layer == 1
    ran = []
    for index, block in enumerate(learner.network.blocks):
        for part in block.modules():
            part.register_forward_hook(lambda *_, index=index: ran.append(index))
    torch.testing.assert_close(learner.predict(images, "best"), layers[1])
    assert set(ran) == {0, 1}
    own = [*learner.network.blocks[0].parameters(), *learner.network.blocks[1].parameters()]
    own += learner.errors[1].parameters()
    assert [p.data_ptr() for p in learner.parameters("best")] == [p.data_ptr() for p in own]
    again = make(signal="pred")
    again.load_state_dict(learner.state_dict())
    assert again.best_layer == 1


def test_blocks_without_a_read_out_offer_no_best():
    assert LocalErrors.strategies_of({"signal": "sim"}) == make(signal="sim").strategies == ("logits",)
    assert LocalErrors.strategies_of({"signal": "predsim"}) == make().strategies == ("logits", "best")


def test_sim_keeps_its_digits_under_bfloat16():
    torch.manual_seed(2)
    h = torch.rand(12, 8, 6, 6) + 3  # far from 0: in bfloat16 the deviations would be noise
    rounded = h.bfloat16()
    features = rounded.flatten(2).float().std(2)
    expected = similarity(features.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = similarity(features)
        loss = SimSignal((8, 6, 6), 3, generator=torch.Generator().manual_seed(1))(rounded, torch.arange(12) % 3)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert loss.dtype == torch.float32
