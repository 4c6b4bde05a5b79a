// SPDX-License-Identifier: Apache-2.0
//
// The program segment_anything as a person runs it, with the small SAM of drawn shapes and weights made from names, so
// what the masks show means nothing.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/mask_rle.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../../examples/segment_anything/shapes_sam.hpp"
#include "programs.hpp"

namespace {

using nlohmann::json;

const std::string everything = " --everything --points-per-side 3 --pred-iou -100 --stability 0 --min-area 0 ";

class SegmentAnything : public Programs {
protected:
    void SetUp() override {
        Programs::SetUp();
        if (!fs::exists(weights_ / "shapes.safetensors"))
            save_weights<examples::ShapesSam>(weights_ / "shapes.safetensors");
    }
    Outcome segment(const std::string& arguments) const {
        return run("segment_anything" + weights("shapes") + arguments);
    }
    json read(const std::string& file) const { return json::parse(contents(file)); }
    void write(const std::string& file, const std::string& text) const {
        std::ofstream(scratch_ / file, std::ios::binary) << text;
    }
    /// The pixels of a mask in a file, and those that the JSON beside it tells.
    void expect_same_mask(const std::string& png, const json& annotation) const {
        const ev::Image mask = ev::read_image(scratch_ / png);
        const json& segmentation = annotation["segmentation"];
        ASSERT_EQ(segmentation["size"], (json{mask.height(), mask.width()}));
        const ev::Mask told =
            ev::decode_rle(ev::from_coco_string(segmentation["counts"].get<std::string>(), mask.size()));
        std::int64_t area = 0, different = 0;
        for (int y = 0; y < mask.height(); ++y) {
            for (int x = 0; x < mask.width(); ++x) {
                area += told.at(y, x);
                different += mask.at(y, x).red != told.at(y, x) * 255 ? 1 : 0;
            }
        }
        EXPECT_EQ(different, 0) << png;
        EXPECT_EQ(annotation["area"], area);
    }
};

TEST_F(SegmentAnything, AClickBecomesAMask) {
    const Outcome out = segment("--point 30,20 --point 5,6,0 photos/china.png");
    ASSERT_EQ(out.status, 0) << out.text;
    expect_in("china.png: 1 mask -> segmented_anything/china_overlay.png", out.text);
    EXPECT_EQ(files("segmented_anything"),
              (std::set<std::string>{"annotations.json", "china.json", "china_mask.png", "china_overlay.png"}));
    const json result = read("segmented_anything/china.json");
    ASSERT_EQ(result["annotations"].size(), 1U);
    expect_same_mask("segmented_anything/china_mask.png", result["annotations"][0]);
    EXPECT_EQ(ev::read_image(scratch_ / "segmented_anything/china_overlay.png").size(),
              ev::read_image(scratch_ / "photos/china.png").size());
}

TEST_F(SegmentAnything, ABoxBecomesAMask) {
    const Outcome out = segment("--box 10,10,60.5,70 --output boxes photos");
    ASSERT_EQ(out.status, 0) << out.text;
    expect_same_mask("boxes/flower_mask.png", read("boxes/flower.json")["annotations"][0]);
    const json all = read("boxes/annotations.json");
    EXPECT_EQ(all["images"].size(), 2U);
    ASSERT_EQ(all["annotations"].size(), 2U);
    EXPECT_EQ(all["categories"][0]["id"], all["annotations"][0]["category_id"]);
    EXPECT_EQ(all["annotations"][1]["image_id"], all["images"][1]["id"]);
    EXPECT_NE(all["annotations"][0]["id"], all["annotations"][1]["id"]);
}

TEST_F(SegmentAnything, OneFileHasThePromptsOfAFolder) {
    write("prompts.json", R"({"china.png": [{"points": [[30, 20], [5, 6, 0]]}, {"box": [1, 2, 50, 60]}],
                              "flower.jpg": {"points": [[40, 40, 1]], "multimask": false}, "chna.png": []})");
    const Outcome out = segment("--prompts prompts.json photos");
    ASSERT_EQ(out.status, 0) << out.text;
    expect_in("prompts for 'chna.png', which is none of the pictures", out.text);
    const json annotations = read("segmented_anything/china.json")["annotations"];
    ASSERT_EQ(annotations.size(), 2U);
    expect_same_mask("segmented_anything/china_mask_1.png", annotations[0]);
    expect_same_mask("segmented_anything/china_mask_2.png", annotations[1]);
    EXPECT_EQ(read("segmented_anything/annotations.json")["annotations"].size(), 3U);
    // As the command line would have it.
    ASSERT_EQ(segment("--point 30,20 --point 5,6,0 --output alone photos/china.png").status, 0);
    EXPECT_EQ(read("alone/china.json")["annotations"][0], annotations[0]);
}

TEST_F(SegmentAnything, EverythingIsNumbered) {
    const Outcome out = segment(everything + "photos");
    ASSERT_EQ(out.status, 0) << out.text;
    const json annotations = read("segmented_anything/china.json")["annotations"];
    ASSERT_GT(annotations.size(), 0U);
    for (const json& one : annotations) {
        for (const char* key : {"bbox", "predicted_iou", "stability_score", "point_coords", "crop_box"}) {
            EXPECT_TRUE(one.contains(key)) << key;
        }
    }
    const ev::Image numbers = ev::read_image(scratch_ / "segmented_anything/china_mask.png");
    for (const std::uint8_t number : numbers.bytes()) ASSERT_LE(number, annotations.size());
    EXPECT_EQ(files("photos"), (std::set<std::string>{"china.png", "flower.jpg"}));  // no embeddings kept
}

TEST_F(SegmentAnything, EmbeddingsAreKeptBesideThePictures) {
    const fs::path cache = scratch_ / "photos/china.png.embedding.safetensors";
    const auto mask = [&](const std::string& arguments) {
        const Outcome out = segment("--point 30,20 " + arguments + " --output out photos/china.png");
        EXPECT_EQ(out.status, 0) << out.text;
        const std::string result = contents("out/china_mask.png");
        fs::remove_all(scratch_ / "out");
        return result;
    };
    const std::string expected = mask("--no-cache");
    EXPECT_FALSE(fs::exists(cache));
    EXPECT_EQ(mask(""), expected);
    ASSERT_TRUE(fs::exists(cache));
    EXPECT_EQ(mask(""), expected);

    // Another embedding under the same name is what the next run uses: it made none of its own.
    const ev::StateDict state = ev::load_safetensors(cache);
    ev::StateDict other;
    for (const auto& [name, entry] : state) {
        std::vector<float> values = ev::to_float(entry);
        if (values.size() > 1000) std::reverse(values.begin(), values.end());
        other.insert(name, entry.shape, values);
    }
    other.metadata() = state.metadata();
    ev::save_safetensors(cache, other);
    EXPECT_NE(mask(""), expected);

    // Not where it is another picture's, or broken, or other weights'.
    fs::copy_file(fixture_path("chelsea.png"), scratch_ / "photos/china.png", fs::copy_options::overwrite_existing);
    const std::string second = mask("--no-cache");
    EXPECT_EQ(mask(""), second);
    std::ofstream(cache) << "broken";
    EXPECT_EQ(mask(""), second);
    save_changed(weights_ / "shapes.safetensors", scratch_ / "changed.safetensors");
    const auto changed_mask = [&](const std::string& arguments) {
        EXPECT_EQ(run("segment_anything --threads 1 --weights changed.safetensors --point 30,20 --output out " +
                      arguments + " photos/china.png")
                      .status,
                  0);
        return contents("out/china_mask.png");
    };
    const std::string third = changed_mask("--no-cache");
    fs::remove_all(scratch_ / "out");
    EXPECT_EQ(changed_mask(""), third);
}

TEST_F(SegmentAnything, AKilledRunGoesOnWhereItWas) {
    constexpr std::size_t pictures = 10;
    for (std::size_t i = 2; i < pictures; ++i)
        fs::copy_file(fixture_path("china.png"), scratch_ / "photos" / ("a" + std::to_string(i) + ".png"));
    const std::string arguments = everything + "--points-per-side 7 photos";
    const Outcome killed = shell(
        "cd '" + scratch_.path().string() + "'; " EFFICIENTVIT_EXAMPLES_DIR "/segment_anything" + weights("shapes") +
        arguments +
        " & pid=$!; until grep -qs annotations segmented_anything/a3.json || ! kill -0 $pid; do sleep 0.002; done; "
        "kill -KILL $pid; wait $pid");
    EXPECT_EQ(killed.status, 137) << killed.text;
    EXPECT_FALSE(fs::exists(scratch_ / "segmented_anything/annotations.json"));
    const auto kept = fs::last_write_time(scratch_ / "segmented_anything/a2_overlay.png");
    write("segmented_anything/a3.json",
          contents("segmented_anything/a3.json").substr(0, 100));  // as a system that crashed leaves it
    const Outcome out = segment(arguments);
    ASSERT_EQ(out.status, 0) << out.text;
    expect_in(" of 10 pictures are done already", out.text);
    expect_in("a3.png: ", out.text);
    EXPECT_EQ(out.text.find("a2.png"), std::string::npos);
    EXPECT_EQ(fs::last_write_time(scratch_ / "segmented_anything/a2_overlay.png"), kept);

    const Outcome whole = segment(arguments + " --output whole");
    ASSERT_EQ(whole.status, 0) << whole.text;
    EXPECT_EQ(files("segmented_anything"), files("whole"));
    EXPECT_EQ(contents("segmented_anything/annotations.json"), contents("whole/annotations.json"));
    EXPECT_EQ(contents("segmented_anything/a3_mask.png"), contents("whole/a3_mask.png"));
    // Other settings are another run.
    const Outcome other = segment("--everything --points-per-side 2 photos/a2.png");
    EXPECT_EQ(other.text.find("done already"), std::string::npos) << other.text;
}

/// Results are of a picture's bytes, not of its name.
TEST_F(SegmentAnything, AnotherPictureOfTheSameNameIsNotDone) {
    ASSERT_EQ(segment("--point 30,20 photos/china.png").status, 0);
    const std::string first = contents("segmented_anything/china_mask.png");
    EXPECT_EQ(segment("--point 30,20 photos/china.png").text, "segment_anything: 1 of 1 pictures are done already\n");

    fs::create_directory(scratch_ / "others");
    fs::copy_file(fixture_path("chelsea.png"), scratch_ / "others/china.png");
    const Outcome other = segment("--point 30,20 others/china.png");
    EXPECT_EQ(other.status, 0);
    expect_in("china.png: 1 mask", other.text);
    EXPECT_NE(contents("segmented_anything/china_mask.png"), first);

    fs::rename(scratch_ / "others/china.png", scratch_ / "photos/china.png");  // changed where it lay
    const std::string all = everything + "--output all photos/china.png";
    ASSERT_EQ(segment(all).status, 0);
    fs::copy_file(fixture_path("china.png"), scratch_ / "photos/china.png", fs::copy_options::overwrite_existing);
    EXPECT_EQ(segment(all).text.find("done already"), std::string::npos);
}

/// A byte for each pixel of each mask of a photo would be gigabytes.
TEST_F(SegmentAnything, ManyPromptsTakeNoMoreMemoryThanSome) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers take all of the address space";
#endif
    constexpr int count = 100, side = 1200;
    ev::write_png(scratch_ / "large.png", ev::Image({side, side}, {90, 120, 200}));
    json prompts = json::array();
    for (int i = 0; i < count; ++i) prompts.push_back({{"points", {{5 + 10 * i, 600}}}});
    write("prompts.json", json{{"large.png", prompts}}.dump());
    const Outcome out = run("segment_anything" + weights("shapes") + "--no-cache --prompts prompts.json large.png",
                            "ulimit -v 370000; ");
    EXPECT_EQ(out.status, 0) << out.text;
    expect_in("large.png: 100 masks", out.text);
    EXPECT_EQ(read("segmented_anything/large.json")["annotations"].size(), std::size_t{count});
    EXPECT_TRUE(fs::exists(scratch_ / "segmented_anything/large_mask_100.png"));
}

/// A result without its pictures is none.
TEST_F(SegmentAnything, WhatIsGoneIsMadeAgain) {
    const std::string done = "pictures are done already";
    for (const std::string& arguments : {std::string("--point 30,20 photos"), everything + "photos"}) {
        ASSERT_EQ(segment(arguments).status, 0);
        for (const std::string name : {"segmented_anything/china_mask.png", "segmented_anything/china_overlay.png"}) {
            const std::string before = contents(name);
            fs::remove(scratch_ / name);
            const Outcome out = segment(arguments);
            expect_in("1 of 2 " + done, out.text);
            EXPECT_EQ(contents(name), before);
            expect_in("2 of 2 " + done, segment(arguments).text);
        }
    }
}

/// What another run with more prompts left would be taken for this one's.
TEST_F(SegmentAnything, MasksOfAnEarlierRunAreRemovedAndNothingElseIs) {
    write("three.json", R"({"china.png": [{"points": [[30, 20]]}, {"points": [[50, 60]]}, {"box": [1, 2, 50, 60]}]})");
    write("none.json", "{}");
    fs::create_directory(scratch_ / "segmented_anything");
    const std::set<std::string> mine{"china_mask_01.png", "china_mask_4.png", "china_mask_1.png.txt",
                                     "flower_mask_1.png"};
    for (const std::string& name : mine) write("segmented_anything/" + name, "mine");
    const auto expect = [&](const std::string& arguments, std::set<std::string> names) {
        const Outcome out = segment(arguments + " photos/china.png");
        EXPECT_EQ(out.status, 0) << out.text;
        names.insert({"annotations.json", "china.json", "china_overlay.png"});
        names.insert(mine.begin(), mine.end());
        EXPECT_EQ(files("segmented_anything"), names) << arguments;
    };
    const std::set<std::string> numbered{"china_mask_1.png", "china_mask_2.png", "china_mask_3.png"};
    expect("--prompts three.json", numbered);
    expect("--point 30,20", {"china_mask.png"});
    expect("--prompts three.json", numbered);
    expect("--prompts none.json", {});
    expect("--prompts three.json", numbered);
    expect(everything, {"china_mask.png"});

    // A run that ends between its masks and its result: what was there before it is not taken for done.
    expect("--point 30,20", {"china_mask.png"});
    fs::remove(scratch_ / "segmented_anything/china_overlay.png");
    fs::create_directory(scratch_ / "segmented_anything/china_overlay.png");
    EXPECT_EQ(segment("--prompts three.json photos/china.png").status, 1);
    fs::remove(scratch_ / "segmented_anything/china_overlay.png");
    write("segmented_anything/china_overlay.png", "of before");
    write("segmented_anything/china_mask.png", "of before");
    expect("--point 30,20", {"china_mask.png"});
    EXPECT_NE(contents("segmented_anything/china_mask.png"), "of before");
}

/// COCO's file of all results has a picture's name.
TEST_F(SegmentAnything, APictureMayBeCalledAnnotations) {
    fs::rename(scratch_ / "photos/china.png", scratch_ / "photos/Annotations.png");
    ASSERT_EQ(segment("--point 30,20 photos").status, 0);
    EXPECT_EQ(read("segmented_anything/annotations.json")["images"].size(), 2U);
    EXPECT_EQ(read("segmented_anything/Annotations.png.json")["annotations"].size(), 1U);
    expect_in("2 of 2 pictures are done already", segment("--point 30,20 photos").text);
}

/// Prompts in JSON say what they say: nothing is cut to a whole number, passed over or taken for something else.
TEST_F(SegmentAnything, MistakesInPromptsAreSaid) {
    struct Mistake {
        const char *prompts, *message;
    };
    for (const Mistake& m : {
             Mistake{R"([{"points": [[1, 2, 0.9]]}])", "a label is 1, 0 or -1, not 0.9"},
             {R"([{"points": [[1, 2, 1e30]]}])", "a label is 1, 0 or -1, not 1e+30"},
             {R"([{"points": [[1, 2, true]]}])", "a point is [x, y] or [x, y, label], not [1,2,true]"},
             {R"([{"points": [["1", 2]]}])", "a point is [x, y] or [x, y, label], not [\"1\",2]"},
             {R"([{"points": [1, 2]}])", "a point is [x, y] or [x, y, label], not 1"},
             {R"([{"points": {"x": 1, "y": 2}}])", "points are [[x, y, label], …], not {"},
             {R"([{"box": [1, 2, 3]}])", "a box is [x0, y0, x1, y1], not [1,2,3]"},
             {R"([{"box": [1, 2, 3, null]}])", "a box is [x0, y0, x1, y1], not [1,2,3,null]"},
             {R"([{"box": {"a": 1, "b": 2, "c": 3, "d": 4}}])", "a box is [x0, y0, x1, y1], not {"},
             {R"([{"points": [[1, 2]], "multimask": 1}])", "multimask is true or false, not 1"},
             {R"([{"points": []}])", "a prompt has points or a box, not {\"points\":[]}"},
             {R"([{"point": [1, 2]}])", "a prompt has points, box and multimask, not \"point\""},
             {"[5]", "or {\"box\": …}, not 5"},
             {"null", "or {\"box\": …}, not null"},
         }) {
        write("prompts.json", R"({"china.png": )" + std::string(m.prompts) + "}");
        const Outcome out = segment("--prompts prompts.json photos");
        EXPECT_EQ(out.status, 1) << m.prompts;
        expect_in("prompts.json: \"china.png\": ", out.text);
        expect_in(m.message, out.text);
    }
    EXPECT_FALSE(fs::exists(scratch_ / "segmented_anything"));
}

TEST_F(SegmentAnything, MistakesAreSaidAndLeaveNothing) {
    write("broken.json", R"({"china.png": )");
    write("list.json", "[1, 2]");
    struct Mistake {
        std::string arguments, message;
    };
    for (const Mistake& m : {Mistake{"photos", "say what is wanted"},
                             {"--point 1,2 --everything photos", "say what is wanted"},
                             {"--point 1 photos", "--point is '1', expected X,Y or X,Y,LABEL"},
                             {"--point 1,2,3,4 photos", "--point is '1,2,3,4'"},
                             {"--point 1,x photos", "'1,x'"},
                             {"--point 1,2,7 photos", "a label is 1 or 0, not in '1,2,7'"},
                             {"--box 1,2,3 photos", "--box is '1,2,3', expected X0,Y0,X1,Y1"},
                             {"--prompts none.json photos", "none.json: cannot be opened"},
                             {"--prompts broken.json photos", "broken.json: "},
                             {"--prompts photos photos", "photos: is a folder, expected a file"},
                             {"--prompts list.json photos", "list.json: expected {"},
                             {everything + "--points-per-side 0 photos", "--points-per-side is 0, expected 1 to 4096"},
                             {everything + "--crop-layers 9 photos", "--crop-layers is 9, expected 0 to 8"},
                             {everything + "--min-area -1 photos", "--min-area is -1, expected 0 to "},
                             {"--point 1,2 --model sam_l7 photos", "sam_l7"},
                             {"--point 1,2 --model sam_l0 photos", "does not fit the model"},
                             {"--point 1,2", "which pictures"}}) {
        const Outcome out = segment(m.arguments);
        EXPECT_EQ(out.status, 1) << m.arguments;
        expect_in(m.message, out.text);
    }
    const Outcome classifier = run("segment_anything" + weights("cls_b0") + "--point 1,2 photos");
    EXPECT_EQ(classifier.status, 1);
    expect_in("no SAM 'cls_b0'", classifier.text);
    EXPECT_EQ(files("."), (std::set<std::string>{"broken.json", "list.json", "photos"}));
    EXPECT_EQ(files("photos").size(), 2U);
}

TEST_F(SegmentAnything, OnePictureThatFailsIsNamedAndTheOthersAreDone) {
    std::ofstream(scratch_ / "photos/broken.png") << "not a picture";
    fs::copy_file(fixture_path("small.png"), scratch_ / "photos/not\xffutf8 \x1b[31m.png");
    // A point that is in one of the pictures only, and one path that means none.
    const Outcome out = segment("--point 90,90 photos none.png");
    EXPECT_EQ(out.status, 1);
    expect_in("broken.png", out.text);
    expect_in("none.png: no such file or folder\n", out.text);
    expect_in("2 of 5 pictures could not be read", out.text);
    expect_in("1 of 5 pictures could not be processed", out.text);
    expect_in("point 0 is (90, 90), expected x in [0, ", out.text);
    EXPECT_EQ(out.text.find('\x1b'), std::string::npos);
    EXPECT_TRUE(fs::exists(scratch_ / "segmented_anything/china_mask.png"));
    EXPECT_EQ(read("segmented_anything/annotations.json")["images"].size(), 2U);

    ev::StateDict bad;
    const ev::StateDict whole = ev::load_safetensors(weights_ / "shapes.safetensors");
    for (const auto& [name, entry] : whole) {
        std::vector<float> values = ev::to_float(entry);
        values[0] = std::numeric_limits<float>::quiet_NaN();
        bad.insert(name, entry.shape, values);
    }
    ev::save_safetensors(scratch_ / "bad.safetensors", bad);
    for (const auto& [what, message] : {std::pair<std::string, std::string>{" --point 9,9 ", "are its weights damaged"},
                                        {everything, "SamPredictor::predict: found NaN in the answer to prompt 0"}}) {
        const Outcome nan =
            run("segment_anything --threads 1 --weights bad.safetensors --output bad" + what + "photos/china.png");
        EXPECT_EQ(nan.status, 1);
        expect_in(message, nan.text);
        EXPECT_EQ(files("bad").count("china.json"), 0U);
    }
}

}  // namespace
