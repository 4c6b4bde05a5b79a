// SPDX-License-Identifier: Apache-2.0
//
// zip_archive.hpp, pickle_machine.hpp and torch_checkpoint.hpp on files made to be wrong: the message for each way.
#include <efficientvit/weights/torch_checkpoint.hpp>

#include "safetensors_files.hpp"
#include "torch_files.hpp"

#include <functional>

namespace {

class HostileCheckpoint : public InDirectory {
protected:
    /// From a file and from memory, the same sentence behind the source.
    void expect_error(const std::string& content, const std::string& sentence) const {
        const fs::path path = write(content, "file.pt");
        EXPECT_EQ(message_of([&] { ev::load_torch_checkpoint(path); }), path.string() + ": " + sentence);
        EXPECT_EQ(message_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); }),
                  "checkpoint in memory: " + sentence);
    }

    static void expect_six_floats(const std::string& content) {
        const ev::StateDict dict = ev::parse_torch_checkpoint(bytes_of(content));
        ASSERT_EQ(dict.names(), std::vector<std::string>{"w"});
        EXPECT_EQ(dict.at("w").shape, (std::vector<std::int64_t>{2, 3}));
        EXPECT_EQ(ev::to_float(dict.at("w")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    }
};

/// A good checkpoint of one tensor 'w' for a test to spoil.
Zip good_zip() { return checkpoint_of(pickle_of(p_dict({p_text("w"), p_good_tensor()}))); }

std::string zip_with(const std::function<void(Zip&)>& spoil) {
    Zip zip = good_zip();
    spoil(zip);
    return zip.bytes();
}

// ---- The archive
// -------------------------------------------------------------------------------------------------------

using HostileZip = HostileCheckpoint;

TEST_F(HostileZip, WhatTheWriterHereMakesIsReadUnlessSpoilt) {
    expect_six_floats(good_zip().bytes());
    expect_six_floats(zip_with([](Zip& zip) { zip.zip64 = true; }));
    expect_six_floats(zip_with([](Zip& zip) { zip.members[1].local_extra = "FB" + le(5, 2) + "ZZZZZ"; }));
    expect_six_floats(zip_with([](Zip& zip) { zip.members[1].central_extra = "FB" + le(2, 2) + "ZZ"; }));
    expect_six_floats(zip_with([](Zip& zip) { zip.before_directory = "a descriptor"; }));
    // Sizes behind the data, as PyTorch writes them, or in a zip64 field.
    expect_six_floats(zip_with([](Zip& zip) {
        zip.members[1].flags = 8;
        zip.members[1].local_size = 0;
    }));
    expect_six_floats(zip_with([](Zip& zip) {
        ZipMember& member = zip.members[1];
        member.local_size = member.size = member.packed = member.header = 0xffffffff;
        const std::uint64_t header = 30 + zip.members[0].name.size() + zip.members[0].data.size();
        member.central_extra = "FB" + le(0, 2) + le(1, 2) + le(24, 2) + le(24, 8) + le(24, 8) + le(header, 8);
    }));
}

TEST_F(HostileZip, FilesThatAreNone) {
    const std::string none = "not a PyTorch checkpoint: does not begin as a zip archive does";
    expect_error("", none);
    expect_error("PK", none);
    expect_error(std::string(100, 'x'), none);
    expect_error("PK\3\4 and no more", "too small for a zip archive: 16 bytes, expected at least 22");
    expect_error("PK\3\4" + std::string(100, '\0'),
                 "its last 22 bytes are not the end of a zip archive: cut short, or something stands behind it");
    expect_error(good, "looks like safetensors, which load_safetensors() reads; expected a PyTorch checkpoint");
    EXPECT_NE(message_of([&] { ev::load_torch_checkpoint(directory_ / "none.pt"); }).find("cannot be opened"),
              std::string::npos);
}

TEST_F(HostileZip, BytesBehindAndComments) {
    const std::string sentence =
        "its last 22 bytes are not the end of a zip archive: cut short, or something stands behind it";
    expect_error(zip_with([](Zip& zip) { zip.behind = "x"; }), sentence);
    std::string comment = good_zip().bytes();
    comment[comment.size() - 2] = 1;
    expect_error(comment + "x", sentence);
    expect_error(comment, sentence);
}

TEST_F(HostileZip, CompressedOrEncrypted) {
    expect_error(zip_with([](Zip& zip) { zip.members[1].method = 8; }),
                 "in its zip archive 'm/data/0' is compressed (method 8), which PyTorch never does: save it again with "
                 "torch.save");
    expect_error(
        zip_with([](Zip& zip) { zip.members[0].method = 8; }),
        "in its zip archive 'm/data.pkl' is compressed (method 8), which PyTorch never does: save it again with "
        "torch.save");
    // What is not read may be: 24 bytes for 50.
    const ZipMember note{
        .name = "m/code/a.py", .data = std::string(24, 'x'), .flags = 8, .method = 8, .local_size = 0, .size = 50};
    expect_six_floats(zip_with([&](Zip& zip) { zip.members.push_back(note); }));
    expect_error(
        zip_with([&](Zip& zip) {
            zip.members.push_back(note);
            zip.members.back().packed = 1000;
        }),
        "in its zip archive 'm/code/a.py' lies outside: its data of 1000 bytes at byte 373 would pass byte 397, "
        "where the zip directory begins");
    expect_error(zip_with([&](Zip& zip) {
                     zip.members.push_back(note);
                     zip.members.back().local_method = 0;
                 }),
                 "in its zip archive 'm/code/a.py' has another name or method in its own header");
    expect_error(zip_with([](Zip& zip) { zip.members[1].flags = 1; }), "in its zip archive 'm/data/0' is encrypted");
}

TEST_F(HostileZip, LyingSizes) {
    expect_error(zip_with([](Zip& zip) { zip.members[1].packed = 23; }),
                 "in its zip archive 'm/data/0' is stored and yet said to take 23 bytes for 24");
    expect_error(zip_with([](Zip& zip) { zip.members[1].local_size = 23; }),
                 "in its zip archive 'm/data/0' has 23 bytes by its own header and 24 by the zip directory");
    expect_error(zip_with([](Zip& zip) { zip.members[1].local_size = 0; }),
                 "in its zip archive 'm/data/0' has 0 bytes by its own header and 24 by the zip directory");
    const std::string content =
        zip_with([](Zip& zip) { zip.members[2].size = zip.members[2].packed = zip.members[2].local_size = 1000; });
    const std::size_t directory = content.find("PK\1\2");
    expect_error(content, "in its zip archive 'm/version' lies outside: its data of 1000 bytes at byte " +
                              std::to_string(directory - 2) + " would pass byte " + std::to_string(directory) +
                              ", where the zip directory begins");
}

TEST_F(HostileZip, Overlapping) {
    expect_error(
        zip_with([](Zip& zip) { zip.members[1].size = zip.members[1].packed = zip.members[1].local_size = 25; }),
        "in its zip archive 'm/data/0' overlaps 'm/version'");
    expect_error(zip_with([](Zip& zip) {  // two names for one place
                     zip.members[1].name = "m/data.pkl";
                     zip.members[1].header = 0;
                     zip.members[1].size = zip.members[1].packed =
                         static_cast<std::uint32_t>(zip.members[0].data.size());
                 }),
                 "in its zip archive 'm/data.pkl' overlaps 'm/data.pkl'");
}

TEST_F(HostileZip, LocalHeadersThatDisagree) {
    const std::string other = "in its zip archive 'm/data/0' has another name or method in its own header";
    expect_error(zip_with([](Zip& zip) { zip.members[1].local_name = "m/data/1"; }), other);
    expect_error(zip_with([](Zip& zip) { zip.members[1].local_name = "m/data/00"; }), other);
    expect_error(zip_with([](Zip& zip) { zip.members[1].local_method = 8; }), other);
    expect_error(zip_with([](Zip& zip) { zip.members[1].header = 1; }),
                 "in its zip archive 'm/data/0' has no header at byte 1, where it is said to be");
    const std::string content = zip_with([](Zip& zip) { zip.members[1].header = 5000; });
    expect_error(content,
                 "in its zip archive 'm/data/0' lies outside: its header of 38 bytes at byte 5000 would pass byte " +
                     std::to_string(content.find("PK\1\2")) + ", where the zip directory begins");
}

TEST_F(HostileZip, TheSameNameTwice) {
    expect_error(zip_with([](Zip& zip) { zip.members.push_back(zip.members[1]); }),
                 "in its zip archive 'm/data/0' is there twice");
}

TEST_F(HostileZip, LyingDirectories) {
    const std::size_t begin = good_zip().bytes().find("PK\1\2");
    const std::size_t size = good_zip().bytes().size() - 22 - begin;
    const auto sentence = [&](std::uint64_t said, std::uint64_t at) {
        return "its zip directory of " + std::to_string(said) + " bytes at byte " + std::to_string(at) +
               " does not end where it should, at byte " + std::to_string(begin + size);
    };
    expect_error(zip_with([&](Zip& zip) { zip.directory_size = size - 1; }), sentence(size - 1, begin));
    expect_error(zip_with([&](Zip& zip) { zip.directory_offset = begin + 1; }), sentence(size, begin + 1));
    expect_error(zip_with([&](Zip& zip) { zip.directory_offset = 0xfffffff0; }), sentence(size, 0xfffffff0));
    expect_error(zip_with([&](Zip& zip) {
                     zip.directory_offset = begin - 1;
                     zip.directory_size = size + 1;
                 }),
                 "file 0 of its zip directory does not begin as it should");
    expect_error(zip_with([](Zip& zip) { zip.count = 100; }),
                 "its zip directory of " + std::to_string(size) + " bytes cannot hold 100 files");
    expect_error(zip_with([](Zip& zip) { zip.count = 2; }),
                 "its zip directory holds 55 bytes behind the last of 2 files");
    expect_error(zip_with([](Zip& zip) {
                     zip.in_directory = "PK\1\2" + std::string(41, '\0');
                     zip.count = 4;
                 }),
                 "file 3 of its zip directory is cut short");
    expect_error(zip_with([](Zip& zip) {  // a name longer than the directory
                     zip.in_directory = "PK\1\2" + std::string(24, '\0') + le(1, 2) + std::string(16, '\0');
                     zip.count = 4;
                 }),
                 "file 3 of its zip directory is cut short");
    const std::string disks = "a part of a zip archive on several disks, expected a whole one";
    expect_error(zip_with([](Zip& zip) { zip.disk = 1; }), disks);
    expect_error(zip_with([](Zip& zip) { zip.count_here = 2; }), disks);
}

TEST_F(HostileZip, Zip64RecordsThatLie) {
    const auto wide = [](const std::function<void(Zip&)>& spoil) {
        return zip_with([&](Zip& zip) {
            zip.zip64 = true;
            spoil(zip);
        });
    };
    const std::size_t end = wide([](Zip&) {}).size() - 42;  // where the locator begins
    const std::string record = std::to_string(end - 56);
    expect_error(
        wide([](Zip& zip) { zip.record_size = 45; }),
        "its zip64 record at byte " + record + " does not end where it should, at byte " + std::to_string(end));
    expect_error(
        wide([](Zip& zip) { zip.record_size = ~std::uint64_t{0}; }),
        "its zip64 record at byte " + record + " does not end where it should, at byte " + std::to_string(end));
    expect_error(wide([](Zip& zip) { zip.record_offset = 10; }), "no zip64 record at byte 10, where one should be");
    for (const std::uint64_t at : {std::uint64_t{end - 55}, ~std::uint64_t{0}}) {
        expect_error(wide([at](Zip& zip) { zip.record_offset = at; }),
                     "its zip64 record is said to begin at byte " + std::to_string(at) + ", beyond where it could");
    }
    for (const auto& spoil : std::initializer_list<void (*)(Zip&)>{
             [](Zip& zip) { zip.narrow_count = 2; }, [](Zip& zip) { zip.narrow_count_here = 2; },
             [](Zip& zip) { zip.narrow_size = 2; }, [](Zip& zip) { zip.narrow_offset = 2; }}) {
        expect_error(wide(spoil), "its zip64 record and the record at its end do not agree");
    }
    const std::size_t size = end - 56 - wide([](Zip&) {}).find("PK\1\2");
    expect_error(wide([](Zip& zip) { zip.count = ~std::uint64_t{0}; }),
                 "its zip directory of " + std::to_string(size) + " bytes cannot hold 18446744073709551615 files");
    expect_error(wide([](Zip& zip) { zip.directory_offset = ~std::uint64_t{0}; }),
                 "its zip directory of " + std::to_string(size) +
                     " bytes at byte 18446744073709551615 does not end where it should, at byte " + record);
    expect_error(wide([](Zip& zip) { zip.disk = 1; }),
                 "a part of a zip archive on several disks, expected a whole one");
    expect_error(zip_with([](Zip& zip) {
                     zip.members[1].size = 0xffffffff;
                     zip.members[1].central_extra = le(1, 2) + le(7, 2) + std::string(7, '\0');
                 }),
                 "in its zip archive 'm/data/0' has a zip64 field that is too short");
    const std::string huge = zip_with([](Zip& zip) {
        zip.members[1].size = zip.members[1].packed = zip.members[1].local_size = 0xffffffff;
        zip.members[1].central_extra = le(1, 2) + le(16, 2) + std::string(16, '\xff');
    });
    const std::size_t begin = huge.find("PK\3\4", 10) + 38;
    expect_error(huge, "in its zip archive 'm/data/0' lies outside: its data of 18446744073709551615 bytes at byte " +
                           std::to_string(begin) + " would pass byte " + std::to_string(huge.find("PK\1\2")) +
                           ", where the zip directory begins");
}

TEST_F(HostileZip, ArchivesOfOtherPrograms) {
    expect_error(Zip{}.bytes(), "not a PyTorch checkpoint: does not begin as a zip archive does");
    const std::string other = "a zip archive, but not PyTorch's: no file <name>/data.pkl in it";
    expect_error(Zip{.members = {{.name = "data.pkl"}, {.name = "a/b/data.pkl"}, {.name = "a/xdata.pkl"}}}.bytes(),
                 other);
    const std::string script = "a TorchScript program, which is not read: in Python save its state_dict()";
    expect_error(zip_with([](Zip& zip) { zip.members.push_back({.name = "m/constants.pkl"}); }), script);
    expect_error(zip_with([](Zip& zip) {  // whose source code PyTorch compresses
                     zip.members.push_back({.name = "m/constants.pkl"});
                     zip.members.push_back({.name = "m/code/__torch__.py", .data = "x", .method = 8});
                 }),
                 script);
    expect_error(Zip{.members = {{.name = "model.pt", .data = "x", .method = 8}}}.bytes(),
                 other + "; unpack it, if what you want is in it");
    expect_error(zip_with([](Zip& zip) { zip.members.push_back({.name = "n/data.pkl"}); }),
                 "two checkpoints in one zip archive, 'm/' and another");
    expect_six_floats(zip_with([](Zip& zip) { zip.members.push_back({.name = "m/byteorder", .data = "little"}); }));
    expect_error(zip_with([](Zip& zip) { zip.members.push_back({.name = "m/byteorder", .data = "big"}); }),
                 "saved on a big-endian machine, expected little-endian");
}

// ---- The pickle
// --------------------------------------------------------------------------------------------------------

class HostilePickle : public HostileCheckpoint {
protected:
    void expect_pickle_error(const std::string& pickle, std::size_t at, const std::string& sentence) const {
        expect_error(checkpoint_of(pickle).bytes(), "data.pkl: at byte " + std::to_string(at) + ": " + sentence);
    }
    /// As the value of an entry beside a good tensor, where errors must be found too.
    void expect_value_error(const std::string& value, const std::string& sentence) const {
        const std::string content =
            checkpoint_of(pickle_of(p_dict({p_text("w"), p_good_tensor(), p_text("x"), value}))).bytes();
        const std::string message = message_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); });
        EXPECT_NE(message.find(": " + sentence), std::string::npos) << message;
    }
};

TEST_F(HostilePickle, OtherProtocols) {
    expect_pickle_error("", 0, "cut short: ends at byte 0");
    expect_pickle_error("\x80", 0, "cut short: ends at byte 1");
    expect_pickle_error("}.", 0, "not a pickle of protocol 2 or later");
    expect_pickle_error("\x80\x01}.", 0, "a pickle of protocol 1, expected 2 to 5");
    expect_pickle_error("\x80\x06}.", 0, "a pickle of protocol 6, expected 2 to 5");
}

TEST_F(HostilePickle, NothingIsExecutedAndATensorThatNeedsItIsRefused) {
    const std::string advice = ": in Python save the state_dict() of a model, or dict() of what is like a dict";
    const std::string call = p_global("os", "system") + p_text("echo") + "\x85R";
    expect_error(checkpoint_of(pickle_of(call)).bytes(), "holds an object of os.system, expected a dict" + advice);
    expect_error(checkpoint_of("\x80\x04\x8c\x02os\x8c\x06system\x93.").bytes(),
                 "holds an object of os.system, expected a dict" + advice);
    expect_error(checkpoint_of("\x80\x02"
                               "c\x1b[2J\n\xff\n.")
                     .bytes(),
                 "holds an object of \\x1b[2J.\\xff, expected a dict" + advice);
    // Beside a tensor: named, and passed over when asked.
    for (const std::string name : {"builtins.eval", "torch._utils._rebuild_tensor_v9", "collections.OrderedDict.x",
                                   "collections", "torch.nn.modules.conv.Conv2d", "numpy.core.multiarray.scalar",
                                   "argparse.Namespace", "torch._utils._rebuild_tensor_v2 "}) {
        const std::size_t dot = name.rfind('.');
        const std::string module = dot == std::string::npos ? "" : name.substr(0, dot);
        const std::string global = p_global(module, name.substr(dot + 1));
        const std::string shown = dot == std::string::npos ? "." + name : name;
        const std::string state = "}(" + p_text("x") + "K\1u";
        for (const std::string& object :
             {global, global + ")R", global + ")\x81", global + ")\x81" + state + "b", global + ")}\x92",
              "(" + global + "No", "(Ni" + module + "\n" + name.substr(dot + 1) + "\n", global + ")R(NNe",
              global + ")RNa", global + ")RNNs", global + ")R(NNNNu", global + "0" + global + "2" + "0"}) {
            const std::string content =
                checkpoint_of(pickle_of(p_dict({p_text("w"), p_good_tensor(), p_text("x"), "(" + object + "t"})))
                    .bytes();
            const ev::StateDict dict = ev::parse_torch_checkpoint(bytes_of(content), {.skip_extra_entries = true});
            EXPECT_EQ(dict.names(), std::vector<std::string>{"w"});
            EXPECT_NE(message_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); }).find("'x' (a tuple of 1)"),
                      std::string::npos);
        }
        const bool odd = name.starts_with("torch._utils._rebuild");
        const std::string content =
            checkpoint_of(pickle_of(p_dict({p_text("w"), p_good_tensor(), p_text("x"), global + ")R"}))).bytes();
        if (odd) {
            const ev::StateDict dict = ev::parse_torch_checkpoint(bytes_of(content));
            EXPECT_EQ(dict.unreadable(), (ev::StateDict::Metadata{{"x", "made by " + name}}));
        } else {
            const std::string message = message_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); });
            EXPECT_NE(message.find("'x' (an object of " + shown + ")"), std::string::npos) << message;
        }
    }
}

TEST_F(HostilePickle, WhatIsNeitherATensorNorAnObject) {
    for (const std::string& value :
         {std::string("C\3abc"), std::string("B\3\0\0\0abc", 8), std::string("\x8e\3\0\0\0\0\0\0\0abc", 12),
          std::string("\x96\3\0\0\0\0\0\0\0abc", 12), std::string("\x8f(K\1K\2\x90"), std::string("(K\1\x91"),
          std::string("X\3\0\0\0\xed\xa0\x80", 8), std::string("U\3abc"), std::string("T\3\0\0\0abc", 8),
          std::string("\x8d\3\0\0\0\0\0\0\0abc", 12), std::string("N(NN1"), std::string("NN0"), std::string("(0N")}) {
        const std::string content =
            checkpoint_of(pickle_of(p_dict({p_text("w"), p_good_tensor(), p_text("x"), value}))).bytes();
        const ev::StateDict dict = ev::parse_torch_checkpoint(bytes_of(content), {.skip_extra_entries = true});
        EXPECT_EQ(dict.names(), std::vector<std::string>{"w"}) << ev::detail::printable(value);
    }
}

TEST_F(HostilePickle, UnknownInstructions) {
    // All but those below: so GET, PUT, EXT1, PERSID, buffers and the text protocol's are refused.
    constexpr std::string_view known =
        ".(NKMJGX]ae)t}suqrhjcRbQUTCBoi012"
        "\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96";
    for (unsigned code = 0; code < 256; ++code) {
        if (known.find(static_cast<char>(code)) != std::string_view::npos) continue;
        constexpr std::string_view digits = "0123456789abcdef";
        expect_pickle_error(std::string("\x80\x02") + static_cast<char>(code) + "....", 2,
                            std::string("the instruction 0x") + digits[code >> 4] + digits[code & 15] +
                                ", which no state dict needs, is refused");
    }
}

TEST_F(HostilePickle, EntriesAtAnyDepth) {
    const auto read = [](const std::string& root, const std::string& entry) {
        const std::string content = checkpoint_of(pickle_of(root)).bytes();
        return ev::parse_torch_checkpoint(bytes_of(content), {.entry = entry}).names();
    };
    const auto error = [&](const std::string& root, const std::string& entry) {
        return message_of([&] { read(root, entry); });
    };
    const auto state = [](const std::string& name) { return p_dict({p_text(name), p_good_tensor()}); };
    const std::vector<std::string> a{"a"}, b{"b"};
    // 0.9998 and 0.5 as Python writes floats.
    const std::string decay("G\x3f\xef\xfe\x5c\x91\xd1\x4e\x3c", 9), half("G\x3f\xe0\0\0\0\0\0\0", 9);
    const std::string root = p_dict({p_text("state_dict"), state("a"), p_text("ema"),
                                     p_dict({decay, state("b"), half, state("a"), "K\1", state("b")}), p_text("x.y"),
                                     p_dict({p_text("z"), state("b")})});
    EXPECT_EQ(read(root, "state_dict"), a);
    EXPECT_EQ(read(root, "ema.0.9998"), b);
    EXPECT_EQ(read(root, "ema.0.5"), a);
    EXPECT_EQ(read(root, "ema.1"), b);
    EXPECT_EQ(read(root, "x.y"), b) << "a dict with a single dict in it";
    EXPECT_EQ(read(root, "x.y.z"), b);
    EXPECT_NE(error(root, "ema")
                  .find("tensors are in several of its entries: 'ema.0.9998' (a dict of 1), 'ema.0.5' (a "
                        "dict of 1), 'ema.1' (a dict of 1); name one"),
              std::string::npos);
    EXPECT_NE(error(root, "ema.0")
                  .find("its entry 'ema.0' is missing, expected a dict; 'ema' holds 0.9998 (a dict of "
                        "1), 0.5 (a dict of 1), 1 (a dict of 1)"),
              std::string::npos);
    EXPECT_NE(error(root, "state_dict.a").find("is a tensor, expected a dict"), std::string::npos);
    // Lists and tuples by index; what is in them and is no container counts.
    const std::string lists = p_dict({p_text("m"), "](K\7" + state("a") + state("b") + "e"});
    EXPECT_EQ(read(lists, "m.1"), a);
    EXPECT_EQ(read(lists, "m.2"), b);
    EXPECT_NE(error(lists, "").find("'m.1' (a dict of 1), 'm.2' (a dict of 1)"), std::string::npos);
    EXPECT_EQ(read("](" + state("a") + "e", ""), a);
    EXPECT_EQ(read(p_dict({p_text("m"), state("a") + state("b") + "\x86"}), "m.1"), b);
    // Two that one path may mean, and the key that is there twice, of which the last one counts.
    const std::string two = p_dict({p_text("a.b"), state("a"), p_text("a"), p_dict({p_text("b"), state("b")})});
    EXPECT_NE(error(two, "a.b").find("its entry 'a.b' is a dict of 1 or a dict of 1"), std::string::npos);
    EXPECT_EQ(read(p_dict({p_text("a"), state("a"), p_text("a"), state("b")}), "a"), b);
    // Walked into at any depth.
    EXPECT_EQ(read(p_dict({p_text("c"), p_dict({p_text("d"), p_dict({p_text("state_dict"), state("a")})})}), ""), a);
    EXPECT_EQ(read(p_dict({decay, state("b")}), ""), b);
    // Dicts that share dicts: as many ways as there are numbers, and still an answer at once.
    std::string shared = "\x80\2" + state("a") + "\x94";
    for (int i = 0; i < 200; ++i) {
        const std::string before = "j" + le(static_cast<std::uint64_t>(i), 4);
        shared += "0}" + p_text("x") + before + "s" + p_text("y") + before + "s\x94";
    }
    EXPECT_NE(message_of([&] { ev::parse_torch_checkpoint(bytes_of(checkpoint_of(shared + ".").bytes())); }),
              "no error");
}

TEST_F(HostilePickle, EndsWhereItShould) {
    expect_pickle_error("\x80\x02.", 2, "ends with 0 values on its stack, expected 1");
    expect_pickle_error("\x80\x02}}.", 4, "ends with 2 values on its stack, expected 1");
    expect_pickle_error("\x80\x02(.", 3, "ends with 1 values on its stack, expected 1: a mark");
    expect_pickle_error("\x80\x02}.}", 3, "1 bytes behind the end of the pickle");
    expect_pickle_error("\x80\x02}", 3, "cut short: ends at byte 3");
}

TEST_F(HostilePickle, CutShortAnywhere) {
    const std::string whole =
        pickle_of(p_dict({p_text("w"), p_good_tensor(), p_text("x"), "G12345678", p_text("y"), "M12"}));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::string content = checkpoint_of(whole.substr(0, size)).bytes();
        const std::string message = message_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); });
        EXPECT_NE(message.find(": cut short: "), std::string::npos) << size << ": " << message;
    }
}

TEST_F(HostilePickle, LengthsThatLie) {
    expect_value_error("X\xff\xff\xff\xff", "cut short: ends at byte ");
    expect_value_error("\x8c\xff", "cut short: ends at byte ");
    expect_value_error("\x8a\xff", "cut short: ends at byte ");
    expect_value_error("\x8b\xff\xff\xff\xff", "cut short: ends at byte ");
    expect_value_error("\x95\xff\xff\xff\xff\xff\xff\xff\xff", "cut short: ends at byte ");
}

TEST_F(HostilePickle, TooLarge) {
    const std::string pickle(ev::detail::PickleMachine::largest + 1, '\0');
    const std::string content = checkpoint_of(pickle).bytes();
    EXPECT_EQ(message_of([&] { ev::parse_torch_checkpoint(bytes_of(content)); }),
              "checkpoint in memory: data.pkl: 67108865 bytes, expected at most 67108864");
}

TEST_F(HostilePickle, StackMisuse) {
    const std::string none = "takes a value where there is none";
    const std::string no_mark = "takes values from a mark where there is none";
    for (const std::string code :
         {"a", "s", "\x85", "\x86", "\x87", "R", "\x81", "b", "Q", "\x93", "q\x01", "\x94", "\x92", "2"}) {
        if (code != "q\x01") expect_pickle_error("\x80\x02" + code + ".", 2, none);
        expect_pickle_error(
            "\x80\x02"
            "}(" +
                (code == "q\x01" ? std::string("q\0", 2) : code) + ".",
            4, none);
    }
    for (const std::string code : {"e", "u", "t", "o", "i", "1", "\x90", "\x91"})
        expect_pickle_error("\x80\x02}" + code + ".", 3, no_mark);
    expect_pickle_error("\x80\x02(u.", 3, none);
    expect_pickle_error("\x80\x02((u.", 4, "what takes a key is a mark, expected a dict");
    expect_pickle_error("\x80\x02}(Nu.", 5, "a key without a value");
    expect_pickle_error("\x80\x02}}Ns.", 5, "a dict as a key, which Python does not allow");
    expect_pickle_error("\x80\x02}(N]]Nu.", 8, "a list as a key, which Python does not allow");
    expect_pickle_error("\x80\x02NNNs.", 5, "what takes a key is None, expected a dict");
    expect_pickle_error("\x80\x02}Na.", 4, "what takes items is a dict of 0, expected a list");
    expect_pickle_error("\x80\x02](N(e.", 6, "what takes items is None, expected a list");
}

TEST_F(HostilePickle, MemoMisuse) {
    expect_pickle_error(std::string("\x80\x02}h\0.", 6), 3, "memo 0 is read where only 0 are written");
    expect_pickle_error(std::string("\x80\x02}q\0h\1.", 8), 5, "memo 1 is read where only 1 are written");
    expect_pickle_error("\x80\x02}j\xff\xff\xff\xff.", 3, "memo 4294967295 is read where only 0 are written");
    expect_pickle_error("\x80\x02}q\x01.", 3, "memo 1 is written where 0 is next");
    expect_pickle_error("\x80\x02}r\xff\xff\xff\xff.", 3, "memo 4294967295 is written where 0 is next");
    // Written anew: what was written last is read.
    const std::string pickle = "\x80\x02}(" + p_text("w") + std::string("q\0", 2) + p_good_tensor() +
                               std::string("q\0", 2) + p_text("v") + std::string("h\0u.", 4);
    const ev::StateDict dict = ev::parse_torch_checkpoint(bytes_of(checkpoint_of(pickle).bytes()));
    EXPECT_EQ(dict.names(), (std::vector<std::string>{"v", "w"}));
}

TEST_F(HostilePickle, AFewTensorsBesideMany) {
    const auto read = [](const std::string& root, const std::string& entry = "") {
        return ev::parse_torch_checkpoint(bytes_of(checkpoint_of(pickle_of(root)).bytes()),
                                          {.entry = entry, .skip_extra_entries = true})
            .size();
    };
    const auto error = [&](const std::string& root) { return message_of([&] { read(root); }); };
    const auto dict = [](int tensors, const std::string& more = "") {
        std::string out = "}(" + more;
        for (int i = 0; i < tensors; ++i) out += p_text("w" + std::to_string(i)) + p_good_tensor();
        return out + "u";
    };
    const std::string model = p_text("model") + dict(16);
    // A loss, or a mean and a deviation beside the model's dict.
    EXPECT_EQ(read(dict(1, model)), 16u);
    EXPECT_EQ(read(p_dict({p_text("weights"), dict(1, model)})), 16u);
    EXPECT_EQ(read(p_dict({model, p_text("criterion"), dict(1)})), 16u);
    EXPECT_EQ(read("](" + dict(1) + dict(16) + "e"), 16u);
    // A state dict with something beside it stays one.
    EXPECT_EQ(read(dict(2, model)), 2u);
    EXPECT_EQ(read(p_dict({p_text("state_dict"), dict(1), model})), 1u);
    // An optimizer's dicts are several; two of alike sizes are to be named, those of a few tensors do not help.
    const std::string optimizer = p_text("optimizer") + p_dict({std::string("K\0", 2) + dict(3), "K\1" + dict(3)});
    EXPECT_EQ(read(p_dict({model, optimizer})), 16u);
    EXPECT_EQ(read(p_dict({p_text("model"), dict(2), optimizer})), 2u);
    EXPECT_NE(
        error(dict(1, model + p_text("ema") + dict(16)))
            .find("tensors are in several of its entries: 'model' (a dict of 16), 'ema' (a dict of 16); name one"),
        std::string::npos);
    EXPECT_NE(error(p_dict({p_text("all"), p_dict({model, p_text("ema"), dict(16)}), p_text("criterion"), dict(1)}))
                  .find("'all.model' (a dict of 16), 'all.ema' (a dict of 16), 'criterion' (a dict of 1)"),
              std::string::npos);
    // What is passed over is named.
    EXPECT_NE(message_of([&] {
                  ev::parse_torch_checkpoint(bytes_of(checkpoint_of(pickle_of(dict(1, model))).bytes()));
              }).find("beside the 16 tensors of its state dict it holds 'w0' (a tensor); {.skip"),
              std::string::npos);
}

TEST_F(HostilePickle, ATupleIsReadAsAList) {
    const auto names = [](const std::string& root, const ev::TorchCheckpointOptions& options) {
        return ev::parse_torch_checkpoint(bytes_of(checkpoint_of(pickle_of(root)).bytes()), options).names();
    };
    const auto state = [](const std::string& name) { return p_dict({p_text(name), p_good_tensor()}); };
    const std::vector<std::string> a{"a"}, b{"b"};
    EXPECT_EQ(names(state("a") + "K\3\x86", {}), a);
    EXPECT_EQ(names("K\3" + state("a") + state("b") + "\x87", {.entry = "2"}), b);
    EXPECT_NE(message_of([&] {
                  names(state("a") + state("b") + "\x86", {});
              }).find("tensors are in several of its entries: '0' (a dict of 1), '1' (a dict of 1)"),
              std::string::npos);
    EXPECT_NE(message_of([&] { names("K\3\x85", {}); }).find("holds a tuple of 1, expected a dict"), std::string::npos);
}

TEST_F(HostilePickle, DeepNestingAndLoops) {
    for (const std::string code : {"(", "]", "}", ")", "N"}) {
        std::string deep = "\x80\x02";
        for (int i = 0; i < 65536; ++i) deep += code;
        expect_pickle_error(deep + ".", 65538, "ends with 65536 values on its stack, expected 1");
        expect_pickle_error(deep + code + ".", 65538, "more than 65536 values wait on its stack");
    }
    expect_error(checkpoint_of(pickle_of("N" + std::string(2'000'000, '\x85'))).bytes(),
                 "holds a tuple of 1, expected a dict");
    // Dicts in dicts, and one in itself.
    std::string deep = "\x80\x02";
    for (int i = 0; i < 30'000; ++i) deep += "}N";
    deep += "}" + std::string(30'000, 's') + ".";
    expect_error(checkpoint_of(deep).bytes(), "no tensors by name in it; it holds None (a dict of 1)");
    const std::string loop = "\x80\x02}" + std::string("q\0", 2) + p_text("state_dict") + std::string("h\0s.", 4);
    expect_error(checkpoint_of(loop).bytes(), "no tensors by name in it; it holds 'state_dict' (a dict of 1)");
}

TEST_F(HostilePickle, CallsThatDoNotFit) {
    const auto no_fit = [](const std::string& name) { return "calls " + name + " with arguments that do not fit it"; };
    expect_value_error(p_global("collections", "OrderedDict") + "N\x85R", no_fit("collections.OrderedDict"));
    expect_value_error(p_global("torch", "FloatStorage") + ")R", no_fit("torch.FloatStorage"));
    expect_value_error(p_global("torch", "float32") + ")R", no_fit("torch.float32"));
    expect_value_error(p_global("torch._utils", "_rebuild_tensor_v2") + "(NNNNNtR",
                       no_fit("torch._utils._rebuild_tensor_v2"));
    expect_value_error(p_global("torch._utils", "_rebuild_tensor_v2") + "(NNNNNNNNtR",
                       no_fit("torch._utils._rebuild_tensor_v2"));
    expect_value_error(p_global("torch._utils", "_rebuild_tensor_v3") + "(NNNNNNtR",
                       no_fit("torch._utils._rebuild_tensor_v3"));
    expect_value_error(p_global("torch._utils", "_rebuild_parameter") + ")R",
                       no_fit("torch._utils._rebuild_parameter"));
    expect_value_error(p_global("torch._utils", "_rebuild_parameter") + "NNN\x87R",
                       no_fit("torch._utils._rebuild_parameter"));
    expect_value_error("N)R", "what is called is None, expected a global");
    expect_value_error(p_text("os.system") + ")R", "what is called is a string, expected a global");
    expect_value_error(p_global("collections", "OrderedDict") + "NR", "the arguments of a call is None");
    expect_value_error(p_good_tensor() + "}b", "what gets attributes is a tensor");
}

TEST_F(HostilePickle, PersistentIdsThatAreNoStorage) {
    expect_value_error("NQ", "a persistent id is None, expected a tuple");
    expect_value_error("(" + p_text("storage") + "tQ", "a storage described by 1 items, expected 5");
    expect_value_error(
        "(" + p_text("module") + p_global("torch", "FloatStorage") + p_text("0") + p_text("cpu") + "K\6tQ",
        "beside the 1 tensors of its state dict it holds 'x' (a persistent id)");
    expect_value_error("(" + p_text("storage") + p_global("torch", "float32") + p_text("0") + p_text("cpu") + "K\6tQ",
                       "a storage of the type torch.float32");
    expect_value_error("(" + p_text("storage") + "N" + p_text("0") + p_text("cpu") + "K\6tQ",
                       "a storage's type is None, expected a global");
    expect_value_error("(" + p_text("storage") + p_global("torch", "FloatStorage") + "N" + p_text("cpu") + "K\6tQ",
                       "a part of a storage is None, expected a string");
    expect_value_error(
        "(" + p_text("storage") + p_global("torch", "FloatStorage") + p_text("0") + p_text("cpu") + "NtQ",
        "a storage's number of elements is None, expected an integer");
}

// ---- Tensors
// -----------------------------------------------------------------------------------------------------------

class HostileTensor : public HostileCheckpoint {
protected:
    void expect_tensor_error(const std::string& tensor, const std::string& sentence) const {
        expect_error(checkpoint_of(pickle_of(p_dict({p_text("w"), tensor}))).bytes(), "tensor 'w': " + sentence);
    }
    static std::string tensor(std::initializer_list<std::int64_t> shape, std::initializer_list<std::int64_t> strides,
                              std::int64_t offset = 0) {
        return p_tensor(p_storage("0", 6), offset, p_tuple(shape), p_tuple(strides));
    }
};

TEST_F(HostileTensor, StorageMissingOrOfAnotherSize) {
    expect_tensor_error(p_tensor(p_storage("1", 6), 0, p_tuple({6}), p_tuple({1})),
                        "its storage '1' is not in the archive");
    expect_tensor_error(p_tensor(p_storage("../version", 6), 0, p_tuple({6}), p_tuple({1})),
                        "its storage '../version' is not in the archive");
    expect_tensor_error(p_tensor(p_storage(std::string(1000, '0'), 6), 0, p_tuple({6}), p_tuple({1})),
                        "its storage '" + std::string(300, '0') + "... (1000 bytes)' is not in the archive");
    for (const std::int64_t count : {std::int64_t{5}, std::int64_t{7}, std::int64_t{-6}, std::int64_t{1} << 62}) {
        expect_tensor_error(p_tensor(p_storage("0", count), 0, p_tuple({5}), p_tuple({1})),
                            "its storage '0' has 24 bytes, expected " + std::to_string(count) + " elements of 4");
    }
    expect_tensor_error(p_tensor(p_storage("0", 6, "DoubleStorage"), 0, p_tuple({5}), p_tuple({1})),
                        "its storage '0' has 24 bytes, expected 6 elements of 8");
    expect_tensor_error(p_tensor("N", 0, p_tuple({5}), p_tuple({1})), "found None, expected a storage");
}

TEST_F(HostileTensor, OutOfItsStorage) {
    const auto beyond = [](const std::string& shape, const std::string& strides, const std::string& offset) {
        return "shape " + shape + " with strides " + strides + " from element " + offset +
               " on reaches beyond its storage of 6 elements";
    };
    expect_tensor_error(tensor({7}, {1}), beyond("[7]", "[1]", "0"));
    expect_tensor_error(tensor({6}, {1}, 1), beyond("[6]", "[1]", "1"));
    expect_tensor_error(tensor({1}, {1}, 6), beyond("[1]", "[1]", "6"));
    expect_tensor_error(tensor({}, {}, 6), beyond("[]", "[]", "6"));
    expect_tensor_error(tensor({2, 3}, {4, 1}), beyond("[2, 3]", "[4, 1]", "0"));
    expect_tensor_error(tensor({2}, {6}), beyond("[2]", "[6]", "0"));
    const std::int64_t most = std::numeric_limits<std::int64_t>::max();
    const std::string text = std::to_string(most);
    expect_tensor_error(tensor({3}, {most}), beyond("[3]", "[" + text + "]", "0"));
    expect_tensor_error(tensor({3, 3}, {most, most}), beyond("[3, 3]", "[" + text + ", " + text + "]", "0"));
    expect_tensor_error(tensor({2}, {1}, most), beyond("[2]", "[1]", text));
}

TEST_F(HostileTensor, AtTheLastElementAndWithoutAny) {
    const auto read = [](const std::string& tensor) {
        const std::string content = checkpoint_of(pickle_of(p_dict({p_text("w"), tensor}))).bytes();
        return ev::to_float(ev::parse_torch_checkpoint(bytes_of(content)).at("w"));
    };
    EXPECT_EQ(read(tensor({}, {}, 5)), std::vector<float>{5});
    EXPECT_EQ(read(tensor({2}, {5})), (std::vector<float>{0, 5}));
    EXPECT_EQ(read(tensor({2, 2}, {0, 3}, 2)), (std::vector<float>{2, 5, 2, 5}));
    EXPECT_EQ(read(tensor({1, 6}, {999, 1})), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_TRUE(read(tensor({0, 3}, {3, 1})).empty());
    EXPECT_TRUE(read(tensor({3, 0}, {7, 9}, 1 << 30)).empty());
}

TEST_F(HostileTensor, ShapesThatAreNone) {
    expect_tensor_error(tensor({-1}, {1}), "shape: found -1, expected integers >= 0");
    expect_tensor_error(tensor({2, 3}, {-3, 1}), "strides: found -3, expected integers >= 0");
    expect_tensor_error(tensor({2, 3}, {1}), "1 strides for the shape [2, 3]");
    expect_tensor_error(tensor({2}, {1}, -1), "its storage offset is not an integer >= 0");
    expect_tensor_error(p_tensor(p_storage("0", 6), 0, "N", p_tuple({1})), "shape: found None, expected a tuple");
    expect_tensor_error(p_tensor(p_storage("0", 6), 0, "N\x85", p_tuple({1})),
                        "shape: found None, expected integers >= 0");
    expect_tensor_error(p_tensor(p_storage("0", 6), 0, "G12345678\x85", p_tuple({1})),
                        "shape: found a number, expected integers >= 0");
    const std::int64_t large = std::int64_t{1} << 32;
    expect_tensor_error(tensor({large, large}, {0, 0}),
                        "overflow: shape [4294967296, 4294967296] has more elements than can be counted");
    expect_tensor_error(tensor({large, large, 0}, {0, 0, 0}),
                        "overflow: shape [4294967296, 4294967296, 0] has more elements than can be counted");
    std::string many = "(";
    for (int i = 0; i < 65; ++i) many += "K\1";
    many += "t";
    expect_tensor_error(p_tensor(p_storage("0", 6), 0, many, many), "more than 64 dimensions");
}

TEST_F(HostileTensor, WhatIsNotStoredAsItIs) {
    const std::string shape = p_tuple({6});
    const std::string stride = p_tuple({1});
    const std::string conjugated = p_dict({p_text("conj"), "\x88"});
    expect_tensor_error(p_tensor(p_storage("0", 6), 0, shape, stride, conjugated),
                        "it has metadata, a dict of 1, expected an empty dict");
    const std::string content =
        checkpoint_of(pickle_of(p_dict({p_text("w"), p_tensor(p_storage("0", 6), 0, shape, stride, "}")}))).bytes();
    EXPECT_EQ(ev::parse_torch_checkpoint(bytes_of(content)).size(), 1u);
}

TEST_F(HostileTensor, UntypedStorages) {
    const auto untyped = [](const std::string& dtype, std::int64_t bytes, std::int64_t extent) {
        const std::string storage = "(" + p_text("storage") + p_global("torch.storage", "UntypedStorage") +
                                    p_text("0") + p_text("cpu") + p_int(bytes) + "tQ";
        return p_global("torch._utils", "_rebuild_tensor_v3") + "(" + storage + p_int(0) + p_tuple({extent}) +
               p_tuple({1}) + "\x89" + p_ordered_dict() + dtype + "tR";
    };
    const std::string f32 = p_global("torch", "float32");
    const std::string content = checkpoint_of(pickle_of(p_dict({p_text("w"), untyped(f32, 24, 6)}))).bytes();
    EXPECT_EQ(ev::to_float(ev::parse_torch_checkpoint(bytes_of(content)).at("w")),
              (std::vector<float>{0, 1, 2, 3, 4, 5}));
    expect_tensor_error(untyped(f32, 24, 7),
                        "shape [7] with strides [1] from element 0 on reaches beyond its storage of 6 elements");
    expect_tensor_error(untyped(f32, 6, 6), "its storage '0' has 24 bytes, expected 6 elements of 1");
    expect_tensor_error(untyped("N", 24, 6), "dtype: found None, expected one of torch's");
    expect_tensor_error(untyped(p_global("torch", "FloatStorage"), 24, 6),
                        "dtype: found a global, expected one of torch's");
    const std::string v2 = p_tensor("(" + p_text("storage") + p_global("torch.storage", "UntypedStorage") +
                                        p_text("0") + p_text("cpu") + p_int(24) + "tQ",
                                    0, p_tuple({6}), p_tuple({1}));
    expect_tensor_error(v2, "its storage's type is torch.storage.UntypedStorage");
}

TEST_F(HostileTensor, MuchMadeOfLittle) {
    // A stride of 0, and a storage that many tensors lay out again.
    const std::string sentence =
        "and those before it takes more than 1048576 bytes, 4 times the file; in Python save tensor.contiguous()";
    expect_tensor_error(tensor({1'000'000'000}, {0}), "to lay out its shape [1000000000] " + sentence);
    std::string pieces;
    for (int i = 0; i < 3; ++i) pieces += p_text("w" + std::to_string(i)) + tensor({100'000, 1}, {0, 1});
    expect_error(checkpoint_of("\x80\x02}(" + pieces + "u.").bytes(),
                 "tensor 'w2': to lay out its shape [100000, 1] " + sentence);
}

TEST_F(HostileTensor, NamesThatDoNotFit) {
    const auto dict_of = [](const std::string& items) { return checkpoint_of("\x80\x02}(" + items + "u.").bytes(); };
    expect_error(dict_of(p_text("w") + p_good_tensor() + p_text("w") + p_good_tensor()), "tensor 'w' is there twice");
    expect_error(dict_of(p_text("w") + p_good_tensor() + "K\5" + p_good_tensor()),
                 "beside the 1 tensors of its state dict it holds 5 (a tensor); {.skip_extra_entries = true} "
                 "passes them over, {.entry = \"...\"} reads one of them");
    std::string many = p_text("w") + p_good_tensor() + std::string("q\0", 2);
    for (int i = 0; i < 1000; ++i)
        many += "X" + le(3, 4) + std::to_string(100 + i).substr(0, 3) + std::string("h\0", 2);
    const std::string content = dict_of(many);
    EXPECT_NE(message_of([&] {
                  ev::parse_torch_checkpoint(bytes_of(content));
              }).find("there are more names than a pickle of "),
              std::string::npos);
    std::string extras = p_text("w") + p_good_tensor();
    for (int i = 0; i < 30; ++i) extras += p_text("\x1b" + std::to_string(i)) + "N";
    EXPECT_NE(message_of([&] {
                  ev::parse_torch_checkpoint(bytes_of(dict_of(extras)));
              }).find("'\\x1b19' (None) and 10 more; {.skip"),
              std::string::npos);
}

TEST_F(HostilePickle, WithoutAnArchive) {
    const std::string old = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    for (const std::string& pickle :
         {std::string("\x80\x02}."), std::string("\x80\x04\x95\x12"), "\x80\x02" + std::string(40, '}') + old}) {
        expect_error(pickle,
                     "a pickle that torch.save did not write; convert it in Python: "
                     "torch.save(pickle.load(open(path, \"rb\")), path)");
    }
}

TEST_F(HostileTensor, RootsThatHoldNone) {
    expect_error(checkpoint_of(pickle_of(p_good_tensor())).bytes(), "holds a tensor, expected a dict");
    expect_error(checkpoint_of(pickle_of("N")).bytes(), "holds None, expected a dict");
    expect_error(
        checkpoint_of(pickle_of(p_global("timm", "Net") + ")\x81")).bytes(),
        "holds an object of timm.Net, expected a dict: in Python save the state_dict() of a model, or dict() of "
        "what is like a dict");
    EXPECT_TRUE(ev::parse_torch_checkpoint(bytes_of(checkpoint_of(pickle_of("]")).bytes())).empty());
    EXPECT_TRUE(ev::parse_torch_checkpoint(bytes_of(checkpoint_of(pickle_of("}")).bytes())).empty());
    expect_error(checkpoint_of(pickle_of(p_dict({p_text("model"), p_dict({p_text("w"), "N"})}))).bytes(),
                 "no tensors by name in it; it holds 'model' (a dict of 1)");
}

}  // namespace
