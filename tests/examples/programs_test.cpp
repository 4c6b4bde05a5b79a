// SPDX-License-Identifier: Apache-2.0
//
// The examples as a person runs them: what they print, write and leave, and with which status they end, when all is
// well and when it is not. Weights are made from names, so what is seen in the pictures means nothing.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/images/resize.hpp>
#include <efficientvit/models/classifier.hpp>
#include <efficientvit/models/sam_image_encoder.hpp>
#include <efficientvit/models/segmenter.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "../../examples/features/principal_components.hpp"
#include "programs.hpp"

namespace {

TEST_F(Programs, HelpAndModelsAreShown) {
    for (const std::string program : {"classify", "segment", "embed", "features", "evaluate"}) {
        const Outcome help = run(program + " --help");
        EXPECT_EQ(help.status, 0);
        expect_in("--weights", help.text);
        const Outcome models = run(program + " --list-models");
        EXPECT_EQ(models.status, 0);
        expect_in("seg_b0_cityscapes", models.text);
    }
    EXPECT_EQ(files("."), std::set<std::string>{"photos"});
}

TEST_F(Programs, MistakesAreSaidAndLeaveNothing) {
    fs::create_directories(scratch_ / "empty");
    std::ofstream(scratch_ / "text.pt") << "not a checkpoint";
    struct Mistake {
        std::string arguments, message;
    };
    for (const std::string program : {"classify", "segment", "embed", "features"}) {
        const std::string w = weights(program == "segment" ? "seg_b0" : "cls_b0");
        for (const Mistake& m : {Mistake{w + "empty", "empty: no PNG or JPEG"},
                                 {w + "none.png", "none.png: no such file"},
                                 {w, "which pictures"},
                                 {"photos", "--weights"},
                                 {w + "photos --nonsense", "nonsense"},
                                 {w + "--model efficientvit-b9 photos", "efficientvit-b9"},
                                 {w + "--model cls_l1 photos", "look"},
                                 {w + "--threads 2000 photos", "--threads"},
                                 {w + "--threads two photos", "two"},
                                 {"--weights none.safetensors photos", "none.safetensors"},
                                 {"--weights text.pt photos", "text.pt"},
                                 {"--weights text.txt photos", "text.txt"}}) {
            const Outcome out = run(program + " " + m.arguments);
            EXPECT_EQ(out.status, 1) << program << m.arguments << out.text;
            expect_in(m.message, out.text);
        }
    }
    expect_in("is no classifier", run("classify" + weights("seg_b0") + "photos").text);
    expect_in("is no segmenter", run("segment" + weights("cls_b0") + "photos").text);
    EXPECT_EQ(files("."), (std::set<std::string>{"empty", "photos", "text.pt"}));
}

TEST_F(Programs, ABrokenPictureIsNamedAndTheOthersAreDone) {
    std::ofstream(scratch_ / "photos" / "broken.png") << "not a picture";
    for (const std::string program : {"classify", "segment", "embed", "features"}) {
        const Outcome out = run(program + weights(program == "segment" ? "seg_b0" : "cls_b0") +
                                (program == "segment" ? "--fit pad " : "") + "photos");
        EXPECT_EQ(out.status, 1) << out.text;
        expect_in("broken.png", out.text);
        expect_in("1 of 3 pictures could not be read", out.text);
    }
    EXPECT_TRUE(fs::exists(scratch_ / "classified.png"));
    EXPECT_EQ(files("embedded").size(), 4U);
    EXPECT_EQ(files("features").size(), 2U);
    EXPECT_EQ(files("segmented").size(), 4U);
}

TEST_F(Programs, AFullDiskIsSaidAndLeavesNoHalfFile) {
    // Files may have 4 KiB: the write fails as on a full disk.
    const std::string full = "trap '' XFSZ; ulimit -f 8; exec ";
    for (const std::string program : {"classify", "segment", "embed", "features"}) {
        const Outcome out = run(program + weights(program == "segment" ? "seg_b0" : "cls_b0") +
                                    (program == "segment" ? "--fit pad " : "") + "--output out photos",
                                full);
        EXPECT_EQ(out.status, 1) << out.text;
        expect_in("cannot be written", out.text);
        if (fs::is_directory(scratch_ / "out")) {
            EXPECT_EQ(files("out"), std::set<std::string>{}) << program;
            fs::remove_all(scratch_ / "out");
        }
    }
    EXPECT_EQ(files("."), std::set<std::string>{"photos"});
}

TEST_F(Programs, ClassifyPrintsTheTopAndDrawsThem) {
    const Outcome out = run("classify" + weights("cls_b0") + "--top 3 --output sheet.png photos");
    ASSERT_EQ(out.status, 0) << out.text;
    expect_in("china.png\n  ", out.text);
    expect_in("flower.jpg\n  ", out.text);
    std::size_t lines = 0;
    for (std::size_t at = 0; (at = out.text.find(" %  ", at)) != std::string::npos; ++at) ++lines;
    EXPECT_EQ(lines, 6U);
    EXPECT_GT(ev::read_image(scratch_ / "sheet.png").width(), 400);

    std::ofstream(scratch_ / "names.txt") << "one\ntwo\n";
    const Outcome names = run("classify" + weights("cls_b0") + "--classes names.txt photos");
    EXPECT_EQ(names.status, 1);
    expect_in("1000 classes, found 2", names.text);
}

TEST_F(Programs, SegmentWritesMasksAndOverlays) {
    for (const std::string fit : {"pad", "resize"}) {
        const Outcome out = run("segment" + weights("seg_b0") + "--fit " + fit + " --output " + fit + " photos");
        ASSERT_EQ(out.status, 0) << out.text;
        const ev::Image mask = ev::read_image(scratch_ / fit / "china_mask.png");
        EXPECT_EQ(mask.size(), (ev::ImageSize{96, 144}));
        for (const std::uint8_t label : mask.bytes()) ASSERT_LT(label, 19);
        const ev::Image overlay = ev::read_image(scratch_ / fit / "flower_overlay.png");
        EXPECT_EQ(overlay.height(), 96);
        EXPECT_GT(overlay.width(), 128);  // the legend
    }
}

TEST_F(Programs, SegmentTakesFullHd) {
    ev::write_png(scratch_ / "hd.png", ev::resize_opencv_cubic(fixture("china.png"), {1080, 1920}));
    for (const std::string fit : {"pad", "resize"}) {
        const Outcome out = run("segment" + weights("seg_b0") + "--fit " + fit + " --output out hd.png");
        ASSERT_EQ(out.status, 0) << out.text;
        EXPECT_EQ(ev::read_image(scratch_ / "out" / "hd_mask.png").size(), (ev::ImageSize{1080, 1920}));
    }
}

TEST_F(Programs, EmbedGoesOnWhereItWas) {
    const std::string command = "embed" + weights("cls_b0") + "--size 64 photos";
    expect_in("2 embedded, 0 there already", run(command).text);
    const ev::StateDict file = ev::load_safetensors(scratch_ / "embedded" / "china.safetensors");
    ASSERT_NE(file.find("stage_final"), nullptr);
    EXPECT_EQ(file.find("stage_final")->shape, (std::vector<std::int64_t>{1, 128, 2, 2}));
    EXPECT_EQ(file.metadata().at("model"), "backbone_b0");
    EXPECT_EQ(file.metadata().at("image_width"), "144");
    EXPECT_EQ(fs::file_size(scratch_ / "embedded" / "china.npy"), 128U + 4 * 128 * 2 * 2);

    fs::remove(scratch_ / "embedded" / "flower.safetensors");
    expect_in("1 embedded, 1 there already", run(command).text);
    const Outcome other = run("embed" + weights("cls_b0") + "--size 96 photos");
    EXPECT_EQ(other.status, 1);
    expect_in("its input_size is 64, now 96", other.text);
    expect_in("2 embedded", run("embed" + weights("cls_b0") + "--size 96 --overwrite photos").text);
}

TEST_F(Programs, EmbedFillsShards) {
    std::ofstream(scratch_ / "list.txt") << "photos/flower.jpg\nphotos/broken.png\nphotos/china.png\n";
    std::ofstream(scratch_ / "photos" / "broken.png") << "not a picture";
    const std::string command = "embed" + weights("cls_b0") + "--size 64 --shard 2 --list list.txt";
    const Outcome out = run(command);
    EXPECT_EQ(out.status, 1);
    expect_in("2 shards written, 0 there already", out.text);
    expect_in("1 of 3 pictures could not be read", out.text);
    EXPECT_EQ(files("embedded"),
              (std::set<std::string>{"index.csv", "shard-00000000.safetensors", "shard-00000001.safetensors"}));
    std::ifstream index(scratch_ / "embedded" / "index.csv");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(index), {}),
              "picture,shard,row,height,width\n"
              "photos/flower.jpg,shard-00000000.safetensors,0,96,128\n"
              "photos/broken.png,shard-00000000.safetensors,,,\n"
              "photos/china.png,shard-00000001.safetensors,0,96,144\n");

    // The rows are what one picture alone gives.
    ASSERT_EQ(run("embed" + weights("cls_b0") + "--size 64 --output alone photos/china.png").status, 0);
    const ev::StateDict shard = ev::load_safetensors(scratch_ / "embedded" / "shard-00000001.safetensors");
    const ev::StateDict alone = ev::load_safetensors(scratch_ / "alone" / "china.safetensors");
    EXPECT_EQ(ev::to_float(shard.at("stage_final")), ev::to_float(alone.at("stage_final")));
    EXPECT_EQ(shard.at("picture").element_count(), 1U);

    expect_in("0 shards written, 2 there already", run(command).text);
    std::ofstream(scratch_ / "list.txt") << "photos/china.png\n";
    expect_in("its pictures are others", run(command).text);
    expect_in("--shard must be", run(command + " --shard 0").text);
}

TEST_F(Programs, EmbedKnowsSam) {
    save_weights<ev::SamImageEncoderL0>(scratch_ / "sam.safetensors");
    const Outcome out = run("embed --threads 1 --weights sam.safetensors --format safetensors photos/china.png");
    ASSERT_EQ(out.status, 0) << out.text;
    EXPECT_EQ(files("embedded"), std::set<std::string>{"china.safetensors"});
    const ev::StateDict file = ev::load_safetensors(scratch_ / "embedded" / "china.safetensors");
    ASSERT_NE(file.find("image_embeddings"), nullptr);
    EXPECT_EQ(file.find("image_embeddings")->shape, (std::vector<std::int64_t>{1, 256, 64, 64}));
}

TEST_F(Programs, FeaturesDrawsEveryStage) {
    const Outcome out = run("features" + weights("cls_b0") + "--size 128 --output . photos/china.png");
    ASSERT_EQ(out.status, 0) << out.text;
    EXPECT_GT(ev::read_image(scratch_ / "china_features.png").width(), 1000);
}

TEST_F(Programs, PicturesOfOneNameKeepApart) {
    fs::copy_file(fixture_path("small.png"), scratch_ / "photos" / "flower.png");
    ASSERT_EQ(run("features" + weights("cls_b0") + "--size 64 --output out photos").status, 0);
    EXPECT_EQ(files("out"),
              (std::set<std::string>{"china_features.png", "flower.jpg_features.png", "flower.png_features.png"}));
}

TEST(PrincipalComponents, OneDirectionIsOneColor) {
    ev::Tensor map(1, 5, 4, 4);
    for (int c = 0; c < 5; ++c) {
        for (int i = 0; i < 16; ++i) map(0, c, i / 4, i % 4) = static_cast<float>((c + 1) * i - 7 * c);
    }
    const examples::Components found = examples::principal_components(map);
    EXPECT_NEAR(found.explained, 1, 1e-9);
    for (int i = 0; i < 16; ++i) {
        const auto red = static_cast<std::uint8_t>(std::lround(255 * i / 15.0));
        EXPECT_EQ(found.image.at(i / 4, i % 4), (ev::Rgb{red, 128, 128})) << i;
    }
    map.setConstant(3);
    EXPECT_EQ(examples::principal_components(map).image, ev::Image({4, 4}, {128, 128, 128}));
}

}  // namespace
