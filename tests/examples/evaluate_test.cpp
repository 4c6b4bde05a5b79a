// SPDX-License-Identifier: Apache-2.0
//
// evaluate, and what the other programs do with weights of any number of classes: of a segmenter of five, of timm's
// train.py, without a last layer.
#include <efficientvit/images/predictions.hpp>
#include <efficientvit/images/preprocess.hpp>
#include <efficientvit/models/classifier.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "../../examples/evaluate/accuracy.hpp"
#include "../../examples/evaluate/label_files.hpp"
#include "../../examples/evaluate/mean_iou.hpp"
#include "../messages.hpp"
#include "programs.hpp"
#include "timm_checkpoint.hpp"

namespace {

/// The numbers that the stored results were made of, here and in Python.
struct Numbers {
    std::uint32_t state = 1;
    int below(int count) {
        state = state * 1664525U + 1013904223U;
        return static_cast<int>((state >> 16) % static_cast<std::uint32_t>(count));
    }
};

/// SegIOU of the reference's evaluation, in torch.float64: 100 * (intersections / unions).mean() over three pictures.
TEST(MeanIou, IsThatOfTheReferenceToTheLastDigit) {
    Numbers numbers;
    const std::map<int, double> expected{{5, 67.12508593354525}, {19, 62.2387345407881}, {150, 60.11381774218339}};
    for (const int classes : {19, 150, 5}) {
        examples::MeanIou iou(classes);
        for (int picture = 0; picture < 3; ++picture) {
            std::vector<std::uint8_t> found, labels;
            for (int i = 0; i < 60 * 70; ++i) {
                const int label = numbers.below(classes + 1) - 1;
                const bool same = numbers.below(4) != 0;
                const int other = numbers.below(classes);
                labels.push_back(label < 0 ? examples::ignored_label : static_cast<std::uint8_t>(label));
                found.push_back(static_cast<std::uint8_t>(same && label >= 0 ? label : other));
            }
            iou.add(found, labels);
        }
        EXPECT_EQ(iou.percent(), expected.at(classes)) << classes;
        EXPECT_EQ(iou.counted(), iou.classes());
    }
}

TEST(MeanIou, LeavesOutWhatIsNotThere) {
    examples::MeanIou iou(4);
    EXPECT_EQ(message_of<std::runtime_error>([&] { iou.percent(); }), "no pixel has a label");
    iou.add(std::vector<std::uint8_t>{0, 0, 1, 3}, std::vector<std::uint8_t>{0, 1, 1, 255});
    EXPECT_EQ(iou.percent(), 50);  // 1 / 2 and 1 / 2
    EXPECT_EQ(iou.counted(), 2U);
    EXPECT_NEAR(iou.pixel_accuracy(), 200.0 / 3, 1e-9);
    expect_in("expected a label for each of 1 pixels, found 0",
              message_of<std::runtime_error>([&] { iou.add(std::vector<std::uint8_t>{0}, {}); }));
}

TEST(Labels, ConventionsOfTheDataSets) {
    using examples::LabelConvention;
    const auto city = examples::label_table(LabelConvention::cityscapes, 19);
    EXPECT_EQ(city[7], 0);
    EXPECT_EQ(city[33], 18);
    EXPECT_EQ(city[26], 13);
    for (const int ignored : {0, 6, 9, 18, 29, 30, 255}) EXPECT_EQ(city[static_cast<std::size_t>(ignored)], 255);
    EXPECT_FALSE(city[34]);
    std::set<int> train_ids;
    for (std::size_t i = 0; i < 34; ++i) train_ids.insert(*city[i]);
    EXPECT_EQ(train_ids.size(), 20U);
    const auto ade = examples::label_table(LabelConvention::ade20k, 150);
    EXPECT_EQ(ade[0], 255);
    EXPECT_EQ(ade[1], 0);
    EXPECT_EQ(ade[150], 149);
    EXPECT_FALSE(ade[151] || ade[255]);
    const auto plain = examples::label_table(LabelConvention::plain, 5);
    EXPECT_EQ(plain[4], 4);
    EXPECT_EQ(plain[255], 255);
    EXPECT_FALSE(plain[5]);
    EXPECT_EQ(examples::convention_of("", "a/x_gtFine_labelIds.png", 19), LabelConvention::cityscapes);
    EXPECT_EQ(examples::convention_of("", "a/x_gtFine_labelTrainIds.png", 19), LabelConvention::plain);
    EXPECT_EQ(examples::convention_of("", "a/x.png", 150), LabelConvention::ade20k);
    EXPECT_EQ(examples::convention_of("", "a/x.png", 5), LabelConvention::plain);
    EXPECT_THROW(examples::convention_of("cityscapes", "x.png", 5), examples::UsageError);
    EXPECT_THROW(examples::convention_of("voc", "x.png", 5), examples::UsageError);
}

class Evaluate : public Programs {
protected:
    void text(const std::string& file, const std::string& content) const {
        fs::create_directories((scratch_ / file).parent_path());
        std::ofstream(scratch_ / file, std::ios::binary) << content;
    }
    void copy(const std::string& from, const std::string& to) const {
        fs::create_directories((scratch_ / to).parent_path());
        fs::copy_file(scratch_ / from, scratch_ / to, fs::copy_options::overwrite_existing);
    }
    template <int Classes>
    ev::StateDict weights_of_classifier() const {
        ev::StateDict weights;
        for (const ev::Parameter& p : ev::ClsB0<Classes>::parameters()) {
            weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
        }
        return weights;
    }
    /// What the type, with timm's preprocessing, makes of a photo.
    template <class Network>
    std::vector<ev::Prediction> top(const Network& network, const std::string& photo, int k) const {
        ev::Tensor input;
        ev::preprocess_cls(ev::read_image(scratch_ / photo), ev::cls_preprocessing("efficientvit_b0.r224_in1k"), input);
        const ev::Tensor logits = network.forward(input);
        return ev::top_k({logits.data(), static_cast<std::size_t>(logits.size())}, k);
    }
};

TEST_F(Evaluate, LabelMapsSayWhatIsWrongAndWhere) {
    const auto read = [&] {
        return message_of<std::runtime_error>(
            [&] { examples::read_labels(scratch_ / "l.png", examples::LabelConvention::plain, 5); });
    };
    ev::write_gray_png(scratch_ / "l.png", {1, 3}, std::vector<std::uint8_t>{0, 4, 7});
    expect_in("l.png: expected labels of 5 classes, found 7 at row 0, column 2", read());
    ev::write_png(scratch_ / "l.png", ev::Image({2, 2}, {1, 2, 3}));
    expect_in("l.png: expected a gray picture of class numbers, found a color at row 0, column 0", read());
    ev::write_gray_png(scratch_ / "l.png", {1, 3}, std::vector<std::uint8_t>{0, 4, 255});
    const auto map = examples::read_labels(scratch_ / "l.png", examples::LabelConvention::plain, 5);
    EXPECT_EQ(map.labels, (std::vector<std::uint8_t>{0, 4, 255}));
}

TEST_F(Evaluate, FoldersAreClassesByNameNumberOrOrder) {
    for (const char* name : {"f/b", "f/a", "f/.hidden", "n/10", "n/9"}) fs::create_directories(scratch_ / name);
    const auto labels = [&](const std::string& root, const std::vector<std::string>& names, int classes) {
        std::map<std::string, int> out;
        const fs::path path = scratch_ / root;
        for (const auto& [folder, label] :
             examples::classes_of_folders(path, examples::folders_in(path), names, classes)) {
            out[folder.filename().string()] = label;
        }
        return out;
    };
    using Map = std::map<std::string, int>;
    EXPECT_EQ(labels("f", {}, 2), (Map{{"a", 0}, {"b", 1}}));
    EXPECT_EQ(labels("f", {"b", "c", "a"}, 3), (Map{{"a", 2}, {"b", 0}}));
    EXPECT_EQ(labels("f", {"first class", "second class"}, 2), (Map{{"a", 0}, {"b", 1}}));
    EXPECT_EQ(labels("n", {}, 37), (Map{{"9", 9}, {"10", 10}}));
    const auto error = [&](const std::string& root, const std::vector<std::string>& names, int classes) {
        return message_of<std::runtime_error>([&] { labels(root, names, classes); });
    };
    expect_in(
        "f: expected a folder for each of 3 classes, or folders called as in --classes or by number; found 2 folders",
        error("f", {}, 3));
    expect_in("f: no class of --classes is called 'b', as a folder is", error("f", {"a", "c"}, 2));
    expect_in("n: expected a folder for each of 5 classes", error("n", {}, 5));
}

TEST_F(Evaluate, ListsHavePathsWithBlanksAndLabelsByNumberOrName) {
    const auto read = [&](const std::string& content) {
        text("list.txt", content);
        return examples::pictures_in_list(scratch_ / "list.txt", "root", {"cat", "dog"}, 2);
    };
    const auto pictures = read(
        "\xef\xbb\xbf"
        "a b.png 1\r\n\r\n/c.png\tcat\r\n");
    ASSERT_EQ(pictures.size(), 2U);
    EXPECT_EQ(pictures[0].path, fs::path("root/a b.png"));
    EXPECT_EQ(pictures[0].label, 1);
    EXPECT_EQ(pictures[1].path, fs::path("/c.png"));
    EXPECT_EQ(pictures[1].label, 0);
    const auto error = [&](const std::string& content) {
        return message_of<std::runtime_error>([&] { read(content); });
    };
    expect_in("list.txt: line 2: expected a class from 0 to 1 or a name of --classes, found '2'",
              error("a.png 0\nb.png 2"));
    expect_in("found '-1'", error("a.png -1"));
    expect_in("found 'horse'", error("a.png horse"));
    expect_in("list.txt: line 1: expected 'path label', found 'a.png'", error("a.png"));
    expect_in("list.txt: names no pictures", error("\n"));
}

TEST_F(Evaluate, CountsWhatAClassifierGetsRight) {
    const ev::StateDict weights = weights_of_classifier<7>();
    ev::save_safetensors(scratch_ / "seven.safetensors", weights);
    ev::ClsB0<7> network;
    network.load_state_dict(weights);
    ev::Tensor input;
    ev::preprocess_cls(ev::read_image(scratch_ / "photos/china.png"), {}, input);
    const ev::Tensor logits = network.forward(input);
    const std::vector<ev::Prediction> order = ev::top_k({logits.data(), 7}, 7);
    // The same picture as its first, second and last class, and as what cannot be read.
    std::string list;
    for (const std::size_t place : {std::size_t{0}, std::size_t{1}, std::size_t{6}}) {
        const std::string name = std::to_string(order[place].index) + "/" + std::to_string(place) + ".png";
        copy("photos/china.png", "val/" + name);
        list += name + " " + std::to_string(order[place].index) + "\n";
    }
    const std::string command = "evaluate --threads 1 --weights seven.safetensors ";
    const Outcome folders = run(command + "val");
    EXPECT_EQ(folders.status, 0);
    EXPECT_EQ(folders.text,
              "224 x 224 pixels, crop ratio 0.950, 7 classes\ntop-1 33.33 % (1 of 3)\ntop-5 66.67 % (2 of 3)\n");
    text("val/list.txt", list + "none.png 1\n");
    const Outcome listed = run(command + "--list val/list.txt --precision bf16");
    EXPECT_EQ(listed.status, 1);
    expect_in("top-1 33.33 % (1 of 3)", listed.text);
    expect_in("none.png: ", listed.text);
    expect_in("1 of 4 pictures could not be read", listed.text);
    text("val/list.txt", list);
    expect_in("(1 of 3)", run(command + "--list val/list.txt val").text);

    text("names.txt", "a\nb\n");
    expect_in("names.txt: expected a name a line for 7 classes, found 2",
              run(command + "--classes names.txt val").text);
    expect_in("--precision must be f32", run(command + "--precision fp16 val").text);
    expect_in("expected a folder for each class, found none", run(command + "photos").text);
    expect_in("which pictures?", run(command).text);
    expect_in("gives no classes", run("evaluate" + this->weights("cls_b0") + "--model backbone_b0 val").text);
}

TEST_F(Evaluate, MeasuresASegmenterAgainstItsOwnMasks) {
    ASSERT_EQ(run("segment" + weights("seg_b0") + "--output masks photos").status, 0);
    const std::vector<int> ids{7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33};
    for (const std::string photo : {"china.png", "flower.jpg"}) {
        const std::string stem = photo.substr(0, photo.find('.'));
        const ev::Image mask = ev::read_image(scratch_ / "masks" / (stem + "_mask.png"));
        std::vector<std::uint8_t> labels, shifted;
        for (std::size_t i = 0; i < mask.bytes().size(); i += 3) {
            labels.push_back(static_cast<std::uint8_t>(ids.at(mask.bytes()[i])));
        }
        copy("photos/" + photo, "data/leftImg8bit/val/town/" + stem + "_leftImg8bit" + photo.substr(stem.size()));
        fs::create_directories(scratch_ / "data/gtFine/val/town");
        ev::write_gray_png(scratch_ / "data/gtFine/val/town" / (stem + "_gtFine_labelIds.png"), mask.size(), labels);
    }
    const std::string command = "evaluate" + weights("seg_b0");
    const Outcome out = run(command + "data/leftImg8bit/val");
    EXPECT_EQ(out.status, 0);
    expect_in("mean IoU 100.000 % (of ", out.text);
    expect_in("right pixels 100.00 %", out.text);
    expect_in("  road\n", out.text);
    // The same masks as train ids, in a folder of their own, named in a list; one of them is missing.
    text("list.txt", "photos/china.png masks/china_mask.png\nphotos/flower.jpg masks/none.png\n");
    const Outcome listed = run(command + "--list list.txt --convention plain");
    EXPECT_EQ(listed.status, 1);
    expect_in("mean IoU 100.000 %", listed.text);
    expect_in("none.png", listed.text);
    const Outcome lost = run(command + "photos");
    EXPECT_EQ(lost.status, 1);
    expect_in("china.png: where are its labels? ", lost.text);
    fs::remove(scratch_ / "data/gtFine/val/town/china_gtFine_labelIds.png");
    expect_in("its labels are not there: no ", run(command + "data/leftImg8bit/val").text);
    expect_in("--convention must be", run(command + "--list list.txt --convention voc").text);
}

TEST_F(Evaluate, ClassifyReadsWhatTimmsTrainingLeaves) {
    const ev::StateDict weights = weights_of_classifier<37>();
    save_timm_checkpoint(scratch_ / "model_best.pth.tar", weights);
    std::string names;
    for (int i = 0; i < 37; ++i) names += "breed " + std::to_string(i) + "\n";
    text("names.txt", names);
    copy("photos/china.png", "photos/a, b.png");  // commas are the name's
    const std::string command = "classify --threads 1 --output '' --classes names.txt --weights model_best.pth.tar ";
    const Outcome out = run(command + "photos/china.png 'photos/a, b.png'");
    ASSERT_EQ(out.status, 0) << out.text;
    ev::ClsB0<37> network;
    network.load_state_dict(weights);
    for (const ev::Prediction& p : top(network, "photos/china.png", 5)) {
        char percent[16];
        std::snprintf(percent, sizeof(percent), "%6.2f %%", 100 * p.probability);
        expect_in(percent, out.text);
        expect_in("  breed " + std::to_string(p.index) + "\n", out.text);
    }
    expect_in("a, b.png\n", out.text);
    EXPECT_EQ(run("classify --threads 1 --output '' --classes names.txt model_best.pth.tar photos/china.png").text,
              run(command + "photos/china.png").text);
    const Outcome ema = run(command + "--entry state_dict_ema photos/china.png");
    EXPECT_EQ(ema.status, 0) << ema.text;
    EXPECT_NE(ema.text, run(command + "photos/china.png").text);
    const Outcome missing = run(command + "--entry model_ema photos/china.png");
    EXPECT_EQ(missing.status, 1);
    for (const std::string part : {"model_best.pth.tar", "model_ema", "state_dict", "state_dict_ema"})
        expect_in(part, missing.text);
    text("names.txt", names + "one more\n");
    expect_in("names.txt: expected a name a line for 37 classes, found 38", run(command + "photos").text);
}

TEST_F(Evaluate, EmbedWritesPreLogits) {
    ev::StateDict weights = weights_of_classifier<3>();
    ev::save_safetensors(scratch_ / "three.safetensors", weights);
    ev::ClsB0<3> network;
    network.load_state_dict(weights);
    weights.erase("head.op_list.3.linear.weight");
    weights.erase("head.op_list.3.linear.bias");
    ev::save_safetensors(scratch_ / "none.safetensors", weights);
    ev::Tensor input;
    ev::preprocess_cls(ev::read_image(scratch_ / "photos/china.png"), {}, input);
    const ev::Tensor expected = network.forward_pre_logits(input);
    for (const std::string name : {"three", "none"}) {
        const std::string command = "embed --threads 1 --weights " + name + ".safetensors --output " + name + " ";
        const Outcome out = run(command + "--features pre_logits photos");
        ASSERT_EQ(out.status, 0) << out.text;
        const ev::StateDict file = ev::load_safetensors(scratch_ / name / "china.safetensors");
        EXPECT_EQ(file.at("pre_logits").shape, (std::vector<std::int64_t>{1, 1280, 1, 1}));
        EXPECT_EQ(ev::to_float(file.at("pre_logits")), std::vector<float>(expected.data(), expected.data() + 1280));
        EXPECT_EQ(file.metadata().at("model"), "cls_b0");
        EXPECT_EQ(file.metadata().at("output"), "pre_logits");
        expect_in("0 embedded, 2 there already", run(command + "--features pre_logits photos").text);
        expect_in("its crop_ratio is 0.950000, now 0.900000",
                  run(command + "--features pre_logits --crop-ratio 0.9 photos").text);
        expect_in("its model is cls_b0, now backbone_b0", run(command + "photos").text);
    }
    ASSERT_EQ(run("embed --threads 1 --weights none.safetensors --features stage2 --output stage2 photos").status, 0);
    EXPECT_EQ(ev::load_safetensors(scratch_ / "stage2/china.safetensors").at("stage2").shape,
              (std::vector<std::int64_t>{1, 32, 28, 28}));
    expect_in("--features: backbone_b0 gives stage0, stage1, stage2, stage3, stage4, stage_final, not 'stage9'",
              run("embed --weights none.safetensors --features stage9 photos").text);
    expect_in("gives no features", run("embed" + this->weights("seg_b0") + "--features pre_logits photos").text);
    const Outcome nothing = run("classify --weights none.safetensors photos");
    EXPECT_EQ(nothing.status, 1);
    expect_in("none.safetensors: these weights have no last layer (num_classes=0)", nothing.text);
}

TEST_F(Evaluate, SegmentersOfFiveClassesAndWeightsBelowAPrefix) {
    ev::StateDict weights, below;
    for (const ev::Parameter& p : ev::SegB0Cityscapes<5>::parameters()) {
        weights.insert(p.name, p.shape, golden_tensor(p.name, p.shape));
        below.insert("net1." + p.name, p.shape, golden_tensor(p.name, p.shape));
    }
    below.insert("decoder.weight", {1}, {1});
    ev::save_safetensors(scratch_ / "five.safetensors", weights);
    ev::save_safetensors(scratch_ / "below.safetensors", below);
    text("names.txt", "soil\nleaf\nstem\nfruit\nsky\n");
    const std::string command = "segment --threads 1 --fit pad photos/china.png --weights ";
    const Outcome plain = run(command + "five.safetensors");
    ASSERT_EQ(plain.status, 0) << plain.text;
    expect_in("class ", plain.text);
    const Outcome named = run(command + "below.safetensors --prefix net1. --classes names.txt");
    ASSERT_EQ(named.status, 0) << named.text;
    EXPECT_EQ(named.text.find("class "), std::string::npos);
    expect_in("below the prefix 'net1.' they look like seg_b0_cityscapes's", run(command + "below.safetensors").text);
    expect_in("--prefix: no name of the weights begins with 'net2.'",
              run(command + "below.safetensors --prefix net2.").text);
    text("names.txt", "soil\n");
    expect_in("names.txt: expected a name a line for 5 classes, found 1",
              run(command + "five.safetensors --classes names.txt").text);
}

}  // namespace
