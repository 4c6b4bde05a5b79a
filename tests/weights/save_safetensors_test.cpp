// SPDX-License-Identifier: Apache-2.0
//
// save_safetensors.hpp: what it writes can be read again, and a failure leaves everything as it was.
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include "safetensors_files.hpp"

#include <iterator>

#if !defined(_WIN32)
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>
#endif

namespace {

class SaveSafetensors : public InDirectory {
protected:
    std::ptrdiff_t files() const { return std::distance(fs::directory_iterator(directory_), fs::directory_iterator()); }
    static ev::StateDict one(float value = 1) {
        ev::StateDict dict;
        dict.insert("x", {1}, {value});
        return dict;
    }
    static float value_in(const fs::path& path) { return ev::to_float(ev::load_safetensors(path).at("x")).at(0); }
};

TEST_F(SaveSafetensors, WritesWhatReadingGivesBack) {
    ev::StateDict dict;
    const std::vector<std::byte> raw{std::byte{1}, std::byte{2}, std::byte{3}};
    dict.insert("u8", ev::DType::u8, {3}, raw, nullptr);
    dict.insert("bool", ev::DType::boolean, {1, 1}, std::span(raw).first(1), nullptr);
    dict.insert("f16", ev::DType::f16, {}, std::span(raw).first(2), nullptr);
    dict.insert("odd \" \\ \n \xc3\xa4 \x01", {2, 2}, {1, 2, 3, 4});
    dict.insert("large", {300, 301}, std::vector<float>(300 * 301, 0.5f));  // several pieces
    dict.insert("none", {0}, {});
    dict.metadata()["k \""] = "v\t";
    const fs::path path = directory_ / "new.safetensors";
    ev::save_safetensors(path, dict);
    const ev::StateDict back = ev::load_safetensors(path);
    EXPECT_EQ(back.names(), dict.names());
    EXPECT_EQ(back.metadata(), dict.metadata());
    for (const auto& [name, entry] : dict) {
        EXPECT_EQ(back.at(name).shape, entry.shape);
        EXPECT_EQ(back.at(name).dtype, entry.dtype);
        EXPECT_EQ(ev::to_float(back.at(name)), ev::to_float(entry));
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(back.at(name).data.data()) % ev::dtype_size(entry.dtype), 0u)
            << name;
    }
    // In memory the same bytes.
    std::ifstream file(path, std::ios::binary);
    const std::string written{std::istreambuf_iterator<char>(file), {}};
    const std::vector<std::byte> bytes = ev::serialize_safetensors(dict);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), written);
    file.close();

    // Over an existing file, from that very file.
#if defined(_WIN32)
    EXPECT_NE(message_of([&] { ev::save_safetensors(path, back); }).find("cannot be replaced"), std::string::npos);
#else
    ev::save_safetensors(path, back);
#endif
    EXPECT_EQ(ev::load_safetensors(path).names(), dict.names());
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1)
        << "no temporary file is left";
}

TEST_F(SaveSafetensors, InAFolderOfANameThatIsNotAscii) {
    const fs::path folder = directory_ / fs::path(u8"Gr\u00f6\u00df_\u4e16\U0001f600");
    fs::create_directories(folder);
    const fs::path path = folder / fs::path(u8"\u0436.safetensors");
    ev::StateDict dict;
    dict.insert("x", {1}, {5});
    ev::save_safetensors(path, dict);
    ev::save_safetensors(path, dict);  // in place of the first
    EXPECT_EQ(ev::to_float(ev::load_safetensors(path).at("x")), std::vector<float>{5});
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);

    // Messages are UTF-8, whatever the system's own paths are.
    const std::string folder_name = "Gr\xc3\xb6\xc3\x9f_\xe4\xb8\x96\xf0\x9f\x98\x80";
    EXPECT_EQ(ev::load_safetensors(path).source().substr(directory_.u8string().size() + 1, folder_name.size()),
              folder_name);
    EXPECT_NE(message_of([&] { ev::load_safetensors(folder / "none"); }).find(folder_name), std::string::npos);
    EXPECT_NE(message_of([&] { ev::save_safetensors(folder / "none" / "x", dict); }).find(folder_name),
              std::string::npos);
}

TEST_F(SaveSafetensors, WritesAnEmptyDict) {
    ev::save_safetensors(directory_ / "x", {});
    EXPECT_TRUE(ev::load_safetensors(directory_ / "x").empty());
}

TEST_F(SaveSafetensors, LeavesNothingBehindOnFailure) {
    ev::StateDict dict;
    dict.insert("x", {1000}, std::vector<float>(1000, 1.0f));
    EXPECT_NE(message_of([&] { ev::save_safetensors(directory_ / "none" / "x", dict); }).find("cannot be created"),
              std::string::npos);

    fs::create_directories(directory_ / "taken" / "inside");
    EXPECT_NE(message_of([&] { ev::save_safetensors(directory_ / "taken", dict); }).find("cannot be replaced"),
              std::string::npos);

    ev::StateDict bad;
    bad.insert("\xff", {1}, {1.0f});
    EXPECT_EQ(message_of([&] { ev::save_safetensors(directory_ / "bad", bad); }), "'\\xff' is not UTF-8");
    ev::StateDict reserved;
    reserved.insert("__metadata__", {1}, {1.0f});
    EXPECT_THROW(ev::save_safetensors(directory_ / "bad", reserved), ev::WeightsError);

#if !defined(_WIN32)
    // A disk that is full in the middle: the old file stays as it was.
    const fs::path path = write(good);
    ev::StateDict large;
    large.insert("x", {100000}, std::vector<float>(100000, 1.0f));
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit limit = before;
    limit.rlim_cur = 10000;
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    const std::string message = message_of([&] { ev::save_safetensors(path, large); });
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);
    EXPECT_NE(message.find("cannot be written"), std::string::npos) << message;
    expect_good(ev::load_safetensors(path));
    fs::remove(path);
#endif
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1) << "only 'taken'";
}

TEST_F(SaveSafetensors, APathWithANulInItIsNoOther) {
    const fs::path path = directory_ / std::string("target\0.safetensors", 19);
    expect_in("target\\x00.safetensors: a path cannot hold a NUL",
              message_of([&] { ev::save_safetensors(path, one()); }));
    EXPECT_EQ(files(), 0);
    ev::save_safetensors(directory_ / "target", one());
    expect_in("target\\x00.safetensors: a path cannot hold a NUL", message_of([&] { ev::load_safetensors(path); }));
}

#if !defined(_WIN32)

TEST_F(SaveSafetensors, TakesTheLongestName) {
    const fs::path path = directory_ / std::string(255, 'n');
    ev::save_safetensors(path, one(1));
    ev::save_safetensors(path, one(2));
    EXPECT_EQ(value_in(path), 2);
    EXPECT_EQ(files(), 1);
    expect_in("cannot be", message_of([&] { ev::save_safetensors(path.string() + "n", one()); }));
    EXPECT_EQ(files(), 1);
}

TEST_F(SaveSafetensors, PutsNoFileInThePlaceOfAPipe) {
    const fs::path pipe = directory_ / "pipe", link = directory_ / "link";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    fs::create_symlink("pipe", link);
    for (const fs::path& path : {pipe, link}) {
        EXPECT_EQ(message_of([&] { ev::save_safetensors(path, one()); }),
                  path.string() + ": cannot be replaced: not a regular file");
    }
    EXPECT_TRUE(fs::is_fifo(fs::symlink_status(pipe)));
    EXPECT_TRUE(fs::is_symlink(link));
    EXPECT_EQ(files(), 2);
}

TEST_F(SaveSafetensors, ReplacesWhatALinkLeadsTo) {
    fs::create_directories(directory_ / "real");
    fs::create_directories(directory_ / "links");
    const fs::path real = directory_ / "real" / "x", first = directory_ / "first", second = directory_ / "links" / "x";
    ev::save_safetensors(real, one(1));
    fs::create_symlink("../real/x", second);  // relative to the link's folder
    fs::create_symlink(second, first);
    ev::save_safetensors(first, one(2));
    EXPECT_EQ(value_in(real), 2);
    // Where it leads to nothing, that is made.
    fs::remove(real);
    ev::save_safetensors(first, one(3));
    EXPECT_EQ(value_in(real), 3);
    EXPECT_TRUE(fs::is_symlink(first) && fs::is_symlink(second) && !fs::is_symlink(real));
    // A folder that is not there is not made.
    fs::remove_all(directory_ / "real");
    expect_in("cannot be created", message_of([&] { ev::save_safetensors(first, one()); }));
    fs::create_symlink("circle", directory_ / "circle");
    expect_in("circle: cannot be replaced", message_of([&] { ev::save_safetensors(directory_ / "circle", one()); }));
    EXPECT_EQ(files(), 3) << "first, links and circle";
}

TEST_F(SaveSafetensors, KeepsTheFilesPermissions) {
    const fs::path path = directory_ / "x";
    const mode_t before = ::umask(022);
    ev::save_safetensors(path, one());
    EXPECT_EQ(static_cast<unsigned>(fs::status(path).permissions()), 0644u);
    for (const unsigned mode : {0600u, 0666u, 0440u, 0755u}) {
        fs::permissions(path, static_cast<fs::perms>(mode));
        ev::save_safetensors(path, one());
        EXPECT_EQ(static_cast<unsigned>(fs::status(path).permissions()), mode);
    }
    ::umask(before);
    if (::geteuid() != 0) return;
    ASSERT_EQ(::chown(path.c_str(), 12345, 23456), 0);
    ev::save_safetensors(path, one());
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 12345u) << "who could write it can still do so";
    EXPECT_EQ(status.st_gid, 23456u);
}

#endif

#if !defined(_WIN32)  // Windows refuses to shorten a mapped file

TEST_F(SaveSafetensors, LeavesNothingBehindWhenItsSourceIsCutShort) {
    const fs::path path =
        write(file_with("{" + tensor("x", "F32", "[100000]", "0", "400000") + "}", std::string(400000, '\0')));
    const ev::StateDict dict = ev::load_safetensors(path);
    fs::resize_file(path, 200000);
    EXPECT_NE(message_of([&] { ev::save_safetensors(directory_ / "copy", dict); }).find("cut short while being read"),
              std::string::npos);
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
}

#endif

}  // namespace
