// SPDX-License-Identifier: Apache-2.0
//
// What the pickle in a PyTorch checkpoint builds: dicts, tuples, numbers, strings and descriptions of tensors. Not the
// reading, which is pickle_machine.hpp's, and not for users: torch_checkpoint.hpp is.
//
// Values are 16 bytes and strings stay in the pickle. Of what lists hold only tensors and containers that are not empty
// are kept, and of objects of other Python classes only the class's name. So the worst pickle takes 29 times its size
// while it is read, PyTorch's own about 4 times.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/runtime/float_environment.hpp>
#include <efficientvit/weights/state_dict.hpp>
#include <efficientvit/weights/text.hpp>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// What a global that a checkpoint may name stands for.
enum class PickleRole {
    ordered_dict,
    default_dict,
    rebuild_tensor_v2,
    rebuild_tensor_v3,
    parameter,
    storage,
    untyped_storage,
    dtype
};

struct PickleGlobal {
    std::string_view name;
    PickleRole role;
    DType dtype = DType::u8;  ///< of a storage or dtype
};

/// All that is more than a name to the reader; whatever else a checkpoint names is opaque.
inline constexpr auto pickle_globals = std::to_array<PickleGlobal>({
    {"collections.OrderedDict", PickleRole::ordered_dict},
    {"collections.defaultdict", PickleRole::default_dict},
    {"torch._utils._rebuild_tensor_v2", PickleRole::rebuild_tensor_v2},
    {"torch._utils._rebuild_tensor_v3", PickleRole::rebuild_tensor_v3},
    {"torch._utils._rebuild_parameter", PickleRole::parameter},
    {"torch._utils._rebuild_parameter_with_state", PickleRole::parameter},
    {"torch.nn.parameter.Parameter", PickleRole::parameter},
    {"torch.storage.UntypedStorage", PickleRole::untyped_storage},
    {"torch.DoubleStorage", PickleRole::storage, DType::f64},
    {"torch.FloatStorage", PickleRole::storage, DType::f32},
    {"torch.HalfStorage", PickleRole::storage, DType::f16},
    {"torch.BFloat16Storage", PickleRole::storage, DType::bf16},
    {"torch.LongStorage", PickleRole::storage, DType::i64},
    {"torch.IntStorage", PickleRole::storage, DType::i32},
    {"torch.ShortStorage", PickleRole::storage, DType::i16},
    {"torch.CharStorage", PickleRole::storage, DType::i8},
    {"torch.ByteStorage", PickleRole::storage, DType::u8},
    {"torch.BoolStorage", PickleRole::storage, DType::boolean},
    {"torch.float64", PickleRole::dtype, DType::f64},
    {"torch.float32", PickleRole::dtype, DType::f32},
    {"torch.float16", PickleRole::dtype, DType::f16},
    {"torch.bfloat16", PickleRole::dtype, DType::bf16},
    {"torch.int64", PickleRole::dtype, DType::i64},
    {"torch.int32", PickleRole::dtype, DType::i32},
    {"torch.int16", PickleRole::dtype, DType::i16},
    {"torch.int8", PickleRole::dtype, DType::i8},
    {"torch.uint8", PickleRole::dtype, DType::u8},
    {"torch.bool", PickleRole::dtype, DType::boolean},
});

enum class PickleKind : std::uint8_t {
    mark,
    none,
    boolean,
    integer,  ///< of at most 64 bits
    real,     ///< a float of 64 bits
    number,   ///< any other
    string,
    tuple,
    list,
    dict,
    global,
    storage,  ///< its items: 'storage', a global, the key, the device, the number of elements
    tensor,   ///< its items: the arguments of the function that would rebuild it
    opaque,   ///< a class, function or object of Python's, of which only the name is known
};

/// A handle; what it stands for is the Pickle's.
struct PickleValue {
    PickleKind kind = PickleKind::none;
    std::uint8_t global = 0;  ///< index in pickle_globals: of a global, and of the function of a tensor; 1 of an
                              ///< opaque value that has a name
    std::uint32_t count = 0;  ///< of the bytes of a string, of the items of a tuple, storage or tensor
    std::int64_t number = 0;  ///< the value of a boolean or integer, a real's bits; else an index: into the pickle,
                              ///< items or dicts

    bool is(PickleKind other) const { return kind == other; }
};

/// Opaque values that have no class's name; PickleValue::number says which.
enum class PickleObject : std::uint8_t { bytes, set, bad_string, persistent };

/// An opaque value of that kind.
constexpr PickleValue unnamed(PickleObject object) {
    return {PickleKind::opaque, 0, 0, static_cast<std::int64_t>(object)};
}

/// As Python's repr() has it: the shortest text that gives the same number, always with a dot or an exponent.
EFFICIENTVIT_COLD inline std::string real_text(double value) {
    if (!is_finite(value)) return is_nan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    std::array<char, 40> text{};
    const double size = std::abs(value);
    const bool plain = value == 0 || (size >= 1e-4 && size < 1e16);
#if defined(__cpp_lib_to_chars)
    const auto form = plain ? std::chars_format::fixed : std::chars_format::scientific;
    std::string out(text.data(), std::to_chars(text.data(), text.data() + text.size(), value, form).ptr);
#else
    std::string out;
    for (int digits = 1; digits <= 17; ++digits) {
        std::snprintf(text.data(), text.size(), "%.*g", digits, value);
        out = text.data();
        if (std::strtod(text.data(), nullptr) == value) break;  // in the same locale
    }
    for (char& c : out) c = c == ',' ? '.' : c;
#endif
    return plain && out.find_first_of(".e") == std::string::npos ? out + ".0" : out;
}

/// A pickle that was read. PickleMachine fills it.
class Pickle {
public:
    struct Pair {
        PickleValue key;
        PickleValue value;
        std::uint32_t next = 0;  ///< 1 + the index of the dict's next pair; 0: none
    };

    explicit Pickle(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

    const PickleValue& root() const { return root_; }
    std::size_t size() const { return bytes_.size(); }

    std::string_view text(const PickleValue& string) const {
        return {reinterpret_cast<const char*>(bytes_.data()) + string.number, string.count};
    }
    /// The i-th item of a tuple, storage or tensor.
    const PickleValue& item(const PickleValue& tuple, std::size_t i) const {
        return items_[static_cast<std::size_t>(tuple.number) + i];
    }
    const PickleGlobal& global(const PickleValue& value) const { return pickle_globals[value.global]; }

    /// Whether it holds pairs: those of a list are numbered.
    static bool is_container(const PickleValue& value) {
        return value.is(PickleKind::dict) || value.is(PickleKind::list);
    }

    /// The first pair of a dict or list, and the one behind another; null at the end.
    const Pair* first(const PickleValue& dict) const {
        return pair(dicts_[static_cast<std::size_t>(dict.number)].first);
    }
    const Pair* next(const Pair& before) const { return pair(before.next); }

    /// The value of that key in a dict, the last one as in Python; null if there is none.
    const PickleValue* find(const PickleValue& dict, std::string_view key) const {
        const PickleValue* found = nullptr;
        for (const Pair* at = first(dict); at != nullptr; at = next(*at)) {
            if (at->key.is(PickleKind::string) && text(at->key) == key) found = &at->value;
        }
        return found;
    }

    /// The class or function that an opaque value is of, "argparse.Namespace"; empty where it has none.
    EFFICIENTVIT_COLD std::string class_name(const PickleValue& opaque) const {
        if (opaque.global == 0) return {};
        const auto part = [&](unsigned shift, unsigned half) {
            const auto begin = static_cast<std::size_t>(opaque.number >> shift & 0xffffffff);
            return std::string_view(reinterpret_cast<const char*>(bytes_.data()) + begin,
                                    opaque.count >> half & 0xffff);
        };
        return concat({printable(part(0, 0)), ".", printable(part(32, 16))});
    }

    /// A key as a path names it: "module", "0", "0.9998"; empty for one that no path can name.
    EFFICIENTVIT_COLD std::string key_text(const PickleValue& key) const {
        switch (key.kind) {
            case PickleKind::string:
                return std::string(text(key));
            case PickleKind::integer:
                return std::to_string(key.number);
            case PickleKind::real:
                return real_text(std::bit_cast<double>(key.number));
            case PickleKind::boolean:
                return key.number != 0 ? "True" : "False";
            case PickleKind::none:
                return "None";
            default:
                return {};
        }
    }

    /// How many pairs all dicts and lists hold together.
    std::size_t pairs() const { return pairs_.size(); }

    /// For messages: "a dict of 3", "an object of argparse.Namespace".
    EFFICIENTVIT_COLD std::string describe(const PickleValue& value) const {
        constexpr std::array<std::string_view, 4> objects{"bytes", "a set", "a string that is not UTF-8",
                                                          "a persistent id"};
        if (value.is(PickleKind::opaque) && value.global == 0) {
            return std::string(objects[static_cast<std::size_t>(value.number)]);
        }
        std::string out(name(value.kind));
        if (value.is(PickleKind::opaque)) out += concat({" of ", class_name(value)});
        if (value.is(PickleKind::tuple)) out += concat({" of ", std::to_string(value.count)});
        if (value.is(PickleKind::dict)) {
            out += concat({" of ", std::to_string(dicts_[static_cast<std::size_t>(value.number)].size)});
        }
        return out;
    }
    static std::string_view name(PickleKind kind) {
        constexpr std::array<std::string_view, 14> names{"a mark",   "None",      "a bool",   "an integer", "a number",
                                                         "a number", "a string",  "a tuple",  "a list",     "a dict",
                                                         "a global", "a storage", "a tensor", "an object"};
        return names[static_cast<std::size_t>(kind)];
    }

private:
    friend class PickleSource;
    friend class PickleBuilder;
    friend class PickleMachine;

    struct Dict {
        std::uint32_t first = 0;  // as Pair::next
        std::uint32_t last = 0;
        std::uint32_t size = 0;
    };

    const Pair* pair(std::uint32_t link) const { return link == 0 ? nullptr : &pairs_[link - 1]; }

    std::vector<std::byte> bytes_;
    PickleValue root_;
    // Deques, since a vector that grows takes for a moment three times what it holds.
    std::deque<PickleValue> items_;
    std::deque<Pair> pairs_;
    std::deque<Dict> dicts_;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
