// SPDX-License-Identifier: Apache-2.0
//
// What throw and catch call, for WebAssembly: Debian's libc++abi for it is built without. With -fwasm-exceptions errors
// are caught as anywhere else. With -fexceptions alone, for engines that know WebAssembly's exceptions in their last
// form only (wasmtime), catch blocks are left out: what is thrown is printed and ends the program. The names and
// layouts are those of the Itanium C++ ABI (https://itanium-cxx-abi.github.io/cxx-abi/abi-eh.html) and, where it leaves
// them to the system, of clang for WebAssembly. One thread; JavaScript's exceptions pass through uncaught.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <typeinfo>

namespace {

/// In front of every object that is thrown.
struct alignas(16) Header {
    const std::type_info* type;
    void* (*destroy)(void*);  // destructors return what they are called for here
    int references;           // the exception in flight or caught, and those of std::exception_ptr
    int handlers;             // catch blocks that it is in; below zero: thrown again by the innermost
    Header* next;             // caught before this one and not done with
    void* adjusted;           // the object as the catch block's type
};

void* object_of(Header* header) { return header + 1; }
Header* header_of(void* object) { return static_cast<Header*>(object) - 1; }

#if defined(__wasm_exception_handling__)
Header* caught = nullptr;
unsigned uncaught = 0;

void release(Header* header) {
    if (--header->references > 0) return;
    if (header->destroy != nullptr) header->destroy(object_of(header));
    std::free(header);
}
#endif

/// std::type_info as libc++abi derives its kinds from it: this function tells whether a catch block of the type takes
/// an object of another, and moves the pointer to that part of it.
class CatchableType : public std::type_info {
public:
    virtual void noop1() const;
    virtual void noop2() const;
    virtual bool can_catch(const CatchableType* thrown, void*& object) const = 0;
};

/// std::exception::what() of what was thrown, else its type.
[[maybe_unused]] const char* message_of(void* object, const std::type_info& type) {
    const auto& exception = static_cast<const CatchableType&>(typeid(std::exception));
    if (!exception.can_catch(static_cast<const CatchableType*>(&type), object)) return type.name();
    return static_cast<const std::exception*>(object)->what();
}

#if defined(__wasm_exception_handling__)
std::size_t read_uleb(const std::uint8_t*& p) {
    std::size_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        const std::uint8_t byte = *p++;
        value |= std::size_t{byte & 0x7fU} << shift;
        if (byte < 0x80) return value;
    }
}

std::ptrdiff_t read_sleb(const std::uint8_t*& p) {
    std::size_t value = 0;
    for (unsigned shift = 0;;) {
        const std::uint8_t byte = *p++;
        value |= std::size_t{byte & 0x7fU} << shift;
        shift += 7;
        if (byte >= 0x80) continue;
        if (shift < 8 * sizeof value && (byte & 0x40) != 0) value |= ~std::size_t{0} << shift;
        return static_cast<std::ptrdiff_t>(value);
    }
}

/// The number by which the function whose table this is knows the catch block for `header`; 0 where it has none.
std::size_t selector(const std::uint8_t* table, std::size_t landing_pad, Header* header) {
    constexpr std::uint8_t omitted = 0xff;
    if (table == nullptr) return 0;
    if (*table++ != omitted)
        std::abort();  // where landing pads begin: functions of WebAssembly have no addresses in them
    const CatchableType* const* types = nullptr;
    if (*table++ != omitted) {
        const std::size_t offset = read_uleb(table);
        types = reinterpret_cast<const CatchableType* const*>(table + offset);
    }
    ++table;  // call sites are encoded by ULEB128
    const std::size_t size = read_uleb(table);
    const std::uint8_t* const actions = table + size;
    for (std::size_t i = 0; i < landing_pad; ++i) {
        read_uleb(table);
        read_uleb(table);
    }
    read_uleb(table);
    const std::size_t first = read_uleb(table);
    if (first == 0) return 0;  // a clean-up
    for (const std::uint8_t* action = actions + first - 1;;) {
        const std::ptrdiff_t index = read_sleb(action);
        if (index < 0) std::abort();  // throw(…), which C++17 removed
        if (index > 0) {
            const CatchableType* const type = types[-index];
            void* object = object_of(header);
            const bool fits =
                type == nullptr || type->can_catch(static_cast<const CatchableType*>(header->type), object);
            if (fits) {
                header->adjusted = object;
                return static_cast<std::size_t>(index);
            }
        }
        const std::uint8_t* next = action;
        const std::ptrdiff_t offset = read_sleb(next);
        if (offset == 0) return 0;
        action += offset;
    }
}
#endif

}  // namespace

extern "C" {

void* __cxa_allocate_exception(std::size_t size) noexcept {
    auto* const header = static_cast<Header*>(std::calloc(1, sizeof(Header) + size));
    if (header == nullptr) std::terminate();
    return object_of(header);
}
void __cxa_free_exception(void* object) noexcept { std::free(header_of(object)); }

#if !defined(__wasm_exception_handling__)
[[noreturn]] void __cxa_throw(void* object, std::type_info* type, void* (*)(void*)) {
    std::fprintf(stderr, "thrown, and this program is compiled without catching: %s\n", message_of(object, *type));
    std::abort();
}
[[noreturn]] void __cxa_rethrow() { std::abort(); }
#else

/// What a function leaves for _Unwind_CallPersonality, and finds there afterwards.
struct {
    std::size_t landing_pad;
    const std::uint8_t* table;
    std::size_t selector;
} __wasm_lpad_context;

int _Unwind_CallPersonality(void* exception) {
    __wasm_lpad_context.selector =
        selector(__wasm_lpad_context.table, __wasm_lpad_context.landing_pad, static_cast<Header*>(exception));
    return 0;
}

[[noreturn]] void __cxa_throw(void* object, std::type_info* type, void* (*destroy)(void*)) {
    Header* const header = header_of(object);
    header->type = type;
    header->destroy = destroy;
    header->references = 1;
    header->adjusted = object;
    ++uncaught;
    __builtin_wasm_throw(0, header);
}

void* __cxa_get_exception_ptr(void* exception) noexcept { return static_cast<Header*>(exception)->adjusted; }

void* __cxa_begin_catch(void* exception) noexcept {
    auto* const header = static_cast<Header*>(exception);
    header->handlers = (header->handlers < 0 ? -header->handlers : header->handlers) + 1;
    if (header != caught) {
        header->next = caught;
        caught = header;
    }
    --uncaught;
    return header->adjusted;
}

void __cxa_end_catch() {
    Header* const header = caught;
    if (header == nullptr) return;
    if (header->handlers < 0) {  // thrown again: whoever catches it next is done with it
        if (++header->handlers == 0) caught = header->next;
    } else if (--header->handlers == 0) {
        caught = header->next;
        release(header);
    }
}

[[noreturn]] void __cxa_rethrow() {
    if (caught == nullptr) std::terminate();
    caught->handlers = -caught->handlers;
    ++uncaught;
    __builtin_wasm_throw(0, caught);
}

std::type_info* __cxa_current_exception_type() {
    return caught == nullptr ? nullptr : const_cast<std::type_info*>(caught->type);
}

// std::exception_ptr, std::uncaught_exceptions.
void* __cxa_current_primary_exception() noexcept {
    if (caught == nullptr) return nullptr;
    ++caught->references;
    return object_of(caught);
}
void __cxa_increment_exception_refcount(void* object) noexcept {
    if (object != nullptr) ++header_of(object)->references;
}
void __cxa_decrement_exception_refcount(void* object) noexcept {
    if (object != nullptr) release(header_of(object));
}
void __cxa_rethrow_primary_exception(void* object) {
    if (object == nullptr) return;
    Header* const header = header_of(object);
    // The object is in flight a second time, by a header that counts its own handlers.
    ++header->references;
    header->handlers = 0;
    ++uncaught;
    __builtin_wasm_throw(0, header);
}
bool __cxa_uncaught_exception() noexcept { return uncaught != 0; }
unsigned __cxa_uncaught_exceptions() noexcept { return uncaught; }
#endif

}  // extern "C"

// libc++abi's own, built without exceptions, ends the program where memory does.
void* operator new(std::size_t size) {
    if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    const auto bytes = static_cast<std::size_t>(alignment);
    if (void* const memory = std::aligned_alloc(bytes, (size + bytes - 1) / bytes * bytes)) return memory;
    throw std::bad_alloc();
}
