// SPDX-License-Identifier: Apache-2.0
//
// load_weights.hpp: what a file is, its first bytes say, not its name; several files under one index; files that are no
// weights, called what they are.
#include <efficientvit/weights/load_weights.hpp>

#include "safetensors_files.hpp"
#include "torch_files.hpp"

namespace {

class LoadWeights : public InDirectory {
protected:
    std::string error(const std::string& content, const fs::path& name = "file") const {
        const fs::path path = write(content, name);
        const std::string message = message_of([&] { ev::load_weights(path); });
        EXPECT_EQ(message.substr(0, path.string().size() + 2), path.string() + ": ");
        return message.substr(path.string().size() + 2);
    }
};

std::string checkpoint() { return checkpoint_of(pickle_of(p_dict({p_text("w"), p_good_tensor()}))).bytes(); }

/// A tensor of one float.
std::string shard(const std::string& name, const std::string& dtype = "F32") {
    return file_with("{" + tensor(name, dtype, "[1]", "0", "4") + "}", std::string(4, '\0'));
}

TEST_F(LoadWeights, ByFirstBytesWhateverTheName) {
    for (const std::string name : {"model_best.pth.tar", "last.ckpt", "MODEL.PT", "m.BIN", "m.pkl", "m.tar", "m.torch",
                                   "weights", "m.safetensors", "m.SAFETENSORS", ".hidden"}) {
        EXPECT_EQ(ev::load_weights(write(checkpoint(), name)).names(), std::vector<std::string>{"w"}) << name;
        EXPECT_TRUE(ev::is_torch_checkpoint(directory_ / name));
        expect_good(ev::load_weights(write(good, name)));
        EXPECT_FALSE(ev::is_torch_checkpoint(directory_ / name));
        EXPECT_EQ(ev::parse_weights(bytes_of(checkpoint()), name).names(), std::vector<std::string>{"w"});
        expect_good(ev::parse_weights(bytes_of(good), name));
    }
}

TEST_F(LoadWeights, OptionsReachTheCheckpoint) {
    const fs::path path = write(
        checkpoint_of(pickle_of(p_dict({p_text("a"), p_dict({p_text("w"), p_good_tensor()}), p_text("x"), "K\1"})))
            .bytes());
    EXPECT_EQ(ev::load_weights(path, {.entry = "a"}).size(), 1u);
    EXPECT_EQ(ev::load_weights(path, {.skip_extra_entries = true}).size(), 1u);
    EXPECT_NE(message_of([&] { ev::load_weights(path); }).find("it holds 'x' (an integer)"), std::string::npos);
}

TEST_F(LoadWeights, SafetensorsHaveNoEntries) {
    const std::string sentence =
        ": safetensors have no entry 'ema', only PyTorch's checkpoints do; names below a prefix are for "
        "LoadOptions::prefix";
    const fs::path path = write(good);
    EXPECT_EQ(message_of([&] { ev::load_weights(path, {.entry = "ema"}); }), path.string() + sentence);
    EXPECT_EQ(message_of([&] { ev::parse_weights(bytes_of(good), "x", {.entry = "ema"}); }), "x" + sentence);
    EXPECT_EQ(message_of([&] { ev::parse_weights_borrowed(bytes_of(good), "x", {.entry = "ema"}); }), "x" + sentence);
}

TEST_F(LoadWeights, OtherFilesAreCalledWhatTheyAre) {
    const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    const std::string page = "\xef\xbb\xbf\r\n <!DOCTYPE html><html><head></head></html>";
    std::string tar(1024, '\0');
    tar.replace(0, 8, "data.pkl").replace(257, 5, "ustar");
    for (const std::string name : {"a.pt", "a.safetensors"}) {
        EXPECT_TRUE(error(pointer, name).starts_with("a Git LFS pointer, not the weights themselves"));
        EXPECT_TRUE(error(page, name).starts_with("a web page, not weights"));
        EXPECT_TRUE(error("<HTML>", name).starts_with("a web page, not weights"));
        EXPECT_TRUE(error(tar, name).starts_with("a tar archive, expected the zip archive"));
        EXPECT_TRUE(error("\x1f\x8b\x08", name).starts_with("a compressed file, not weights"));
        EXPECT_TRUE(error("\x80\2}q", name).starts_with("a pickle that torch.save did not write"));
    }
    for (const std::string& content : {pointer, page, tar}) {
        const fs::path path = write(content);
        const std::string message = message_of([&] { ev::load_weights(path); });
        EXPECT_EQ(message_of([&] { ev::load_safetensors(path); }), message);
        EXPECT_EQ(message_of([&] { ev::load_torch_checkpoint(path); }), message);
        EXPECT_EQ(message_of([&] { ev::is_torch_checkpoint(path); }), message);
    }
    EXPECT_TRUE(error("").starts_with("too small for safetensors"));
    EXPECT_TRUE(error("some text that is long enough").starts_with("not safetensors"));
    EXPECT_TRUE(error("{\"a\": 1}").starts_with("JSON without \"weight_map\""));
    EXPECT_TRUE(error("{ not JSON").starts_with("not valid JSON"));
}

TEST_F(LoadWeights, AnIndexLoadsItsShards) {
    write(shard("a"), "m-1.safetensors");
    write(shard("b"), "m-2.safetensors");
    write(shard("odd", "U32"), "m-3.safetensors");
    write(checkpoint(), "m-4.bin");
    const std::string begin = "{\"metadata\": {\"total_size\": 8}, \"weight_map\": {\"a\": \"m-1.safetensors\", ";
    const auto index = [&](const std::string& more) {
        return write(begin + more + "}}", "model.safetensors.index.json");
    };
    const fs::path good_index = index("\"b\": \"m-2.safetensors\", \"odd\": \"m-3.safetensors\"");
    for (const ev::StateDict& dict : {ev::load_weights(good_index), ev::load_safetensors(good_index)}) {
        EXPECT_EQ(dict.names(), (std::vector<std::string>{"a", "b"}));
        EXPECT_EQ(dict.unreadable().size(), 1u);
        EXPECT_EQ(dict.source(), good_index.string());
    }
    EXPECT_EQ(ev::load_weights(index("\"w\": \"m-4.bin\"")).names(), (std::vector<std::string>{"a", "w"}));
    const auto error_of = [&](const std::string& more) {
        const fs::path path = index(more);
        return message_of([&] { ev::load_weights(path); });
    };
    EXPECT_NE(error_of("\"b\": \"m-9.safetensors\"")
                  .find("index.json: tensor 'b' should be in the file 'm-9.safetensors' beside it, which is missing; 1 "
                        "tensors are there"),
              std::string::npos);
    EXPECT_NE(error_of("\"b\": \"m-1.safetensors\"")
                  .find("tensor 'b' should be in the file 'm-1.safetensors', which has none of that name"),
              std::string::npos);
    for (const std::string name : {"../m-1.safetensors", "/m-1.safetensors", "..", "", "d\\\\m"}) {
        EXPECT_NE(error_of("\"b\": \"" + name + "\"").find("expected the name of a file beside the index"),
                  std::string::npos);
    }
    EXPECT_NE(error_of("\"b\": 1").find("is in no file's name"), std::string::npos);
    EXPECT_NE(error_of("\"b\": \"model.safetensors.index.json\""), "") << "an index in itself ends";
    write(shard("a"), "m-5.safetensors");
    EXPECT_NE(error_of("\"b\": \"m-2.safetensors\", \"a2\": \"m-5.safetensors\""), "");
}

}  // namespace
