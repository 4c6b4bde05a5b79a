// SPDX-License-Identifier: Apache-2.0
//
// Part of compiled/c.cpp: what every call of efficientvit.h is made of. Errors become a status and a text, structures
// of programs older than the library are completed, pictures and shapes become ours.
EFFICIENTVIT_BEGIN_NAMESPACE
namespace c_interface {

/// NULL where something is needed, an index out of range.
class ArgumentError : public Error {
public:
    using Error::Error;
};

inline ev_status write_error(ev_error* error, ev_status status, std::string_view message) noexcept {
    if (error == nullptr) return status;
    error->status = status;
    constexpr std::string_view cut = " ...";
    const std::size_t room = sizeof error->message - 1;
    std::size_t size = std::min(message.size(), room);
    if (size < message.size()) {
        size = room - cut.size();
        while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xc0) == 0x80) --size;  // no half characters
    }
    std::memcpy(error->message, message.data(), size);
    char* end = error->message + size;
    if (size < message.size()) end = std::copy(cut.begin(), cut.end(), end);
    *end = '\0';
    return status;
}

/// The status of the exception that is being handled, whose text goes to `error`.
EFFICIENTVIT_COLD inline ev_status report(ev_error* error) noexcept {
    try {
        throw;
    } catch (const WeightsError& e) {
        return write_error(error, EV_ERROR_WEIGHTS, e.what());
    } catch (const ShapeError& e) {
        return write_error(error, EV_ERROR_SHAPE, e.what());
    } catch (const ConfigError& e) {
        return write_error(error, EV_ERROR_CONFIG, e.what());
    } catch (const PromptError& e) {
        return write_error(error, EV_ERROR_PROMPT, e.what());
    } catch (const ImageError& e) {
        return write_error(error, EV_ERROR_IMAGE, e.what());
    } catch (const ArgumentError& e) {
        return write_error(error, EV_ERROR_ARGUMENT, e.what());
    } catch (const std::bad_alloc&) {
        return write_error(error, EV_ERROR_MEMORY, "out of memory");
    } catch (const std::length_error&) {
        return write_error(error, EV_ERROR_MEMORY, "out of memory");
    } catch (const std::exception& e) {
        return write_error(error, EV_ERROR, e.what());
    } catch (...) {
        return write_error(error, EV_ERROR, "an exception of an unknown type");
    }
}

/// Runs f(); no exception leaves it.
template <class F>
ev_status call(ev_error* error, const F& f) noexcept {
    try {
        f();
        return EV_OK;
    } catch (...) {
        return report(error);
    }
}

/// What a pointer of the caller's points to. Throws ArgumentError for NULL.
template <class T>
T& given(T* pointer, const char* name) {
    if (pointer == nullptr) throw ArgumentError(detail::concat({name, " is NULL"}));
    return *pointer;
}

/// Throws ShapeError where the caller's memory has no room for what is written.
inline void check_room(const void* to, std::size_t room, std::size_t wanted, const char* name) {
    if (to == nullptr) throw ArgumentError(detail::concat({name, " is NULL"}));
    if (room < wanted) {
        throw ShapeError(detail::concat(
            {name, " has room for ", std::to_string(room), " elements, expected at least ", std::to_string(wanted)}));
    }
}

// ---- Structures that grow with versions -----------------------------------------------------------------------------

/// Writes as much of `from` as the caller's structure of `size` bytes has; the rest of that becomes 0.
template <class T>
void write_struct(const T& from, void* to, std::size_t size) {
    std::memset(to, 0, size);
    std::memcpy(to, &from, std::min(size, sizeof from));
}

/// ..._init: the defaults. The first member says how large the caller takes the structure to be.
template <class T>
void init_struct(T defaults, void* to, std::size_t size) {
    if (to == nullptr || size < sizeof size) return;
    defaults.size = size;
    write_struct(defaults, to, size);
}

/// The caller's structure, completed by the defaults. Throws ConfigError for one that was not initialised or that is
/// larger than this version's.
template <class T>
T read_struct(const T* from, T defaults, const char* name) {
    if (from == nullptr) return defaults;
    std::size_t size = 0;
    std::memcpy(&size, from, sizeof size);
    if (size < sizeof size || size > sizeof(T)) {
        throw ConfigError(detail::concat({name, " has a size of ", std::to_string(size), " bytes, expected at most ",
                                          std::to_string(sizeof(T)), ", as ", name, "_init writes it"}));
    }
    std::memcpy(&defaults, from, size);
    return defaults;
}

// ---- Values ---------------------------------------------------------------------------------------------------------

inline Shape shape_of(const ev_shape& shape) { return {shape.n, shape.c, shape.h, shape.w}; }

inline ev_shape to_c(const Shape& shape) {
    return {static_cast<int>(shape.n), static_cast<int>(shape.c), static_cast<int>(shape.h), static_cast<int>(shape.w)};
}

inline std::size_t element_count(const Shape& shape) {
    return static_cast<std::size_t>(shape.n) * static_cast<std::size_t>(shape.c) * static_cast<std::size_t>(shape.h) *
           static_cast<std::size_t>(shape.w);
}

inline Image image_of(const ev_image* image) {
    const ev_image& from = given(image, "image");
    given(from.pixels, "image.pixels");
    Image out({from.height, from.width});
    const std::ptrdiff_t bytes = std::ptrdiff_t{Image::channels} * from.width;
    const std::ptrdiff_t stride = from.stride == 0 ? bytes : from.stride;
    for (int y = 0; y < from.height; ++y) std::copy_n(from.pixels + y * stride, bytes, out.row(y));
    return out;
}

inline std::string text_of(const char* text) { return text == nullptr ? std::string() : std::string(text); }

inline ev_load_options default_load_options() {
    return {sizeof(ev_load_options), nullptr, nullptr, nullptr, 1, EV_F32, EV_ISA_BEST};
}

inline LoadOptions load_options_of(const ev_load_options& from) {
    LoadOptions out;
    out.prefix = text_of(from.prefix);
    switch (from.precision) {
        case EV_F32:
            break;
        case EV_BF16_WEIGHTS:
            out.precision = Precision::bf16_weights;
            break;
        case EV_BF16:
            out.precision = Precision::bf16;
            break;
        case EV_INT8:
            out.precision = Precision::int8;
            break;
        case EV_F16:
            out.precision = Precision::f16;
            break;
        default:
            throw ConfigError(detail::concat({"no precision has the number ", std::to_string(from.precision)}));
    }
    switch (from.isa) {
        case EV_ISA_BEST:
            break;
        case EV_ISA_SCALAR:
            out.isa = Isa::scalar;
            break;
        case EV_ISA_AVX2:
            out.isa = Isa::avx2;
            break;
        case EV_ISA_AVX512:
            out.isa = Isa::avx512;
            break;
        case EV_ISA_NEON:
            out.isa = Isa::neon;
            break;
        default:
            throw ConfigError(detail::concat({"no instruction set has the number ", std::to_string(from.isa)}));
    }
    return out;
}

inline ContextOptions context_options_of(const ev_load_options& from) {
    if (from.threads < 0) {
        throw ConfigError(detail::concat({"threads is ", std::to_string(from.threads), ", expected 0 or more"}));
    }
    return {.threads = from.threads};
}

/// Of weights that are about to be loaded: the file's tensors and the network's name.
struct Weights {
    StateDict tensors;
    std::string network;
};

inline Weights identified(StateDict tensors, const ev_load_options& options) {
    std::string network = text_of(options.network);
    if (network.empty()) network = compiled::identified(tensors, text_of(options.prefix));
    return {std::move(tensors), std::move(network)};
}

inline TorchCheckpointOptions checkpoint_options(const ev_load_options& options) {
    return {.entry = text_of(options.entry), .skip_extra_entries = true};
}

inline Weights read_weights(const char* path, const ev_load_options& options) {
    const char* const text = &given(path, "path");
    const std::filesystem::path file(std::u8string(text, text + std::strlen(text)));
    return identified(load_weights(file, checkpoint_options(options)), options);
}

inline Weights parse_weights(const void* bytes, std::size_t size, const ev_load_options& options) {
    const std::byte* const first = &given(static_cast<const std::byte*>(bytes), "bytes");
    return identified(efficientvit::parse_weights({first, size}, "the bytes", checkpoint_options(options)), options);
}

}  // namespace c_interface
EFFICIENTVIT_END_NAMESPACE
