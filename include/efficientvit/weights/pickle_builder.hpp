// SPDX-License-Identifier: Apache-2.0
//
// The stack machine of a pickle: what its instructions build of what lies on the stack. Executes nothing: calls of what
// is not in pickle_globals make opaque values, which are names and nothing else. Not for users: torch_checkpoint.hpp
// is.
#pragma once

#include <efficientvit/weights/pickle_source.hpp>

#include <deque>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// The stack, the memo and the values.
class PickleBuilder : protected PickleSource {
protected:
    using PickleSource::PickleSource;

    // Python writes dicts and lists by the thousand items; only the items of a tuple wait all together.
    static constexpr std::size_t deepest = 65536;

    using Kind = PickleKind;
    using Role = PickleRole;

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
        if (!target.is(Kind::opaque)) {
            expect(target, Kind::dict, "what takes a key");
            Pickle::Dict& dict = out_.dicts_[static_cast<std::size_t>(target.number)];
            for (std::size_t i = begin; i < stack_.size(); i += 2, ++dict.size) {
                if (Pickle::is_container(stack_[i])) {
                    fail({Pickle::name(stack_[i].kind), " as a key, which Python does not allow"});
                }
                add_pair(dict, {stack_[i], stack_[i + 1]});
            }
        }
        stack_.resize(begin - mark);
    }

    void add_pair(Pickle::Dict& dict, const Pickle::Pair& pair) {
        out_.pairs_.push_back(pair);
        const auto link = static_cast<std::uint32_t>(out_.pairs_.size());
        (dict.last == 0 ? dict.first : out_.pairs_[dict.last - 1].next) = link;
        dict.last = link;
    }

    void empty_list() {
        push({Kind::list, 0, 0, static_cast<std::int64_t>(out_.dicts_.size())});
        out_.dicts_.emplace_back();
    }

    /// The last `count` values into the list below them, numbered; those that hold nothing are counted alone.
    void append(std::size_t count, std::size_t mark) {
        const std::size_t begin = check_values(count, mark + 1);
        const PickleValue target = stack_[begin - mark - 1];
        if (!target.is(Kind::opaque)) {
            expect(target, Kind::list, "what takes items");
            Pickle::Dict& list = out_.dicts_[static_cast<std::size_t>(target.number)];
            for (std::size_t i = begin; i < stack_.size(); ++i, ++list.size) {
                const PickleValue& item = stack_[i];
                const bool holds =
                    item.is(Kind::tensor) ||
                    (Pickle::is_container(item) && out_.dicts_[static_cast<std::size_t>(item.number)].size != 0);
                if (holds) add_pair(list, {{Kind::integer, 0, 0, std::int64_t{list.size}}, item});
            }
        }
        stack_.resize(begin - mark);
    }

    /// The last `count` values into the set below them, which keeps none.
    void add_items(std::size_t count) {
        const std::size_t begin = check_values(count, 2);
        expect(stack_[begin - 2], Kind::opaque, "what takes a set's items");
        stack_.resize(begin - 1);
    }

    /// Everything above the last mark, and the mark.
    void drop_to_mark() { stack_.resize(stack_.size() - above_mark() - 1); }

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
        // Where both names stand, in 32 bits each, and how long they are, in 16.
        const auto length = [](std::string_view text) {
            return static_cast<std::uint32_t>((std::min)(text.size(), std::size_t{0xffff}));
        };
        push({Kind::opaque, 1, length(module) | length(name) << 16,
              static_cast<std::int64_t>(offset_of(module) | offset_of(name) << 32)});
    }

    /// REDUCE and NEWOBJ: calls the global below the arguments. That is, describes what the call would make; of what is
    /// opaque, an opaque value.
    void call() {
        const PickleValue arguments = pop();
        const PickleValue function = pop();
        expect(arguments, Kind::tuple, "the arguments of a call");
        if (function.is(Kind::opaque)) return push(function);
        expect(function, Kind::global, "what is called");
        const std::size_t count = arguments.count;
        PickleValue out = arguments;
        switch (out_.global(function).role) {
            case Role::ordered_dict:
                if (count != 0) break;
                return empty_dict();
            case Role::default_dict:
                if (count > 1) break;
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
                if (count < 1 || count > 4) break;
                if (!out_.item(arguments, 0).is(Kind::tensor) && !out_.item(arguments, 0).is(Kind::opaque)) break;
                return push(out_.item(arguments, 0));
            case Role::storage:
            case Role::untyped_storage:
            case Role::dtype:
                break;
        }
        fail({"calls ", out_.global(function).name, " with arguments that do not fit it"});
    }

    /// NEWOBJ_EX, OBJ and INST: only for what is opaque, which it stays.
    void make_object(const PickleValue& type) {
        expect(type, Kind::opaque, "what is made an object of");
        push(type);
    }

    /// BUILD: sets attributes. An OrderedDict's are versions of modules, which nobody here needs.
    void set_attributes() {
        pop();
        if (!top().is(Kind::opaque)) expect(top(), Kind::dict, "what gets attributes");
    }

    void push_global_from_stack() {
        const PickleValue name = pop();
        const PickleValue module = pop();
        expect(name, Kind::string, "a global's name");
        expect(module, Kind::string, "a global's module");
        push_global(out_.text(module), out_.text(name));
    }

    /// BINPERSID: the tuple on the stack describes a storage. Any other persistent id is opaque, and so may be the type
    /// of a storage: of elements that no layer has.
    void push_storage() {
        PickleValue id = pop();
        expect(id, Kind::tuple, "a persistent id");
        if (id.count == 0 || !out_.item(id, 0).is(Kind::string) || out_.text(out_.item(id, 0)) != "storage") {
            return push(unnamed(PickleObject::persistent));
        }
        if (id.count != 5) fail({"a storage described by ", std::to_string(id.count), " items, expected 5"});
        for (const unsigned i : {2u, 3u}) expect(out_.item(id, i), Kind::string, "a part of a storage");
        expect(out_.item(id, 4), Kind::integer, "a storage's number of elements");
        const PickleValue& type = out_.item(id, 1);
        if (!type.is(Kind::opaque)) {
            expect(type, Kind::global, "a storage's type");
            const Role role = out_.global(type).role;
            if (role != Role::storage && role != Role::untyped_storage) {
                fail({"a storage of the type ", out_.global(type).name});
            }
        }
        id.kind = Kind::storage;
        push(id);
    }

    std::deque<PickleValue> stack_;
    std::deque<PickleValue> memo_;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
