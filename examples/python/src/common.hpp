// SPDX-License-Identifier: Apache-2.0
//
// Between Python and the library: arrays, pictures, options, weights. Calls hold the GIL but for the computing itself.
#pragma once

#include <efficientvit/compiled/networks.hpp>
#include <efficientvit/images/image.hpp>
#include <efficientvit/runtime/call_pool.hpp>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <string>
#include <vector>

namespace python {

namespace nb = nanobind;
namespace ev = efficientvit;
using namespace nb::literals;

/// An array of the caller's that is read, without a gap.
template <class T>
using Input = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
/// An array that is written.
template <class T>
using Output = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

/// Gives the GIL away while it lives, as nb::gil_scoped_release does, which however ends the process where a daemon
/// thread computes while Python exits: up to 3.13 who then takes the GIL is ended by pthread_exit(), and glibc's
/// unwinding of the thread must not leave a destructor.
class ReleasedGil {
public:
    ReleasedGil() : state_(PyEval_SaveThread()) {}
    ReleasedGil(const ReleasedGil&) = delete;
    ReleasedGil& operator=(const ReleasedGil&) = delete;
    ~ReleasedGil() {
        if (state_ != nullptr) take();
    }

    /// Has Python call the handlers of signals that came, Ctrl-C's say. What they raise is thrown as nb::python_error,
    /// and the GIL is not given away again.
    void check_signals();

private:
    /// Does not return while Python exits.
    void take() noexcept;

    PyThreadState* state_;  // nullptr: with the GIL
};

/// The thread waits for the end of the process.
[[noreturn]] void wait_for_exit() noexcept;

/// f(), in which Python's code may run and so take the GIL too: nanobind would take pthread_exit()'s unwinding for an
/// exception.
template <class F>
auto in_python(const F& f) {
    try {
        return f();
    } catch (const std::exception&) {
        throw;
    } catch (...) {
        wait_for_exit();
    }
}

/// The name of its class.
std::string class_of(nb::handle object);
/// Throws TypeError.
[[noreturn]] void throw_type_error(const std::string& text);

/// A Python sequence of numbers as a text: "(1, 3, 224, 224)".
std::string shape_text(const std::int64_t* shape, std::size_t count);

/// `x` as floats: what it is, where that is float32 without gaps, else a copy. NumPy, DLPack, the buffer protocol.
/// Throws TypeError for what is no array of floats, ShapeError for another number of dimensions than `ndim`.
Input<float> floats_of(nb::handle x, std::size_t ndim, const char* name);

/// The same as a view of an NCHW tensor, which lives as long as the array.
inline ev::ConstTensorView view_of(const Input<float>& x) {
    const auto extent = [&](std::size_t i) { return static_cast<std::ptrdiff_t>(x.shape(i)); };
    return {x.data(), {extent(0), extent(1), extent(2), extent(3)}};
}

/// A new NumPy array, and where its elements lie. T is float, bool or std::uint8_t.
template <class T>
struct NewArray {
    nb::object array;
    T* data;

    explicit NewArray(std::initializer_list<std::ptrdiff_t> shape);
};

/// `out` where it is a writable float32 array of this shape, else throws ShapeError or TypeError.
float* data_of(nb::handle out, const std::vector<std::int64_t>& shape);

/// A picture: of PIL, or an array (H, W, 3) or (H, W) of bytes. Throws TypeError, ShapeError, ImageError.
ev::Image image_of(nb::handle picture);

/// The weights that load() reads: a path's bytes as os.fsencode() gives them.
ev::StateDict read_weights(const nb::bytes& path, const std::string& entry);
/// From a file's bytes.
ev::StateDict parse_weights(nb::handle bytes, const std::string& entry);
/// From a dict of arrays, which `arrays` keeps alive.
ev::StateDict weights_of_dict(const nb::dict& tensors, std::vector<nb::ndarray<nb::ro, nb::device::cpu>>& arrays);

/// "f32", "bf16_weights", "bf16", "int8", "f16"; None or "avx2". Throws ConfigError.
ev::LoadOptions load_options(const std::string& precision, const std::string& isa, const std::string& prefix);
/// Throws ConfigError for fewer than 0 threads.
ev::ContextOptions context_options(int threads);

/// __init__ of Model and Sam: T(weights, name, threads, options).
template <class T>
void load_into(T* self, const nb::object& weights, const std::string& name, int threads, const std::string& precision,
               const std::string& isa, const std::string& prefix) {
    const ev::LoadOptions options = load_options(precision, isa, prefix);
    if (const ev::StateDict* read = nullptr; nb::try_cast(weights, read) && read != nullptr) {
        new (self) T(*read, name, threads, options);
        return;
    }
    std::vector<nb::ndarray<nb::ro, nb::device::cpu>> arrays;
    if (!nb::isinstance<nb::dict>(weights)) {
        throw_type_error("weights is a " + class_of(weights) + ", expected a StateDict or a dict of arrays");
    }
    const ev::StateDict own = weights_of_dict(nb::cast<nb::dict>(weights), arrays);
    new (self) T(own, name, threads, options);
}

/// Binds it.
template <class T>
void bind_load(nb::class_<T>& c) {
    c.def("__init__", &load_into<T>, "weights"_a, "name"_a = "", "threads"_a = 1, "precision"_a = "f32", "isa"_a = "",
          "prefix"_a = "",
          nb::sig("def __init__(self, weights: StateDict | dict[str, typing.Any], name: str = '', threads: int = 1, "
                  "precision: str = 'f32', isa: str = '', prefix: str = '') -> None"),
          "Arguments and errors are those of load() and load_sam(), which are to be preferred.");
}

void bind_models(nb::module_& m);
void bind_sam(nb::module_& m);

}  // namespace python
