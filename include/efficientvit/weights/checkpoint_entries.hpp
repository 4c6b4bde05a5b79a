// SPDX-License-Identifier: Apache-2.0
//
// The entries of a PyTorch checkpoint: what a path such as "ema.0.9998" means, and where a training run left the
// tensors. Not for users: torch_checkpoint.hpp is.
#pragma once

#include <efficientvit/config.hpp>
#include <efficientvit/weights/pickle.hpp>
#include <efficientvit/weights/text.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <efficientvit/foreign_macros.hpp>

EFFICIENTVIT_BEGIN_NAMESPACE

namespace detail {

/// Finds its way in a pickle, to which it refers.
class CheckpointEntries {
public:
    /// What a path leads to.
    struct Named {
        std::vector<PickleValue> values;  ///< more than one: the path is ambiguous
        PickleValue last;                 ///< how far the path could be followed
        std::string followed;             ///< what of the path leads there
    };

    /// Where tensors by name are, from some value on.
    struct Lead {
        int count = 0;                         ///< 0, 1, or 2 for several
        std::size_t tensors = 0;               ///< of the one, or of the largest
        std::vector<const Pickle::Pair*> way;  ///< for one: the pairs to follow, the first one last
    };

    explicit CheckpointEntries(const Pickle& pickle) : pickle_(pickle) {}

    /// A tensor that has a name, readable or not.
    bool is_tensor(const Pickle::Pair& pair) const {
        return pair.key.is(PickleKind::string) && (pair.value.is(PickleKind::tensor) || is_odd_tensor(pair.value));
    }

    /// An object that PyTorch would make a tensor of, of a kind that is not read: sparse, quantised, a subclass.
    bool is_odd_tensor(const PickleValue& value) const {
        if (!value.is(PickleKind::opaque)) return false;
        const std::string name = pickle_.class_name(value);
        return name.starts_with("torch._utils._rebuild_") || name.starts_with("torch._tensor._rebuild_");
    }

    /// Follows `path`, keys and list indices with dots between them; keys may hold dots themselves.
    EFFICIENTVIT_COLD Named find(const PickleValue& from, std::string_view path) const {
        Named out{{}, from, {}};
        follow(from, path, 0, out);
        return out;
    }

    /// Looks for a dict of tensors: that of its entry `state_dict`, else the value itself, else the one that its dicts
    /// and lists lead to. What has eight times as many tensors goes first: a loss or a mean beside a model's dict are
    /// not its weights. `value` must be a container.
    EFFICIENTVIT_COLD Lead lead(const PickleValue& value) const {
        std::size_t budget = 16 * pickle_.pairs() + 1000;  // dicts may be shared, and hold themselves
        return lead(value, deepest, budget);
    }

    /// The paths to all dicts of tensors below the value, as a message names them.
    EFFICIENTVIT_COLD std::string list_leads(const PickleValue& value, const std::string& before) const {
        std::size_t budget = 4 * pickle_.pairs() + 1000;
        std::string out;
        std::size_t count = 0;
        list_leads_below(value, before, deepest, budget, out, count);
        return count > most_listed ? concat({out, " and ", std::to_string(count - most_listed), " more"}) : out;
    }

    /// What a container holds but for `without`, as a message names it; tensors only where `tensors` says so.
    EFFICIENTVIT_COLD std::string list(const PickleValue& container, bool tensors,
                                       const Pickle::Pair* without = nullptr) const {
        std::string out;
        std::size_t count = 0;
        for (const Pickle::Pair* pair = pickle_.first(container); pair != nullptr; pair = pickle_.next(*pair)) {
            if (pair == without || (!tensors && is_tensor(*pair)) || ++count > most_listed) continue;
            out += concat({count > 1 ? ", " : "", key_name(pair->key), " (", pickle_.describe(pair->value), ")"});
        }
        return count > most_listed ? concat({out, " and ", std::to_string(count - most_listed), " more"}) : out;
    }

private:
    static constexpr std::size_t most_listed = 20;
    static constexpr int deepest = 32;  // of dicts in dicts that lead to tensors

    std::string key_name(const PickleValue& key) const {
        if (key.is(PickleKind::string)) return in_quotes(pickle_.text(key));
        const std::string text = pickle_.key_text(key);
        return text.empty() ? pickle_.describe(key) : text;
    }

    static std::string joined(const std::string& before, const std::string& key) {
        return before.empty() ? key : concat({before, ".", key});
    }

    bool same_key(const PickleValue& a, const PickleValue& b) const {
        return a.kind == b.kind && pickle_.key_text(a) == pickle_.key_text(b);
    }

    void follow(const PickleValue& from, std::string_view path, std::size_t done, Named& out) const {
        if (done >= out.followed.size() && done > 0) {
            out.last = from;
            out.followed = path.substr(0, done - 1);
        }
        const std::string_view rest = path.substr(done);
        const auto step = [&](const std::string& key, const PickleValue& value) {
            if (rest == key) out.values.push_back(value);
            if (rest.size() > key.size() + 1 && rest.starts_with(key) && rest[key.size()] == '.') {
                follow(value, path, done + key.size() + 1, out);
            }
        };
        if (from.is(PickleKind::tuple)) {
            for (std::size_t i = 0; i < from.count; ++i) step(std::to_string(i), pickle_.item(from, i));
        }
        if (!Pickle::is_container(from)) return;
        std::vector<const Pickle::Pair*> meant;
        for (const Pickle::Pair* pair = pickle_.first(from); pair != nullptr; pair = pickle_.next(*pair)) {
            const std::string key = pickle_.key_text(pair->key);
            if (!rest.starts_with(key) || (key.empty() && !pair->key.is(PickleKind::string))) continue;
            if (rest.size() != key.size() && rest[key.size()] != '.') continue;
            bool again = false;  // of a key that is there twice the last one counts, as in Python
            for (const Pickle::Pair*& earlier : meant) {
                if (!same_key(earlier->key, pair->key)) continue;
                earlier = pair;
                again = true;
            }
            if (!again) meant.push_back(pair);
        }
        for (const Pickle::Pair* pair : meant) step(pickle_.key_text(pair->key), pair->value);
    }

    /// Whether a dict of tensors is so much larger than another that this one is none to choose.
    static bool outweighs(std::size_t tensors, std::size_t others) { return tensors / 8 > others; }

    Lead lead(const PickleValue& value, int depth, std::size_t& budget) const {
        if (!Pickle::is_container(value) || depth == 0) return {};
        const bool named = value.is(PickleKind::dict);
        Lead inner, one;          // of `state_dict`; of the entry with the most tensors
        std::size_t another = 0;  // of the entry with the next most
        std::size_t several = 0;  // of an entry with several dicts, such as an optimizer's
        std::size_t own = 0;
        for (const Pickle::Pair* pair = pickle_.first(value); pair != nullptr; pair = pickle_.next(*pair)) {
            if (budget == 0) return {};
            --budget;
            if (named && is_tensor(*pair)) {
                ++own;
                continue;
            }
            Lead found = lead(pair->value, depth - 1, budget);
            if (found.count == 0) continue;
            if (found.count == 1) found.way.push_back(pair);
            if (named && pair->key.is(PickleKind::string) && pickle_.text(pair->key) == "state_dict") {
                inner = std::move(found);
            } else if (found.count == 2) {
                several = std::max(several, found.tensors);
            } else if (found.tensors > one.tensors) {
                another = std::exchange(one, std::move(found)).tensors;
            } else {
                another = std::max(another, found.tensors);
            }
        }
        if (inner.count != 0) return inner;
        const std::size_t most = std::max(one.tensors, several);
        if (own > 0 && !outweighs(most, own)) return {1, own, {}};
        if (one.count == 0 || outweighs(several, one.tensors)) return {several > 0 ? 2 : 0, several, {}};
        if (another > 0 && !outweighs(one.tensors, another)) return {2, one.tensors, {}};
        return one;
    }

    void list_leads(const PickleValue& value, const std::string& path, int depth, std::size_t& budget, std::string& out,
                    std::size_t& count) const {
        if (!Pickle::is_container(value) || depth == 0) return;
        for (const Pickle::Pair* pair = pickle_.first(value); pair != nullptr; pair = pickle_.next(*pair)) {
            if (value.is(PickleKind::dict) && is_tensor(*pair)) {
                if (++count <= most_listed) {
                    out += concat({count > 1 ? ", " : "", in_quotes(path), " (", pickle_.describe(value), ")"});
                }
                return;
            }
        }
        list_leads_below(value, path, depth, budget, out, count);
    }
    void list_leads_below(const PickleValue& value, const std::string& path, int depth, std::size_t& budget,
                          std::string& out, std::size_t& count) const {
        for (const Pickle::Pair* pair = pickle_.first(value); pair != nullptr && budget > 0;
             pair = pickle_.next(*pair)) {
            --budget;
            const std::string key = Pickle::is_container(pair->value) ? pickle_.key_text(pair->key) : "";
            if (!key.empty()) list_leads(pair->value, joined(path, key), depth - 1, budget, out, count);
        }
    }

    const Pickle& pickle_;
};

}  // namespace detail

EFFICIENTVIT_END_NAMESPACE

#include <efficientvit/foreign_macros_end.hpp>
