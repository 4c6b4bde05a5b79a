// SPDX-License-Identifier: Apache-2.0
//
// The examples on folders as people have them: strips, litter, odd and long names, text files of other systems, weights
// with NaN in them, results that are stale. One bad picture never ends a run, and two never write one result.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/weights/safetensors.hpp>

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "../../examples/common/drawing.hpp"
#include "../../examples/common/output_folder.hpp"
#include "programs.hpp"

namespace {

const std::array<std::string, 4> programs{"classify", "segment", "embed", "features"};

class Folders : public Programs {
protected:
    static std::string command(const std::string& program, const std::string& arguments) {
        return program + weights(program == "segment" ? "seg_b0" : "cls_b0") +
               (program == "segment"    ? "--fit pad "
                : program == "classify" ? "--output '' "
                                        : "--size 64 ") +
               arguments;
    }
    void copy(const std::string& name, const std::string& to) const {
        fs::copy_file(fixture_path(name), scratch_ / to, fs::copy_options::overwrite_existing);
    }
    std::vector<float> vectors(const std::string& file) const {
        return ev::to_float(ev::load_safetensors(scratch_ / file).at("stage_final"));
    }
};

TEST_F(Folders, HiddenFilesAndFoldersArePassedOver) {
    copy("small.png", "photos/._a.jpg");
    std::ofstream(scratch_ / "photos/._b.jpg") << "Mac OS X";
    copy("small.png", "photos/.hidden.png");
    fs::create_directory(scratch_ / "photos/folder.png");
    copy("flower_444.jpg", "photos/c.jfif");
    copy("flower_444.jpg", "photos/d.JPE");
    const Outcome out = run(command("classify", "--top 1 photos"));
    EXPECT_EQ(out.status, 0) << out.text;
    for (const std::string name : {"china.png\n", "flower.jpg\n", "c.jfif\n", "d.JPE\n"}) expect_in(name, out.text);
    EXPECT_EQ(out.text.find("hidden"), std::string::npos);
}

TEST_F(Folders, AStripIsDoneOrNamedAndTheOthersAreDone) {
    ev::write_png(scratch_ / "photos/d_strip.png", ev::Image({12000, 1}, {200, 30, 60}));
    ev::write_png(scratch_ / "photos/e_strip.png", ev::Image({1, 1100}, {200, 30, 60}));
    for (const std::string& program : programs) {
        const Outcome out = run(command(program, "photos"), "ulimit -v 1000000; ");
        EXPECT_EQ(out.status, 0) << program << out.text;
    }
    EXPECT_EQ(files("embedded").size(), 8U);
    EXPECT_EQ(files("segmented").size(), 8U);
    EXPECT_EQ(files("features").size(), 4U);
}

TEST_F(Folders, WhatFailsBehindTheReadingIsNamedToo) {
    // A size that preprocessing refuses, and memory that one picture alone wants.
    ev::write_png(scratch_ / "photos/d_large.png", ev::Image({9000, 9000}, {1, 2, 3}));
    const Outcome memory = run(command("segment", "photos"), "ulimit -v 900000; ");
    EXPECT_EQ(memory.status, 1);
    expect_in("d_large.png: out of memory", memory.text);
    expect_in("1 of 3 pictures could not be processed", memory.text);
    EXPECT_EQ(files("segmented").size(), 4U);
    // The results' names are taken by folders.
    fs::create_directories(scratch_ / "out/china_features.png");
    const Outcome out = run(command("features", "--output out photos"));
    EXPECT_EQ(out.status, 1);
    expect_in("china_features.png", out.text);
    EXPECT_TRUE(fs::is_regular_file(scratch_ / "out/flower_features.png"));
}

TEST_F(Folders, NumbersThatAreNoneAreNotWritten) {
    ev::StateDict bad;
    const ev::StateDict whole = ev::load_safetensors(weights_ / "cls_b0.safetensors");
    for (const auto& [name, entry] : whole) {
        std::vector<float> values = ev::to_float(entry);
        if (name.find("input_stem") != std::string::npos) values[0] = std::numeric_limits<float>::quiet_NaN();
        bad.insert(name, entry.shape, values);
    }
    ev::save_safetensors(scratch_ / "bad.safetensors", bad);
    for (const std::string program : {"classify", "embed", "features"}) {
        const Outcome out = run(program + " --threads 1 --weights bad.safetensors photos --output out");
        EXPECT_EQ(out.status, 1) << out.text;
        for (const std::string name : {"china.png: the network", "flower.jpg: the network", "are its weights damaged",
                                       "2 of 2 pictures could not be processed"}) {
            expect_in(name, out.text);
        }
        if (fs::exists(scratch_ / "out")) {
            EXPECT_EQ(files("out").size(), 0U);
        }
    }
    expect_in("2 of 2", run("embed --threads 1 --weights bad.safetensors --shard 2 photos").text);
    EXPECT_EQ(ev::load_safetensors(scratch_ / "embedded/shard-00000000.safetensors").at("picture").element_count(), 0U);
}

TEST_F(Folders, LongNamesAndOddOnes) {
    std::string name = "m";
    for (int i = 0; i < 82; ++i) name += "\u5199";
    copy("small.png", "photos/" + name + ".png");
    copy("small.png", "photos/" + name.substr(0, 4) + name.substr(4) + ".jpg");
    copy("small.png", "photos/line\nbreak.png");
    copy("small.png", "photos/\x1b]0;title\x07\x1b[31m\xc2\x9bred.png");
    copy("small.png", "photos/not\xffutf8.png");
    for (const std::string& program : programs) {
        for (const std::string more : {"", "--shard 4 --output shards "}) {
            if (more.empty() || program == "embed") {
                const Outcome out = run(command(program, more + "photos"));
                EXPECT_EQ(out.status, 0) << out.text;
                EXPECT_EQ(out.text.find('\x1b'), std::string::npos) << program;
                EXPECT_EQ(out.text.find("\xc2\x9b"), std::string::npos) << program;
            }
        }
    }
    EXPECT_EQ(files("embedded").size(), 14U);
    EXPECT_EQ(files("features").size(), 7U);
    EXPECT_EQ(files("segmented").size(), 14U);
    const std::string index = contents("shards/index.csv");
    EXPECT_EQ(std::count(index.begin(), index.end(), '\n'), 8);
    expect_in("photos/line\\x0abreak.png,", index);
    expect_in("photos/not\\xffutf8.png,", index);
    expect_in("7 there already", run(command("embed", "photos")).text);
    expect_in("2 there already", run(command("embed", "--shard 4 --output shards photos")).text);
}

/// A link that leads nowhere and a folder without pictures, among what a shell makes of photos/*.
TEST_F(Folders, APathThatMeansNoPictureIsNamedAndTheOthersAreDone) {
    fs::create_directory(scratch_ / "empty");
    fs::create_symlink("nowhere.png", scratch_ / "photos/dangling.png");
    std::ofstream(scratch_ / "list.txt") << "photos/china.png\nphotos/flower.jpg\n";
    std::vector<std::string> commands{command("embed", "--shard 3 --output shards photos/* empty"),
                                      command("embed", "--output listed --list list.txt photos/dangling.png empty")};
    for (const std::string& program : programs) commands.push_back(command(program, "photos/* empty"));
    for (const std::string& line : commands) {
        const Outcome out = run(line);
        EXPECT_EQ(out.status, 1) << line;
        expect_in("photos/dangling.png: no such file or folder\n", out.text);
        expect_in("empty: no PNG or JPEG pictures in this folder\n", out.text);
        expect_in("2 of 4 pictures could not be read", out.text);
    }
    EXPECT_EQ(files("embedded").size(), 4U);
    EXPECT_EQ(files("listed").size(), 4U);
    EXPECT_EQ(files("shards").size(), 3U);
    EXPECT_EQ(files("segmented").size(), 4U);
    EXPECT_EQ(files("features").size(), 2U);
    // Where none means a picture, each is named and nothing is begun.
    for (const std::string& program : programs) {
        const Outcome none = run(command(program, "photos/dangling.png empty --output none"));
        EXPECT_EQ(none.status, 1) << program;
        expect_in("photos/dangling.png: no such file or folder; empty: no PNG or JPEG pictures", none.text);
    }
    EXPECT_FALSE(fs::exists(scratch_ / "none"));
}

/// In the folder that it was started in, and of which it takes all pictures.
TEST_F(Folders, ClassifyPassesOverItsOwnSheet) {
    const std::string line = "classify" + weights("cls_b0") + "--top 1 ";
    const Outcome first = run(line + ".", "cd photos; ");
    EXPECT_EQ(first.status, 0) << first.text;
    ASSERT_TRUE(fs::exists(scratch_ / "photos/classified.png"));
    EXPECT_EQ(run(line + ".", "cd photos; ").text, first.text);
    expect_in("classified.png\n  ", run(line + "classified.png", "cd photos; ").text);  // by its name
    fs::create_directory(scratch_ / "only");
    fs::rename(scratch_ / "photos/classified.png", scratch_ / "only/classified.png");
    expect_in(".: no PNG or JPEG pictures in this folder", run(line + ".", "cd only; ").text);
}

TEST_F(Folders, AFolderInPlaceOfATextIsNamed) {
    for (const std::string& line : {command("classify", "--classes photos photos"),
                                    command("segment", "--classes photos photos"), command("embed", "--list photos")}) {
        const Outcome out = run(line);
        EXPECT_EQ(out.status, 1) << line;
        expect_in(": photos: is a folder, expected a file", out.text);
    }
    EXPECT_EQ(files("."), std::set<std::string>{"photos"});
}

TEST_F(Folders, TwoPicturesNeverHaveOneName) {
    const std::vector<std::vector<std::string>> sets{
        {"one/x.jpg", "one/x.png", "one/x.jpg.png"},
        {"a/b/x.png", "a_b/x.png", "x.png"},
        {"x.jpg.png", "x.png", "x.jpg", "y/x.png", "./y_x.png", "y_x.png"},
        {"A.png", "a.png", "a.jpg", "B/a.png", "b/A.png"},
        {"a/x.png", "a:x.png", "a_x.png", "b/x.png", "a_x.png-3.png"},
        {std::string(240, 'a') + "1.png", std::string(240, 'a') + "2.png", "b/" + std::string(240, 'a') + "1.png"}};
    for (const std::vector<std::string>& set : sets) {
        const std::vector<fs::path> paths(set.begin(), set.end());
        const examples::OutputFolder folder(scratch_ / "out", paths);
        std::set<std::string> names;
        for (const fs::path& path : paths) {
            std::string name = folder.file(path, ".npy").filename().string();
            EXPECT_LT(name.size(), 210U);
            for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
            names.insert(name);
        }
        EXPECT_EQ(names.size(), set.size()) << set.front();
    }
}

TEST_F(Folders, WhatIsStaleIsEmbeddedAgain) {
    const std::vector<std::string> forms{"", "--format npy", "--format safetensors", "--shard 2"};
    save_weights<ev::ClsB0<>>(scratch_ / "w.safetensors");
    save_changed(scratch_ / "w.safetensors", scratch_ / "retrained.safetensors");
    for (std::size_t i = 0; i < forms.size(); ++i) {
        save_weights<ev::ClsB0<>>(scratch_ / "w.safetensors");
        copy("china.png", "photos/china.png");
        const std::string folder = "out" + std::to_string(i);
        const auto embed = [&](const std::string& pictures) {
            return run("embed --threads 1 --size 64 --weights w.safetensors --output " + folder + " " + forms[i] + " " +
                       pictures)
                .text;
        };
        const std::string all = i == 3 ? "1 shards written, 0" : "2 embedded, 0",
                          none = i == 3 ? "0 shards written, 1" : "0 embedded, 2";
        const std::string one = i == 3 ? all : "1 embedded, 1";
        expect_in(all, embed("photos"));
        expect_in(none, embed("photos"));
        fs::copy_file(scratch_ / "retrained.safetensors", scratch_ / "w.safetensors",
                      fs::copy_options::overwrite_existing);
        expect_in(all, embed("photos"));
        copy("chelsea.png", "photos/china.png");
        expect_in(one, embed("photos"));
        expect_in(none, embed("photos"));
        // The same weights under another name are the same.
        fs::copy_file(scratch_ / "w.safetensors", scratch_ / "other.safetensors", fs::copy_options::overwrite_existing);
        expect_in(i == 3 ? "0 shards written, 1" : "0 embedded, 2",
                  run("embed --threads 1 --size 64 --weights other.safetensors --output " + folder + " " + forms[i] +
                      " photos")
                      .text);
        // A picture of the same name in another folder is another one.
        if (i == 3) continue;
        fs::create_directories(scratch_ / "more");
        copy("small.png", "more/china.png");
        expect_in("1 embedded, 0", embed("more/china.png"));
    }
    // What is kept is of the last weights and the last picture.
    ASSERT_EQ(run("embed --threads 1 --size 64 --weights w.safetensors --output fresh more/china.png").status, 0);
    EXPECT_EQ(vectors("out0/china.safetensors"), vectors("fresh/china.safetensors"));
}

TEST_F(Folders, AResultThatIsBrokenIsMadeAgain) {
    expect_in("2 embedded", run(command("embed", "photos")).text);
    fs::resize_file(scratch_ / "embedded/china.safetensors", 100);
    expect_in("1 embedded, 1 there already", run(command("embed", "photos")).text);
}

TEST_F(Folders, ListsOfOtherSystems) {
    std::ofstream(scratch_ / "list.txt", std::ios::binary)
        << "\xef\xbb\xbfphotos/china.png\r\n\r\nphotos/flower.jpg\r\n\r\n";
    const Outcome out = run("embed" + weights("cls_b0") + "--size 64 --list list.txt");
    EXPECT_EQ(out.status, 0) << out.text;
    expect_in("2 embedded", out.text);

    std::string names = "\xef\xbb\xbf";
    for (int i = 0; i < 1000; ++i) names += "name " + std::to_string(i) + (i == 7 ? "\x1b[31m" : "") + "\r\n";
    std::ofstream(scratch_ / "names.txt", std::ios::binary) << names << "\r\n\n";
    const Outcome classes = run(command("classify", "--classes names.txt --top 1000 photos/china.png"));
    EXPECT_EQ(classes.status, 0) << classes.text;
    expect_in("  name 0\n", classes.text);
    expect_in("  name 999\n", classes.text);
    EXPECT_EQ(classes.text.find('\x1b'), std::string::npos);
}

TEST_F(Folders, NoMemoryAndNoThreadsAreSaidInWords) {
    expect_in("classify: out of memory", run(command("classify", "photos"), "ulimit -v 40000; ").text);
    expect_in("no more threads could be started (--threads)",
              run("classify --threads 1000 --weights '" + (weights_ / "cls_b0.safetensors").string() + "' photos",
                  "ulimit -v 2000000; ")
                  .text);
}

TEST_F(Folders, PicturesAreTurnedAsTheCameraWasHeld) {
    copy("kinds/held6_le.jpg", "photos/held.jpg");
    ASSERT_EQ(run(command("segment", "photos/held.jpg")).status, 0);
    EXPECT_EQ(ev::read_image(scratch_ / "segmented/held_mask.png").size(), (ev::ImageSize{37, 27}));
}

TEST_F(Folders, CaptionsAreNotCutOff) {
    ev::write_png(scratch_ / "photos/narrow.png", ev::Image({300, 5}, {200, 30, 60}));
    copy("china.png", "photos/" + std::string(120, 'n') + ".png");
    ASSERT_EQ(run(command("features", "photos")).status, 0);
    EXPECT_GT(ev::read_image(scratch_ / "features/narrow_features.png").width(), 700);
    const std::string name = "a name with blanks and " + std::string(150, 'w');
    std::string joined;
    for (const std::string& line : examples::wrapped(name, 240)) {
        EXPECT_LE(examples::text_width(line), 240);
        joined += line;
    }
    std::string expected;
    for (const char c : name) expected += c == ' ' ? "" : std::string(1, c);
    std::erase(joined, ' ');
    EXPECT_EQ(joined, expected);
}

}  // namespace
