// SPDX-License-Identifier: Apache-2.0
//
// Reads the pickle in a PyTorch checkpoint. Executes nothing: it is a machine that knows only the instructions which
// build what pickle.hpp can hold. A class or function that is not listed there becomes an opaque value, and so does
// what would be made by it; a tensor that needs one is refused. Not for users: torch_checkpoint.hpp is. The
// instructions are described in Python's Lib/pickletools.py; protocols 2 to 5.
#pragma once

#include <efficientvit/weights/pickle_builder.hpp>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Reads one pickle, in the constructor.
class PickleMachine : PickleBuilder {
public:
    /// The size up to which a pickle may be read. A model's takes some 150 bytes for each tensor.
    static constexpr std::size_t largest = std::size_t{64} << 20;

    /// Reads `bytes` whole, of which there are at most `largest`; `source` begins the messages. Throws WeightsError
    /// with the byte at which it is not what it should be.
    EFFICIENTVIT_COLD PickleMachine(std::vector<std::byte> bytes, std::string source)
        : PickleBuilder(std::move(bytes), std::move(source)) {
        if (take(1) != 0x80) fail({"not a pickle of protocol 2 or later"});
        const std::uint64_t protocol = take(1);
        if (protocol < 2 || protocol > 5) {
            fail({"a pickle of protocol ", std::to_string(protocol), ", expected 2 to 5"});
        }
        for (;;) {
            at_ = position_;
            const auto code = static_cast<unsigned>(take(1));
            if (code == '.') break;  // STOP
            step(code);
        }
        if (stack_.size() != 1 || stack_.front().is(Kind::mark)) {
            fail({"ends with ", std::to_string(stack_.size()), " values on its stack, expected 1",
                  stack_.size() == 1 ? ": a mark" : ""});
        }
        if (stack_.front().is(Kind::tuple)) make_list();
        out_.root_ = stack_.front();
        if (position_ != out_.bytes_.size()) {
            fail({std::to_string(out_.bytes_.size() - position_), " bytes behind the end of the pickle"});
        }
    }

    Pickle result() && { return std::move(out_); }

private:
    /// Of a tuple, if it holds dicts or lists: torch.save((model.state_dict(), optimizer.state_dict()), path).
    EFFICIENTVIT_COLD void make_list() {
        const PickleValue root = stack_.front();
        bool holds = false;
        for (std::size_t i = 0; i < root.count; ++i) holds = holds || Pickle::is_container(out_.item(root, i));
        if (!holds) return;
        stack_.clear();
        empty_list();
        for (std::size_t i = 0; i < root.count; ++i) push(out_.item(root, i));
        append(root.count, 0);
    }

    /// Carries out one instruction, of which the code is read already. Here those of numbers and text.
    EFFICIENTVIT_COLD void step(unsigned code) {
        switch (code) {
            case '(':  // MARK
                return push({Kind::mark});
            case 'N':  // NONE
                return push({Kind::none});
            case 0x88:  // NEWTRUE
            case 0x89:  // NEWFALSE
                return push({Kind::boolean, 0, 0, code == 0x88 ? 1 : 0});
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
                return push(take_real());
            case 0x8c:  // SHORT_BINUNICODE
                return push(take_string(take(1)));
            case 'X':  // BINUNICODE
                return push(take_string(take(4)));
            case 0x8d:  // BINUNICODE8
                return push(take_string(take(8)));
            default:
                return container_step(code);
        }
    }

    /// Lists, tuples, dicts, and the memo.
    EFFICIENTVIT_COLD void container_step(unsigned code) {
        switch (code) {
            case ']':  // EMPTY_LIST
                return empty_list();
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
            default:
                return object_step(code);
        }
    }

    /// Objects of a class, which none of these makes.
    EFFICIENTVIT_COLD void object_step(unsigned code) {
        switch (code) {
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
            case 0x92: {  // NEWOBJ_EX
                pop();    // the keyword arguments
                pop();
                return make_object(pop());
            }
            case 'o': {  // OBJ
                const std::size_t count = above_mark();
                if (count == 0) fail({"takes a value where there is none"});
                const PickleValue type = stack_[stack_.size() - count];
                drop_to_mark();
                return make_object(type);
            }
            case 'i': {  // INST
                drop_to_mark();
                const std::string_view module = take_line();
                push_global(module, take_line());
                return make_object(pop());
            }
            default:
                return rare_step(code);
        }
    }

    /// Instructions that PyTorch writes once, or never beside what no state dict needs.
    EFFICIENTVIT_COLD void rare_step(unsigned code) {
        switch (code) {
            case 'Q':  // BINPERSID
                return push_storage();
            case 0x95:  // FRAME
                return need(take(8));
            case 'U':  // SHORT_BINSTRING, as Python 2 has them
                return push(take_string(take(1)));
            case 'T':  // BINSTRING
                return push(take_string(take(4)));
            case 'C':  // SHORT_BINBYTES
                return push(take_bytes(take(1)));
            case 'B':  // BINBYTES
                return push(take_bytes(take(4)));
            case 0x8e:  // BINBYTES8
            case 0x96:  // BYTEARRAY8
                return push(take_bytes(take(8)));
            case 0x8f:  // EMPTY_SET
                return push(unnamed(PickleObject::set));
            case 0x90:  // ADDITEMS
                return add_items(above_mark());
            case 0x91:  // FROZENSET
                drop_to_mark();
                return push(unnamed(PickleObject::set));
            case '0':  // POP
                if (!stack_.empty() && stack_.back().is(Kind::mark)) return stack_.pop_back();
                pop();
                return;
            case '1':  // POP_MARK
                return drop_to_mark();
            case '2':  // DUP
                return push(top());
            default: {
                constexpr std::string_view digits = "0123456789abcdef";
                const std::string_view high = digits.substr(code >> 4, 1);
                fail({"the instruction 0x", high, digits.substr(code & 15, 1),
                      ", which no state dict needs, is refused"});
            }
        }
    }
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
