// SPDX-License-Identifier: Apache-2.0
//
// Reads the pickle in a PyTorch checkpoint. Executes nothing: it is a machine that knows only the instructions
// which build what pickle.hpp can hold, and only the globals listed there. Whatever else the pickle asks for is refused
// by its name. Not for users: torch_checkpoint.hpp is. The instructions are described in Python's Lib/pickletools.py;
// protocols 2 to 5.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/error.hpp>
#include <efficientvit/weights/pickle.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Reads one pickle, in the constructor.
class PickleMachine {
public:
    /// The size up to which a pickle may be read. A model's takes some 150 bytes for each tensor.
    static constexpr std::size_t largest = std::size_t{64} << 20;

    /// Reads `bytes` whole, of which there are at most `largest`; `source` begins the messages. Throws WeightsError
    /// with the byte at which it is not what it should be.
    EFFICIENTVIT_COLD PickleMachine(std::vector<std::byte> bytes, std::string source)
        : out_(std::move(bytes)), source_(std::move(source)) {
        if (take(1) != 0x80) fail({"not a pickle of protocol 2 or later"});
        const std::uint64_t protocol = take(1);
        if (protocol < 2 || protocol > 5) {
            fail({"a pickle of protocol ", std::to_string(protocol), ", expected 2 to 5"});
        }
        for (;;) {
            at_ = position_;
            const std::uint64_t code = take(1);
            if (code == '.') break;  // STOP
            step(code);
        }
        if (stack_.size() != 1 || stack_.front().is(Kind::mark)) {
            fail({"ends with ", std::to_string(stack_.size()), " values on its stack, expected 1",
                  stack_.size() == 1 ? ": a mark" : ""});
        }
        out_.root_ = stack_.front();
        if (position_ != out_.bytes_.size()) {
            fail({std::to_string(out_.bytes_.size() - position_), " bytes behind the end of the pickle"});
        }
    }

    Pickle result() && { return std::move(out_); }

private:
    // Python writes dicts and lists by the thousand items; only the items of a tuple wait all together.
    static constexpr std::size_t deepest = 65536;

    using Kind = PickleKind;
    using Role = PickleRole;

    [[noreturn]] void fail(std::initializer_list<std::string_view> what) const {
        throw WeightsError(concat({source_, ": at byte ", std::to_string(at_), ": ", concat(what)}));
    }

    // ---- The bytes ----

    void need(std::uint64_t size) const {
        if (size > out_.bytes_.size() - position_)
            fail({"cut short: ends at byte ", std::to_string(out_.bytes_.size())});
    }

    /// The next `width` bytes as an unsigned number.
    std::uint64_t take(std::size_t width) {
        need(width);
        std::uint64_t value = 0;
        std::memcpy(&value, out_.bytes_.data() + position_, width);
        position_ += width;
        return value;
    }

    PickleValue take_string(std::uint64_t size) {
        need(size);
        const PickleValue out{Kind::string, 0, static_cast<std::uint32_t>(size), static_cast<std::int64_t>(position_)};
        if (first_not_utf8(out_.text(out)) != size) fail({"a string that is not UTF-8"});
        position_ += static_cast<std::size_t>(size);
        return out;
    }

    PickleValue take_integer(std::uint64_t size) {
        need(size);
        PickleValue out{Kind::integer};
        if (size > 8) {
            out.kind = Kind::number;
            position_ += static_cast<std::size_t>(size);
        } else if (size > 0) {
            const std::size_t unused = 64 - 8 * static_cast<std::size_t>(size);
            out.number = static_cast<std::int64_t>(take(static_cast<std::size_t>(size)) << unused) >> unused;
        }
        return out;
    }

    /// Up to the end of the line.
    std::string_view take_line() {
        const auto begin = out_.bytes_.begin() + static_cast<std::ptrdiff_t>(position_);
        const auto end = std::find(begin, out_.bytes_.end(), std::byte{'\n'});
        if (end == out_.bytes_.end()) fail({"cut short: a line without an end"});
        const auto size = static_cast<std::size_t>(end - begin);
        const std::string_view line(reinterpret_cast<const char*>(out_.bytes_.data()) + position_, size);
        position_ += size + 1;
        return line;
    }

    // ---- The stack ----

    void push(const PickleValue& value) {
        if (stack_.size() == deepest) fail({"more than ", std::to_string(deepest), " values wait on its stack"});
        stack_.push_back(value);
    }

    PickleValue& top() {
        if (stack_.empty() || stack_.back().is(Kind::mark)) fail({"takes a value where there is none"});
        return stack_.back();
    }

    PickleValue pop() {
        const PickleValue out = top();
        stack_.pop_back();
        return out;
    }

    /// How many values lie above the last mark.
    std::size_t above_mark() const {
        std::size_t count = 0;
        while (count < stack_.size() && !stack_[stack_.size() - 1 - count].is(Kind::mark)) ++count;
        if (count == stack_.size()) fail({"takes values from a mark where there is none"});
        return count;
    }

    /// The last `count` are values, with at least `below` of anything under them; gives where they begin.
    std::size_t check_values(std::size_t count, std::size_t below) const {
        bool fit = stack_.size() >= count + below;
        for (std::size_t i = 0; fit && i < count; ++i) fit = !stack_[stack_.size() - 1 - i].is(Kind::mark);
        if (!fit) fail({"takes a value where there is none"});
        return stack_.size() - count;
    }

    void expect(const PickleValue& found, Kind kind, std::string_view what) const {
        if (!found.is(kind)) fail({what, " is ", out_.describe(found), ", expected ", Pickle::name(kind)});
    }

    // ---- What the instructions build ----

    void tuple(std::size_t count, std::size_t mark) {
        const std::size_t begin = check_values(count, 0);
        const PickleValue out{Kind::tuple, 0, static_cast<std::uint32_t>(count),
                              static_cast<std::int64_t>(out_.items_.size())};
        for (std::size_t i = begin; i < stack_.size(); ++i) out_.items_.push_back(stack_[i]);
        stack_.resize(begin - mark);
        push(out);
    }

    void empty_dict() {
        push({Kind::dict, 0, 0, static_cast<std::int64_t>(out_.dicts_.size())});
        out_.dicts_.emplace_back();
    }

    /// The last `count` values, keys and values in turn, into the dict below them; `mark` is 1 if one lies between.
    void set_items(std::size_t count, std::size_t mark) {
        if (count % 2 != 0) fail({"a key without a value"});
        const std::size_t begin = check_values(count, mark + 1);
        const PickleValue target = stack_[begin - mark - 1];
        expect(target, Kind::dict, "what takes a key");
        Pickle::Dict& dict = out_.dicts_[static_cast<std::size_t>(target.number)];
        for (std::size_t i = begin; i < stack_.size(); i += 2) {
            if (stack_[i].is(Kind::dict) || stack_[i].is(Kind::list)) {
                fail({Pickle::name(stack_[i].kind), " as a key, which Python does not allow"});
            }
            out_.pairs_.push_back({stack_[i], stack_[i + 1]});
            const auto link = static_cast<std::uint32_t>(out_.pairs_.size());
            (dict.last == 0 ? dict.first : out_.pairs_[dict.last - 1].next) = link;
            dict.last = link;
            ++dict.size;
        }
        stack_.resize(begin - mark);
    }

    void append(std::size_t count, std::size_t mark) {
        const std::size_t begin = check_values(count, mark + 1);
        expect(stack_[begin - mark - 1], Kind::list, "what takes items");
        stack_.resize(begin - mark);
    }

    void remember(std::uint64_t index) {
        if (index > memo_.size()) {
            fail({"memo ", std::to_string(index), " is written where ", std::to_string(memo_.size()), " is next"});
        }
        if (index == memo_.size()) {
            memo_.push_back(top());
        } else {
            memo_[static_cast<std::size_t>(index)] = top();
        }
    }

    void recall(std::uint64_t index) {
        if (index >= memo_.size()) {
            fail(
                {"memo ", std::to_string(index), " is read where only ", std::to_string(memo_.size()), " are written"});
        }
        push(memo_[static_cast<std::size_t>(index)]);
    }

    void push_global(std::string_view module, std::string_view name) {
        std::uint8_t index = 0;
        for (const PickleGlobal& known : pickle_globals) {
            if (known.name.size() == module.size() + 1 + name.size() && known.name.starts_with(module) &&
                known.name[module.size()] == '.' && known.name.ends_with(name)) {
                return push({Kind::global, index});
            }
            ++index;
        }
        const std::string full = concat({printable(module), ".", printable(name)});
        fail({"names '", full,
              "', which is refused: only tensors, dicts, lists, tuples, numbers and strings are read, ",
              "and nothing is executed; in Python save the model's state_dict() alone"});
    }

    /// REDUCE and NEWOBJ: calls the global below the arguments. That is, describes what the call would make.
    void call() {
        const PickleValue arguments = pop();
        const PickleValue function = pop();
        expect(arguments, Kind::tuple, "the arguments of a call");
        expect(function, Kind::global, "what is called");
        const std::size_t count = arguments.count;
        PickleValue out = arguments;
        switch (out_.global(function).role) {
            case Role::ordered_dict:
                if (count != 0) break;
                return empty_dict();
            case Role::rebuild_tensor_v2:
            case Role::rebuild_tensor_v3: {
                const std::size_t least = out_.global(function).role == Role::rebuild_tensor_v2 ? 6 : 7;
                if (count < least || count > least + 1) break;
                out.kind = Kind::tensor;
                out.global = function.global;
                return push(out);
            }
            case Role::parameter:
                if (count < 1 || count > 3 || !out_.item(arguments, 0).is(Kind::tensor)) break;
                return push(out_.item(arguments, 0));
            case Role::storage:
            case Role::untyped_storage:
            case Role::dtype:
                break;
        }
        fail({"calls ", out_.global(function).name, " with arguments that do not fit it"});
    }

    /// BUILD: sets attributes. An OrderedDict's are versions of modules, which nobody here needs.
    void set_attributes() {
        pop();
        expect(top(), Kind::dict, "what gets attributes");
    }

    void push_global_from_stack() {
        const PickleValue name = pop();
        const PickleValue module = pop();
        expect(name, Kind::string, "a global's name");
        expect(module, Kind::string, "a global's module");
        push_global(out_.text(module), out_.text(name));
    }

    /// BINPERSID: the tuple on the stack describes a storage.
    void push_storage() {
        PickleValue id = pop();
        expect(id, Kind::tuple, "a persistent id");
        if (id.count != 5) fail({"a persistent id of ", std::to_string(id.count), " items, expected 5"});
        for (const unsigned i : {0u, 2u, 3u}) expect(out_.item(id, i), Kind::string, "a part of a persistent id");
        expect(out_.item(id, 1), Kind::global, "a storage's type");
        expect(out_.item(id, 4), Kind::integer, "a storage's number of elements");
        if (out_.text(out_.item(id, 0)) != "storage") {
            fail({"a persistent id of the kind ", in_quotes(out_.text(out_.item(id, 0))), ", expected 'storage'"});
        }
        const Role role = out_.global(out_.item(id, 1)).role;
        if (role != Role::storage && role != Role::untyped_storage) {
            fail({"a storage of the type ", out_.global(out_.item(id, 1)).name});
        }
        id.kind = Kind::storage;
        push(id);
    }

    /// Carries out one instruction, of which the code is read already.
    EFFICIENTVIT_COLD void step(std::uint64_t code) {
        switch (code) {
            case '(':  // MARK
                return push({Kind::mark});
            case 'N':  // NONE
                return push({Kind::none});
            case 0x88:  // NEWTRUE
            case 0x89:  // NEWFALSE
                return push({Kind::boolean});
            case 'K':  // BININT1
                return push({Kind::integer, 0, 0, static_cast<std::int64_t>(take(1))});
            case 'M':  // BININT2
                return push({Kind::integer, 0, 0, static_cast<std::int64_t>(take(2))});
            case 'J':  // BININT
                return push(take_integer(4));
            case 0x8a:  // LONG1
                return push(take_integer(take(1)));
            case 0x8b:  // LONG4
                return push(take_integer(take(4)));
            case 'G':  // BINFLOAT
                take(8);
                return push({Kind::number});
            case 0x8c:  // SHORT_BINUNICODE
                return push(take_string(take(1)));
            case 'X':  // BINUNICODE
                return push(take_string(take(4)));
            case ']':  // EMPTY_LIST
                return push({Kind::list});
            case 'a':  // APPEND
                return append(1, 0);
            case 'e':  // APPENDS
                return append(above_mark(), 1);
            case ')':  // EMPTY_TUPLE
                return tuple(0, 0);
            case 0x85:  // TUPLE1
                return tuple(1, 0);
            case 0x86:  // TUPLE2
                return tuple(2, 0);
            case 0x87:  // TUPLE3
                return tuple(3, 0);
            case 't':  // TUPLE
                return tuple(above_mark(), 1);
            case '}':  // EMPTY_DICT
                return empty_dict();
            case 's':  // SETITEM
                return set_items(2, 0);
            case 'u':  // SETITEMS
                return set_items(above_mark(), 1);
            case 'q':  // BINPUT
                return remember(take(1));
            case 'r':  // LONG_BINPUT
                return remember(take(4));
            case 0x94:  // MEMOIZE
                return remember(memo_.size());
            case 'h':  // BINGET
                return recall(take(1));
            case 'j':  // LONG_BINGET
                return recall(take(4));
            case 'c': {  // GLOBAL
                const std::string_view module = take_line();
                return push_global(module, take_line());
            }
            case 0x93:  // STACK_GLOBAL
                return push_global_from_stack();
            case 'R':   // REDUCE
            case 0x81:  // NEWOBJ
                return call();
            case 'b':  // BUILD
                return set_attributes();
            case 'Q':  // BINPERSID
                return push_storage();
            case 0x95:  // FRAME
                return need(take(8));
            default: {
                constexpr std::string_view digits = "0123456789abcdef";
                const std::string_view high = digits.substr(code >> 4, 1);
                fail({"the instruction 0x", high, digits.substr(code & 15, 1),
                      ", which no state dict needs, is refused"});
            }
        }
    }

    Pickle out_;
    std::string source_;
    std::size_t position_ = 0;
    std::size_t at_ = 0;  // where the instruction at hand begins
    std::deque<PickleValue> stack_;
    std::deque<PickleValue> memo_;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE
