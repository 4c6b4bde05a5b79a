# SPDX-License-Identifier: Apache-2.0
"""Networks: the reference's numbers, every kind of array and of weights, threads, options, errors."""

import array
import json
import multiprocessing
import pickle
import threading

import numpy
import pytest
from conftest import BOUND, DATA, error, golden, golden_tensor, golden_weights

import efficientvit_cpu as ev

X = golden_tensor("input", (1, 3, 64, 96))


@pytest.mark.parametrize("network", ["cls_b0", "cls_b1", "cls_b2", "cls_b3", "cls_l1", "cls_l2", "cls_l3"])
def test_classifiers(network):
    outputs, metadata = golden(f"{network}_224")
    model = ev.load(golden_weights(network))
    assert (model.name, model.task, model.n_classes) == (network, "classification", 1000)
    logits = model(golden_tensor("input", json.loads(metadata["input_shape"])))
    assert logits.dtype == numpy.float32
    assert error(logits, outputs["logits"]) <= BOUND


@pytest.mark.parametrize("case", ["b0_1x33x32", "b0_2x97x131", "b1_1x64x96", "l1_eps1e-7_1x64x96"])
def test_backbones(case):
    outputs, metadata = golden(f"backbone_{case}")
    x = golden_tensor("input", json.loads(metadata["input_shape"]))
    model = ev.load(golden_weights(f"backbone_{case[:2]}"), threads=2)
    assert model.task == "backbone" and model.outputs == ["stage0", "stage1", "stage2", "stage3", "stage4"]
    features = model.features(x)
    assert list(features) == [*model.outputs, "stage_final"]
    assert features["stage_final"] is features["stage4"]
    for name, expected in outputs.items():
        assert error(features[name], expected) <= BOUND, name
    assert (model(x) == features["stage4"]).all()
    for names in (["stage2"], ["stage_final"], ["stage3", "stage1"]):
        some = model.features(x, names)
        assert list(some) == names
        assert all((some[name] == features[name]).all() for name in names)


@pytest.mark.parametrize("network", ["seg_b0_cityscapes", "seg_b1_ade20k", "seg_l1_ade20k"])
def test_segmenters(network):
    outputs, metadata = golden(f"{network}_64x128")
    model = ev.load(golden_weights(network))
    assert (model.name, model.size_multiple) == (network, 32)
    assert error(model(golden_tensor("input", json.loads(metadata["input_shape"]))), outputs["segout"]) <= BOUND


def test_image_encoder():
    outputs, metadata = golden("sam_encoder_l0_128")
    model = ev.load(golden_weights("sam_encoder_l0"), "sam_l0")
    embeddings = model(golden_tensor("input", json.loads(metadata["input_shape"])))
    assert error(embeddings[:, ::16], outputs["output_every_16th_channel"]) <= BOUND


def test_pre_logits(b0_weights):
    model = ev.load(b0_weights)
    pre_logits = model.pre_logits(X)
    assert pre_logits.shape == (1, 1280)
    weight, bias = b0_weights["head.op_list.3.linear.weight"], b0_weights["head.op_list.3.linear.bias"]
    assert error(pre_logits @ weight.T + bias, model(X)) <= BOUND
    headless = ev.load({name: x for name, x in b0_weights.items() if not name.startswith("head.op_list.3.")}, "cls_b0")
    assert headless.n_classes == 0 and (headless(X) == pre_logits).all()
    with pytest.raises(ev.EfficientViTError, match="no classifier"):
        ev.load(b0_weights, "backbone_b0").pre_logits(X)


# ---- Weights ----


def test_weights_of_every_kind(b0_weights, b0_file):
    expected = ev.load(b0_weights)(X)
    bytes_ = b0_file.read_bytes()
    for weights in (b0_file, str(b0_file), bytes_, bytearray(bytes_), memoryview(bytes_)):
        assert (ev.load(weights)(X) == expected).all()
    # tensors in another order of memory
    turned = {name: numpy.asfortranarray(x) for name, x in b0_weights.items()}
    assert (ev.load(turned)(X) == expected).all()
    halves = ev.load({name: x.astype(numpy.float16) for name, x in b0_weights.items()})
    assert 0 < error(halves(X), expected) < 1e-2
    doubles = ev.load({name: x.astype(float) for name, x in b0_weights.items()})
    assert (doubles(X) == expected).all()


def test_checkpoint_of_torch():
    model = ev.load(DATA / "checkpoints" / "backbone_b0_official.pt")
    assert model.name == "backbone_b0"
    assert error(model(X), golden("backbone_b0_1x64x96")[0]["stage4"]) <= BOUND


def test_other_classes(b0_weights):
    weights = dict(b0_weights)
    for name in ("head.op_list.3.linear.weight", "head.op_list.3.linear.bias"):
        weights[name] = weights[name][:37]
    model = ev.load(weights)
    assert model.n_classes == 37 and model(X).shape == (1, 37)


def test_prefix_and_entry(b0_weights):
    wrapped = {f"net.{name}": x for name, x in b0_weights.items()}
    assert (ev.load(wrapped, prefix="net.")(X) == ev.load(b0_weights)(X)).all()
    assert (ev.load({"ema": b0_weights, "epoch": 3}, entry="ema")(X) == ev.load(b0_weights)(X)).all()


def test_misfits(b0_weights, b0_file, tmp_path):
    with pytest.raises(FileNotFoundError):
        ev.load(tmp_path / "none.pt")
    with pytest.raises(ev.WeightsError, match="no known model"):
        ev.load({"a": numpy.zeros((2, 2), numpy.float32)})
    with pytest.raises(ev.WeightsError, match="of cls_b0, not of cls_b1"):
        ev.load(b0_file, "cls_b1")
    with pytest.raises(ev.ConfigError, match="nearest names are cls_b0"):
        ev.load(b0_file, "cls_b9")
    with pytest.raises(ev.WeightsError, match="safetensors"):
        ev.load(b"these are not weights")
    with pytest.raises(ev.WeightsError, match="'a'"):
        ev.load({"a": numpy.zeros(3, numpy.complex64)})
    with pytest.raises(ev.WeightsError, match="whole|prompt_encoder|image encoder|sam"):
        ev.load_sam(golden_weights("sam_encoder_l0"))
    with pytest.raises(ev.ConfigError, match="cls_b0"):
        ev.load_sam(b0_weights)
    with pytest.raises(TypeError):
        ev.load(3)


@pytest.mark.parametrize(
    "wrong, options, kind, text",
    [
        ({"state_dict": {}}, {}, ev.WeightsError, r"weights\['state_dict'\] is a dict.*entry='state_dict'"),
        ({"epoch": 3, "model": {}}, {}, ev.WeightsError, r"weights\['model'\] is a dict.*entry='model'"),
        ({"model": {}}, {"entry": "ema"}, ev.WeightsError, "'ema' of weights is missing.*'model'"),
        ({"epoch": 3}, {"entry": "epoch"}, ev.WeightsError, "'epoch' of weights is a int.*no dict"),
        ({"a": "text"}, {}, ev.WeightsError, "'a' is a str"),
        ({"a": None}, {}, ev.WeightsError, "'a' is a NoneType"),
        ({"a": numpy.array([None])}, {}, ev.WeightsError, "'a' is a ndarray of object"),
        ({0: numpy.zeros(3, numpy.float32)}, {}, TypeError, "weights has the key 0, a int"),
    ],
)
def test_wrong_dicts(wrong, options, kind, text):
    for load in (ev.load, ev.load_sam):
        with pytest.raises(kind, match=text):
            load(wrong, **options)


def test_wrong_weights_of_the_classes():
    for kind in (ev.Model, ev.Sam):
        for wrong, text in ((3, "int"), ("b0.safetensors", "str")):
            with pytest.raises(TypeError, match=f"weights is a {text}"):
                kind(wrong)


# ---- Arrays ----


class OnlyDlpack:
    """A tensor of a framework that NumPy knows nothing of."""

    def __init__(self, x):
        self._x = x

    def __dlpack__(self, **kwargs):
        return self._x.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._x.__dlpack_device__()


def test_arrays_of_every_kind(b0_weights):
    model = ev.load(b0_weights)
    expected = model(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    buffer = memoryview(array.array("f", X.ravel())).cast("B").cast("f", X.shape)
    wide = numpy.zeros((1, 3, 64, 200), numpy.float32)
    wide[..., 3:99] = X
    planes_last = numpy.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for x in (OnlyDlpack(X), read_only, buffer, wide[..., 3:99], planes_last, X.astype(float), X.tolist()):
        assert (model(x) == expected).all(), type(x)


def test_no_copy_of_what_fits(b0_weights):
    """An array that is not copied is seen as it is when the network reads it, an array that is copied is not changed."""
    model = ev.load(b0_weights)
    x = X.copy()
    first = model(x)
    x[:] = 0
    assert not (model(x) == first).all()
    assert (x == 0).all()


def test_out(b0_weights):
    model = ev.load(b0_weights)
    expected = model(X)
    out = numpy.empty((1, 1000), numpy.float32)
    assert model(X, out=out) is out and (out == expected).all()
    with pytest.raises(ev.ShapeError, match=r"\(1, 999\), expected \(1, 1000\)"):
        model(X, out=numpy.empty((1, 999), numpy.float32))
    for wrong in (numpy.empty((1, 1000)), numpy.empty((2, 2000), numpy.float32)[::2, ::2], "text"):
        with pytest.raises(TypeError, match="out"):
            model(X, out=wrong)
    out.flags.writeable = False
    with pytest.raises(TypeError, match="writable"):
        model(X, out=out)


def test_wrong_inputs(b0_weights):
    model = ev.load(b0_weights)
    with pytest.raises(ev.ShapeError, match="4 dimensions: N, C, H, W"):
        model(X[0])
    with pytest.raises(ev.ShapeError, match="4 channels"):
        model(numpy.zeros((1, 4, 64, 64), numpy.float32))
    with pytest.raises(ev.ShapeError, match="empty"):
        model(numpy.zeros((0, 3, 64, 64), numpy.float32))
    with pytest.raises(TypeError, match="uint8, expected float32"):
        model(numpy.zeros((1, 3, 64, 64), numpy.uint8))
    with pytest.raises(TypeError):
        model("text")
    with pytest.raises(ev.ConfigError, match="stage9"):
        ev.load(b0_weights, "backbone_b0").features(X, ["stage9"])
    # the classes that a caller may expect
    for kind in (ev.WeightsError, ev.ShapeError, ev.ConfigError, ev.PromptError, ev.ImageError):
        assert issubclass(kind, ev.EfficientViTError) and issubclass(kind, ValueError)


# ---- Threads and options ----


def test_many_threads(b0_weights):
    model = ev.load(b0_weights, threads=2)
    expected, wrong = model(X), []

    def work():
        wrong.extend(1 for _ in range(20) if not (model(X) == expected).all())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_gil_is_released(b0_weights):
    """While a forward of seconds runs, another thread of Python goes on."""
    model = ev.load(b0_weights, isa="scalar")
    began, ended, counted = threading.Event(), threading.Event(), [0]

    def work():
        began.set()
        model(numpy.zeros((1, 3, 768, 768), numpy.float32))
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    began.wait()
    while not ended.is_set():
        counted[0] += 1
    thread.join()
    assert counted[0] > 1000


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
def test_fork(b0_weights):
    model = ev.load(b0_weights, threads=2)
    expected = model(X)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put((model(X) == expected).all()))
    child.start()
    assert queue.get(timeout=60)
    child.join()


def test_options(b0_weights):
    f32 = ev.load(b0_weights)
    assert f32.precision == "f32" and f32.threads == 1 and f32.isa in ("scalar", "avx2", "avx512", "neon")
    scalar = ev.load(b0_weights, isa="scalar", threads=0)
    assert scalar.isa == "scalar" and scalar.threads == 0 and error(scalar(X), f32(X)) <= BOUND
    bf16 = ev.load(b0_weights, precision="bf16_weights")
    assert bf16.precision == "bf16_weights" and 1e-5 < error(bf16(X), f32(X)) < 2e-2
    int8 = ev.load(b0_weights, precision="int8")
    assert int8.precision.startswith("int8 (") and 1e-4 < error(int8(X), f32(X)) < 6e-2
    f16 = ev.load(b0_weights, precision="f16", isa="scalar")  # on other CPUs than Arm's there is no other
    assert f16.precision == "f16 (scalar)" and 1e-5 < error(f16(X), f32(X)) < 1e-2
    assert "cls_b0" in repr(f32) and "bf16_weights" in repr(bf16)
    tagged = ev.load(b0_weights, "efficientvit_b0.r224_in1k")
    assert (tagged.name, tagged.input_size, tagged.crop_ratio) == ("cls_b0", (224, 224), 0.95)
    for wrong in ({"precision": "f8"}, {"isa": "sse9"}, {"threads": -1}):
        with pytest.raises(ev.ConfigError, match=next(iter(wrong))):
            ev.load(b0_weights, **wrong)
    with pytest.raises(TypeError):
        pickle.dumps(f32)


def test_library():
    assert len(ev.model_names()) >= 32 and "cls_b0" in ev.model_names()
    assert ev.__version__ in ev.build_info()
