// SPDX-License-Identifier: Apache-2.0
//
// The module efficientvit_cpu._core: arrays and exceptions here, networks in models.cpp, segment anything in sam.cpp.
#include <efficientvit/build_info.hpp>
#include <efficientvit/weights/load_weights.hpp>

#include <nanobind/stl/string.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <sstream>
#include <thread>
#include <utility>

#include "common.hpp"

namespace python {

namespace {

/// Looked up once and never freed: Python may be gone. The GIL guards `module`; C++'s guard of a static would be held
/// while Python's code runs, and who waits for it holds the GIL.
nb::handle numpy() {
    static PyObject* module = nullptr;
    if (module == nullptr) module = in_python([] { return nb::module_::import_("numpy"); }).release().ptr();
    return module;
}

template <class... Args>
nb::object call_numpy(const char* function, const Args&... args) {
    return in_python([&] { return nb::object(numpy().attr(function)(args...)); });
}

nb::object error_class(const char* name) { return nb::module_::import_("efficientvit_cpu._errors").attr(name); }

/// numpy.empty, looked up once.
nb::object empty_array(nb::handle shape, const char* dtype) {
    static PyObject* empty = nullptr;
    if (empty == nullptr) empty = nb::object(numpy().attr("empty")).release().ptr();
    return nb::handle(empty)(shape, dtype);
}

template <class T>
constexpr const char* dtype_name() {
    if constexpr (std::is_same_v<T, float>) return "float32";
    if constexpr (std::is_same_v<T, bool>) return "bool";
    if constexpr (std::is_same_v<T, std::uint8_t>) return "uint8";
}

ev::DType dtype_of(const nb::dlpack::dtype& dtype, const std::string& name) {
    using nb::dlpack::dtype_code;
    const auto is = [&](dtype_code code, int bits) {
        return dtype.code == static_cast<std::uint8_t>(code) && dtype.bits == bits && dtype.lanes == 1;
    };
    for (const auto& [code, bits, found] : {std::tuple{dtype_code::Float, 64, ev::DType::f64},
                                            {dtype_code::Float, 32, ev::DType::f32},
                                            {dtype_code::Float, 16, ev::DType::f16},
                                            {dtype_code::Bfloat, 16, ev::DType::bf16},
                                            {dtype_code::Int, 64, ev::DType::i64},
                                            {dtype_code::Int, 32, ev::DType::i32},
                                            {dtype_code::Int, 16, ev::DType::i16},
                                            {dtype_code::Int, 8, ev::DType::i8},
                                            {dtype_code::UInt, 8, ev::DType::u8},
                                            {dtype_code::Bool, 8, ev::DType::boolean}}) {
        if (is(code, bits)) return found;
    }
    throw ev::WeightsError("the tensor '" + name + "' has elements of a kind that no layer has");
}

/// The library's exceptions as Python's, and nothing else.
void translate(const std::exception_ptr& error, void*) {
    const auto raise = [](const char* name, const std::exception& e) {
        PyErr_SetString(error_class(name).ptr(), e.what());
    };
    try {
        std::rethrow_exception(error);
    } catch (const ev::WeightsError& e) {
        raise("WeightsError", e);
    } catch (const ev::ShapeError& e) {
        raise("ShapeError", e);
    } catch (const ev::ConfigError& e) {
        raise("ConfigError", e);
    } catch (const ev::PromptError& e) {
        raise("PromptError", e);
    } catch (const ev::ImageError& e) {
        raise("ImageError", e);
    } catch (const ev::Error& e) {
        raise("EfficientViTError", e);
    }
}

}  // namespace

void wait_for_exit() noexcept {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(24));
}

void ReleasedGil::take() noexcept {
    try {
        PyEval_RestoreThread(std::exchange(state_, nullptr));
    } catch (...) {
        // pthread_exit()'s. Whether Python exits cannot be asked before: it may begin to between question and call.
        // Further up are destructors of Python's objects, which need the GIL; so the thread stays here, as it does in
        // Python 3.14.
        wait_for_exit();
    }
}

void ReleasedGil::check_signals() {
    take();
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    state_ = PyEval_SaveThread();
}

// ---- Arrays ---------------------------------------------------------------------------------------------------------

std::string class_of(nb::handle object) { return nb::cast<std::string>(object.type().attr("__name__")); }

void throw_type_error(const std::string& text) { throw nb::type_error(text.c_str()); }

std::string shape_text(const std::int64_t* shape, std::size_t count) {
    std::string out = "(";
    for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    return out + ")";
}

Input<float> floats_of(nb::handle x, std::size_t ndim, const char* name) {
    Input<float> out;
    if (!in_python([&] { return nb::try_cast(x, out, false); })) {
        const nb::object array = call_numpy("asarray", x);
        if (nb::cast<std::string>(array.attr("dtype").attr("kind")) != "f") {
            throw_type_error(std::string(name) + " has elements of " +
                             nb::cast<std::string>(array.attr("dtype").attr("name")) + ", expected float32");
        }
        out = nb::cast<Input<float>>(call_numpy("ascontiguousarray", array, "float32"), false);
    }
    if (out.ndim() != ndim) {
        throw ev::ShapeError(std::string(name) + " has the shape " + shape_text(out.shape_ptr(), out.ndim()) +
                             ", expected " + std::to_string(ndim) + " dimensions" + (ndim == 4 ? ": N, C, H, W" : ""));
    }
    return out;
}

template <class T>
NewArray<T>::NewArray(std::initializer_list<std::ptrdiff_t> shape) {
    nb::object extents = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(shape.size())));
    Py_ssize_t i = 0;
    for (const std::ptrdiff_t extent : shape) PyTuple_SET_ITEM(extents.ptr(), i++, PyLong_FromSsize_t(extent));
    array = empty_array(extents, dtype_name<T>());
    data = nb::cast<Output<T>>(array, false).data();
}
template struct NewArray<float>;
template struct NewArray<bool>;
template struct NewArray<std::uint8_t>;

float* data_of(nb::handle out, const std::vector<std::int64_t>& shape) {
    Output<float> array;
    if (!in_python([&] { return nb::try_cast(out, array, false); })) {
        throw_type_error("out is a " + class_of(out) + ", expected a writable array of float32 without gaps");
    }
    if (array.ndim() != shape.size() || !std::equal(shape.begin(), shape.end(), array.shape_ptr())) {
        throw ev::ShapeError("out has the shape " + shape_text(array.shape_ptr(), array.ndim()) + ", expected " +
                             shape_text(shape.data(), shape.size()));
    }
    return array.data();
}

ev::Image image_of(nb::handle picture) {
    const bool of_pil = in_python([&] { return nb::hasattr(picture, "convert") && nb::hasattr(picture, "mode"); });
    nb::object object = nb::borrow(picture);
    if (of_pil) object = in_python([&] { return nb::object(picture.attr("convert")("RGB")); });
    object = call_numpy("asarray", object);
    const std::string dtype = nb::cast<std::string>(object.attr("dtype").attr("name"));
    if (dtype != "uint8") {
        throw_type_error("the picture is a " + class_of(picture) + " of " + dtype +
                         ", expected one of PIL or an array of uint8, 0 to 255");
    }
    object = call_numpy("ascontiguousarray", object);
    const Input<std::uint8_t> array = nb::cast<Input<std::uint8_t>>(object, false);
    const bool gray = array.ndim() == 2;
    if (!gray && (array.ndim() != 3 || array.shape(2) != 3)) {
        throw ev::ShapeError("the picture has the shape " + shape_text(array.shape_ptr(), array.ndim()) +
                             ", expected (H, W, 3) or (H, W)");
    }
    const auto side = [&](std::size_t i) {
        return array.shape(i) > std::size_t{1} << 30 ? 1 << 30 : static_cast<int>(array.shape(i));
    };
    ev::Image image({side(0), side(1)});
    if (gray) {
        for (std::size_t i = 0; i < array.size(); ++i) std::fill_n(&image.bytes()[3 * i], 3, array.data()[i]);
    } else {
        std::copy_n(array.data(), array.size(), image.bytes().begin());
    }
    return image;
}

// ---- Weights and options --------------------------------------------------------------------------------------------

ev::StateDict read_weights(const nb::bytes& path, const std::string& entry) {
    const std::u8string text(reinterpret_cast<const char8_t*>(path.c_str()), path.size());
    const ReleasedGil released;
    return ev::load_weights(std::filesystem::path(text), {.entry = entry, .skip_extra_entries = true});
}

ev::StateDict parse_weights(nb::handle bytes, const std::string& entry) {
    const Input<std::uint8_t> array = nb::cast<Input<std::uint8_t>>(call_numpy("frombuffer", bytes, "uint8"),
                                                                    false);  // whatever has the buffer protocol
    const ReleasedGil released;
    return ev::parse_weights(std::as_bytes(std::span(array.data(), array.size())), "the bytes",
                             {.entry = entry, .skip_extra_entries = true});
}

ev::StateDict weights_of_dict(const nb::dict& tensors, std::vector<nb::ndarray<nb::ro, nb::device::cpu>>& arrays) {
    ev::StateDict weights;
    weights.set_source("the state dict");
    for (const auto& [key, value] : tensors) {
        std::string name;
        if (!nb::try_cast(key, name)) {
            throw_type_error("weights has the key " + nb::cast<std::string>(nb::repr(key)) + ", a " + class_of(key) +
                             ", expected a str");
        }
        nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> array;
        if (!in_python([&, value = value] { return nb::try_cast(value, array, false); })) {
            throw ev::WeightsError("the tensor '" + name + "' is a " + class_of(value) +
                                   ", expected an array without gaps in the CPU's memory");
        }
        std::vector<std::int64_t> shape(array.shape_ptr(), array.shape_ptr() + array.ndim());
        weights.insert(name, dtype_of(array.dtype(), name), std::move(shape),
                       {static_cast<const std::byte*>(array.data()), array.nbytes()}, nullptr);
        arrays.emplace_back(array);
    }
    return weights;
}

ev::LoadOptions load_options(const std::string& precision, const std::string& isa, const std::string& prefix) {
    ev::LoadOptions out;
    out.prefix = prefix;
    bool known = false;
    for (const ev::Precision& p : {ev::Precision::f32, ev::Precision::bf16_weights, ev::Precision::bf16,
                                   ev::Precision::int8, ev::Precision::f16}) {
        if (p.name() == precision) out.precision = p, known = true;
    }
    if (!known)
        throw ev::ConfigError("precision is '" + precision + "', expected f32, bf16_weights, bf16, int8 or f16");
    if (isa.empty()) return out;
    for (const ev::Isa i : {ev::Isa::scalar, ev::Isa::avx2, ev::Isa::avx512, ev::Isa::neon}) {
        if (ev::isa_name(i) == isa) out.isa = i;
    }
    if (!out.isa) throw ev::ConfigError("isa is '" + isa + "', expected scalar, avx2, avx512 or neon");
    return out;
}

ev::ContextOptions context_options(int threads) {
    if (threads < 0) throw ev::ConfigError("threads is " + std::to_string(threads) + ", expected 0 or more");
    return {.threads = threads};
}

}  // namespace python

NB_MODULE(_core, m) {
    namespace nb = nanobind;
    m.doc() = "EfficientViT's networks as compiled code; efficientvit_cpu is what to import.";
    nb::set_leak_warnings(false);  // a daemon thread may own a model to the end, which is no fault
    nb::register_exception_translator(python::translate);
    m.def(
        "version", [] { return EFFICIENTVIT_VERSION; }, nb::sig("def version() -> str"), "The library's: \"0.1.0\".");
    m.def(
        "build_info",
        [] {
            std::ostringstream out;
            out << efficientvit::build_info();
            return out.str();
        },
        "Version, compiler, flags, CPU and the instruction set in use: paste it into a report.");
    m.def(
        "model_names",
        [] {
            nb::list names;
            for (std::size_t i = 0; const char* name = efficientvit::compiled::model_name(i); ++i) names.append(name);
            return names;
        },
        nb::sig("def model_names() -> list[str]"), "The names that load() knows: \"cls_b0\", \"backbone_b0\", ...");
    python::bind_models(m);
    python::bind_sam(m);
}
