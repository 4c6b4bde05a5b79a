// SPDX-License-Identifier: Apache-2.0
//
// first_difference beside what timm's efficientvit_b0 gave (tests/data/difference/make_dump.py): nothing to find as it
// is, and the very layer where one number is another.
#include <efficientvit/models/classifier.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <gtest/gtest.h>

#include <array>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "../golden_values.hpp"
#include "../images/fixtures.hpp"
#include "shell.hpp"

namespace {

/// What the reference calls the parts of b0, and what timm does.
constexpr std::array<std::array<std::string_view, 2>, 20> modules{
    {{"backbone.input_stem.op_list.0", "stem.in_conv"},
     {"backbone.input_stem.op_list.1", "stem.res0"},
     {"backbone.stages.0.op_list.0", "stages.0.blocks.0"},
     {"backbone.stages.0.op_list.1", "stages.0.blocks.1"},
     {"backbone.stages.1.op_list.0", "stages.1.blocks.0"},
     {"backbone.stages.1.op_list.1", "stages.1.blocks.1"},
     {"backbone.stages.2.op_list.0", "stages.2.blocks.0"},
     {"backbone.stages.2.op_list.1.context_module", "stages.2.blocks.1.context_module"},
     {"backbone.stages.2.op_list.1.local_module", "stages.2.blocks.1.local_module"},
     {"backbone.stages.2.op_list.2.context_module", "stages.2.blocks.2.context_module"},
     {"backbone.stages.2.op_list.2.local_module", "stages.2.blocks.2.local_module"},
     {"backbone.stages.3.op_list.0", "stages.3.blocks.0"},
     {"backbone.stages.3.op_list.1.context_module", "stages.3.blocks.1.context_module"},
     {"backbone.stages.3.op_list.1.local_module", "stages.3.blocks.1.local_module"},
     {"backbone.stages.3.op_list.2.context_module", "stages.3.blocks.2.context_module"},
     {"backbone.stages.3.op_list.2.local_module", "stages.3.blocks.2.local_module"},
     {"head.op_list.0", "head.in_conv"},
     {"head.op_list.1", "head.global_pool"},
     {"head.op_list.2", "head.classifier.2"},
     {"head.op_list.3", "head.classifier.4"}}};

enum Naming { reference, timm };

class Difference : public testing::Test {
protected:
    /// A dump as dump_activations.py would write it, with `altered` added to the first number of a weight.
    void write_dump(Naming naming, const std::string& weight = {}, float altered = 0) const {
        const fs::path stored = fs::path(EFFICIENTVIT_TEST_DATA) / "difference" / "timm_b0_40x56.safetensors";
        const ev::StateDict dump = ev::load_safetensors(stored);
        ev::StateDict out;
        const ev::Entry& input = dump.at("input");
        out.insert("input", input.dtype, input.shape, input.data, input.owner);
        for (const auto& names : modules) {
            const ev::Entry& entry = dump.at("activations." + std::string(names[timm]));
            out.insert("activations." + std::string(names[naming]), entry.dtype, entry.shape, entry.data, entry.owner);
        }
        for (const ev::Parameter& p : ev::ClsB0<>::parameters()) {
            std::vector<float> values = golden_tensor(p.name, p.shape);
            if (p.name == weight) values[0] += altered;
            const std::string name = naming == timm ? ev::detail::timm_name(p.name, ev::detail::Family::b) : p.name;
            out.insert("weights." + name, p.shape, std::move(values));
        }
        ev::save_safetensors(scratch_ / "dump.safetensors", out);
    }

    Outcome run(const std::string& options = {}, const std::string& before = {}) const {
        return shell("cd '" + scratch_.path().string() + "' && " + before +
                     EFFICIENTVIT_EXAMPLES_DIR "/first_difference dump.safetensors " + options);
    }

    /// Every module of the table is there, in the network's order.
    static void expect_all_modules(const std::string& text) {
        std::size_t at = 0;
        for (const auto& names : modules) {
            at = text.find("\n" + std::string(names[reference]) + " ", at);
            ASSERT_NE(at, std::string::npos) << names[reference] << " is not in its place in: " << text;
        }
    }

    Scratch scratch_;
};

TEST_F(Difference, NoneWhereThereIsNone) {
    for (const Naming naming : {timm, reference}) {
        write_dump(naming);
        const Outcome found = run();
        EXPECT_EQ(found.status, 0) << found.text;
        expect_part("No layer is beyond its bound.", found.text);
        expect_part("\nall at once: logits ", found.text);
        expect_part("\nefficientvit: " EFFICIENTVIT_VERSION "\n", found.text);
        expect_all_modules(found.text);
    }
    EXPECT_EQ(run("--isa scalar").status, 0);
    // Attention over the last stage's four pixels has denominators near 0, which widen what was rounded before: 0.12.
    EXPECT_EQ(run("--precision bf16 --total-bound 0.3").status, 0);
    EXPECT_EQ(run("--model backbone_b0").status, 0);
}

TEST_F(Difference, TheLayerOfAnAlteredWeightIsNamed) {
    for (const Naming naming : {timm, reference}) {
        for (const std::string module :
             {"backbone.stages.2.op_list.1.local_module", "backbone.stages.2.op_list.2.context_module"}) {
            const bool local = module.ends_with("local_module");
            write_dump(naming, module + (local ? ".main.depth_conv.conv.weight" : ".main.proj.conv.weight"), 0.05f);
            const Outcome found = run();
            EXPECT_EQ(found.status, 1) << found.text;
            expect_part("\nFirst beyond its bound: " + module + "\n", found.text);
            // Those behind it do well on the input that they should have had.
            std::istringstream lines(found.text);
            int beyond = 0;
            for (std::string line, name, shape; std::getline(lines, line);) {
                double alone = 0;
                std::istringstream words(line);
                if (words >> name >> shape >> alone && name.find(".op_list.") != std::string::npos)
                    beyond += alone > 1e-5;
            }
            EXPECT_EQ(beyond, 1) << found.text;
        }
    }
    EXPECT_EQ(run("--bound 1 --total-bound 1").status, 0);
}

TEST_F(Difference, BoundsAreKept) {
    write_dump(timm);
    const Outcome alone = run("--bound 1e-12");
    EXPECT_EQ(alone.status, 1);
    expect_part("\nFirst beyond its bound: backbone.input_stem.op_list.0\n", alone.text);
    const Outcome in_a_row = run("--total-bound 1e-12");
    EXPECT_EQ(in_a_row.status, 1);
    expect_part("though each layer alone is within its bound", in_a_row.text);
    EXPECT_EQ(run("--precision bf16_weights --bound 1e-5").status, 1);
}

TEST_F(Difference, NoAnswerIsNoDifference) {
    write_dump(timm);
    for (const std::string options :
         {"--isa mmx", "--precision f8", "--model cls_b9", "--model cls_b1", "--nonsense"}) {
        EXPECT_EQ(run(options).status, 2) << options;
    }
    ev::StateDict dump = ev::load_safetensors(scratch_ / "dump.safetensors");
    ASSERT_TRUE(dump.erase("activations.stages.1.blocks.1"));
    ev::save_safetensors(scratch_ / "dump.safetensors", dump);
    const Outcome missing = run();
    EXPECT_EQ(missing.status, 2);
    expect_part("no activation of backbone.stages.1.op_list.1", missing.text);
    EXPECT_EQ(shell(EFFICIENTVIT_EXAMPLES_DIR "/first_difference").status, 2);
    EXPECT_EQ(shell(EFFICIENTVIT_EXAMPLES_DIR "/first_difference --help").status, 0);
}

}  // namespace
