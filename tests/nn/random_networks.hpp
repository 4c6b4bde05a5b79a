// SPDX-License-Identifier: Apache-2.0
//
// Networks that torch/make_networks.py has dealt from a seed, against the naive reference at random sizes, and against
// what PyTorch computed of them. The lists are random_blocks.inc and random_networks.inc.
#pragma once

#include "../isas.hpp"
#include "check_layer.hpp"

#include <efficientvit/weights/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <memory>

/// A network whose type is forgotten. Its outputs are one, or a backbone's stages.
class AnyNetwork {
public:
    virtual ~AnyNetwork() = default;
    virtual std::vector<ev::Parameter> parameters() const = 0;
    virtual void load(const ev::StateDict& weights, ev::Isa isa) = 0;
    virtual std::vector<ev::Tensor> forward(const ev::Tensor& x, ev::Context& context) const = 0;
    virtual std::vector<reference::Map> expected(const reference::Map& x, const reference::Weights& weights) const = 0;
    /// Channels that it takes, and what must divide rows and columns.
    virtual int in_channels() const = 0;
    virtual int size_multiple() const = 0;
};

template <class T>
class AnyNetworkOf final : public AnyNetwork {
public:
    std::vector<ev::Parameter> parameters() const override { return T::parameters(); }
    void load(const ev::StateDict& weights, ev::Isa isa) override { network_.load_state_dict(weights, {.isa = isa}); }
    std::vector<ev::Tensor> forward(const ev::Tensor& x, ev::Context& context) const override {
        std::vector<ev::Tensor> outputs;
        if constexpr (requires { typename T::Features; }) {
            const typename T::Features features = network_.forward(x, context);
            for (int i = 0; i < T::stages; ++i) outputs.push_back(features[i]);
        } else {
            outputs.push_back(network_.forward(x, context));
        }
        return outputs;
    }
    std::vector<reference::Map> expected(const reference::Map& x, const reference::Weights& weights) const override {
        if constexpr (requires { typename T::Features; }) {
            return reference::reference_of(&network_)(x, weights);
        } else {
            return {reference::reference_of(&network_)(x, weights)};
        }
    }
    int in_channels() const override { return T::in_channels; }
    int size_multiple() const override {
        if constexpr (requires { T::size_multiple; }) return T::size_multiple;
        return 1;
    }

private:
    T network_;
};

/// An entry of the lists.
struct RandomNetwork {
    std::string name;
    std::string type;  ///< its C++, white space apart as the compiler saw it
    std::unique_ptr<AnyNetwork> (*make)();

    // Weights and inputs are made with its name as the seed.
    reference::Weights weights(reference::Weights::Asked* asked = nullptr) const {
        return reference::Weights::golden(asked, name);
    }
    ev::Tensor input(const ev::Shape& shape) const { return golden_input(shape, name); }

    /// visit(outputs, where) of x on every ISA with 1 and 2 threads, which must give the same bits.
    template <class Visit>
    void run(AnyNetwork& network, const ev::Tensor& x, const Visit& visit) const {
        const ev::StateDict weights = golden_weights(network.parameters(), name);
        for (const ev::Isa isa : isas()) {
            network.load(weights, isa);
            std::vector<ev::Tensor> first;
            for (const int threads : {1, 2}) {
                const std::string where = name + ", " + type + ", on " + to_text(shape_of(x)) + ", " +
                                          std::string(ev::isa_name(isa)) + ", " + std::to_string(threads) + " threads";
                ev::Context context({.threads = threads});
                const std::vector<ev::Tensor> outputs = network.forward(x, context);
                if (threads == 1) first = outputs;
                for (std::size_t i = 0; i < outputs.size(); ++i) {
                    EXPECT_TRUE(same_bits(outputs[i], first[i])) << where << ", output " << i;
                }
                visit(outputs, where);
            }
        }
    }
};

/// Against the naive reference: names, shapes, and every value, at `sizes` random sizes below `extent`.
inline void check_against_reference(const RandomNetwork& random, int sizes, int extent) {
    const std::unique_ptr<AnyNetwork> network = random.make();
    Dice dice(static_cast<int>(golden_hash(random.name) % 1000000));
    for (int i = 0; i < sizes; ++i) {
        const int multiple = network->size_multiple();
        const auto side = [&] { return (dice.below(extent) / multiple + 1) * multiple; };
        const int batch = 1 + dice.below(3), height = side(), width = side();
        const ev::Tensor x = random.input({batch, network->in_channels(), height, width});
        reference::Weights::Asked asked;
        const std::vector<reference::Map> expected = network->expected(to_map(x), random.weights(&asked));
        EXPECT_EQ(lines(network->parameters()), lines(asked)) << random.name;
        random.run(*network, x, [&](const std::vector<ev::Tensor>& outputs, const std::string& where) {
            ASSERT_EQ(outputs.size(), expected.size()) << where;
            for (std::size_t o = 0; o < outputs.size(); ++o) {
                EXPECT_LE(relative_error(outputs[o], expected[o], 0.25), bound) << where << ", output " << o;
            }
        });
    }
}

/// Outputs that torch/make_networks.py has stored: every step-th value of each, behind its mean, root mean square and
/// largest absolute value.
class StoredOutputs {
public:
    StoredOutputs()
        : file_(ev::load_safetensors(std::filesystem::path(EFFICIENTVIT_TEST_DATA) / "networks/random.safetensors")) {}

    void check(const RandomNetwork& random) const {
        const auto entry = nlohmann::json::parse(file_.metadata().at(random.name));
        ASSERT_EQ(entry.at("type").get<std::string>(), random.type)
            << "tests/torch/make_networks.py writes file and types together";
        const std::unique_ptr<AnyNetwork> network = random.make();
        EXPECT_EQ(entry.at("parameters").get<std::string>(), hash_of(network->parameters())) << random.name;
        const auto s = entry.at("input").get<std::array<int, 4>>();
        const ev::Tensor x = random.input({s[0], s[1], s[2], s[3]});

        const auto naive = network->expected(to_map(x), random.weights());
        ASSERT_EQ(naive.size(), entry.at("outputs").size()) << random.name;
        for (std::size_t i = 0; i < naive.size(); ++i) {
            // Both in double; what is stored was rounded to float.
            EXPECT_LE(error(naive[i].values.data(), naive[i].values.size(), entry, random, i), 1e-7) << random.name;
        }
        random.run(*network, x, [&](const std::vector<ev::Tensor>& outputs, const std::string& where) {
            ASSERT_EQ(outputs.size(), entry.at("outputs").size()) << where;
            for (std::size_t i = 0; i < outputs.size(); ++i) {
                const auto shape = entry.at("outputs").at(i).get<std::array<int, 4>>();
                ASSERT_EQ(shape_of(outputs[i]), (ev::Shape{shape[0], shape[1], shape[2], shape[3]})) << where;
                const auto count = static_cast<std::size_t>(outputs[i].size());
                EXPECT_LE(error(outputs[i].data(), count, entry, random, i), bound) << where << ", output " << i;
            }
        });
    }

private:
    template <class T>
    double error(const T* values, std::size_t count, const nlohmann::json& entry, const RandomNetwork& random,
                 std::size_t output) const {
        const std::vector<float> stored = ev::to_float(file_.at(random.name + "." + std::to_string(output)));
        const auto step = entry.at("steps").at(output).get<std::size_t>();
        if (stored.size() != 3 + (count + step - 1) / step) return INFINITY;
        double mean = 0, squares = 0;
        for (std::size_t i = 0; i < count; ++i) {
            mean += double{values[i]} / double(count);
            squares += double{values[i]} * double{values[i]} / double(count);
        }
        double worst = std::max(std::abs(mean - double{stored[0]}), std::abs(std::sqrt(squares) - double{stored[1]}));
        for (std::size_t i = 0; i < count; i += step) {
            const double difference = std::abs(double{values[i]} - double{stored[3 + i / step]});
            if (std::isnan(difference)) return INFINITY;
            worst = std::max(worst, difference);
        }
        return worst / std::max(0.25, double{stored[2]});
    }

    static std::string hash_of(const std::vector<ev::Parameter>& parameters) {
        std::string text;
        for (const std::string& line : lines(parameters)) text += line + "\n";
        std::string digits(16, '0');
        std::snprintf(digits.data(), 17, "%016llx", static_cast<unsigned long long>(golden_hash(text)));
        return digits;
    }

    ev::StateDict file_;
};

/// For an element of a list.
#define EFFICIENTVIT_RANDOM_NETWORK(name, ...) \
    {#name, #__VA_ARGS__,                      \
     []() -> std::unique_ptr<AnyNetwork> { return std::make_unique<AnyNetworkOf<__VA_ARGS__>>(); }},
