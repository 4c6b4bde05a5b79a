// SPDX-License-Identifier: Apache-2.0
//
// Features of many pictures as files for Python: SAM's image embeddings, a stage of a backbone, or what the last layer
// of a classifier reads. What is done already is not done again. One file a picture or, with --shard N, one for N
// pictures and an index; those can be made by many processes (ranks.hpp): `mpirun embed_mpi --shard 64 …`.
#include <efficientvit/images/codec.hpp>
#include <efficientvit/weights/safetensors.hpp>
#include <efficientvit/weights/save_npy.hpp>
#include <efficientvit/weights/save_safetensors.hpp>

#include <chrono>
#include <map>
#include <sstream>
#include <thread>

#include "../common/command_line.hpp"
#include "../common/output_folder.hpp"
#include "../common/progress.hpp"
#include "embedder.hpp"
#include "ranks.hpp"
#include "shards.hpp"

namespace {

namespace ev = efficientvit;
namespace fs = std::filesystem;
using examples::Embedder;
using examples::Metadata;
using examples::Ranks;
using examples::Source;
using Bytes = std::vector<std::byte>;

/// The pictures of the command line and of --list.
std::vector<fs::path> pictures_of(const cxxopts::ParseResult& arguments) {
    if (arguments.count("list") == 0) return examples::images_of(arguments);
    std::vector<std::string> wrong;  // said of each when its turn comes: the list has others
    std::vector<fs::path> pictures = examples::images_of(arguments, wrong);
    const std::string list = arguments["list"].as<std::string>();
    for (const std::string& line : examples::text_lines(list)) {
        if (!line.empty()) pictures.emplace_back(line);
    }
    if (pictures.empty()) throw std::runtime_error(list + ": names no pictures");
    return pictures;
}

/// NAME.npy and NAME.safetensors for each picture; beside NAME.npy alone NAME.npy.txt, which says of what it is.
int one_by_one(const cxxopts::ParseResult& arguments, Embedder& embedder, const std::vector<fs::path>& paths) {
    const std::string format = arguments["format"].as<std::string>();
    if (format != "both" && format != "safetensors" && format != "npy") {
        throw examples::UsageError("--format must be safetensors, npy or both, not '" + format + "'");
    }
    const bool overwrite = arguments.count("overwrite") != 0;
    const examples::OutputFolder folder(arguments["output"].as<std::string>(), paths);
    // What the files of a picture say of themselves, as it was when the run began.
    std::map<fs::path, Metadata> about;
    const auto is_done = [&](const fs::path& path) {
        const fs::path npy = folder.file(path, ".npy"), note = folder.file(path, ".npy.txt");
        if (format == "npy") return examples::is_done(npy, note, about.at(path));
        return examples::is_done(folder.file(path, ".safetensors"), about.at(path)) &&
               (format == "safetensors" || fs::exists(npy));
    };
    std::size_t done = 0, skipped = 0;
    // What is there already does not have to be read and decoded.
    std::vector<fs::path> left;
    for (const fs::path& path : paths) {
        Metadata& of = about[path] = embedder.about();
        of["image"] = examples::one_line(examples::path_bytes(path.filename()));
        of["image_path"] = examples::one_line(examples::path_bytes(path));
        of["image_stamp"] = examples::stamp_of(path);
        if (!overwrite && is_done(path)) {
            ++skipped;
        } else {
            left.push_back(path);
        }
    }

    const int status =
        examples::for_each_image("embed", left, [&](const fs::path& path, const ev::Image& image, examples::Progress&) {
            const ev::Tensor& features = embedder(image);
            // The NumPy file first: a picture is done when its safetensors file, which says of what, is there.
            if (format != "safetensors") ev::save_npy(folder.file(path, ".npy"), features);
            if (format == "npy") examples::save_note(folder.file(path, ".npy.txt"), about.at(path));
            if (format != "npy") {
                ev::StateDict file;
                file.insert(
                    embedder.output(),
                    {features.dimension(0), features.dimension(1), features.dimension(2), features.dimension(3)},
                    std::vector<float>(features.data(), features.data() + features.size()));
                file.metadata() = about.at(path);
                file.metadata()["image_height"] = std::to_string(image.height());
                file.metadata()["image_width"] = std::to_string(image.width());
                ev::save_safetensors(folder.file(path, ".safetensors"), file);
            }
            ++done;
        });
    std::cout << done << " embedded, " << skipped << " there already, in "
              << examples::shown(arguments["output"].as<std::string>()) << '\n';
    return status;
}

std::size_t pictures_a_shard(const cxxopts::ParseResult& arguments) {
    const int count = arguments["shard"].as<int>();
    if (count < 1) throw examples::UsageError("--shard must be 1 or more");
    return static_cast<std::size_t>(count);
}

/// What rank 0 tells the others: what the weights are, the shards to do, then each picture and its stamp. What ends
/// with a NUL can hold all that names can.
Bytes to_bytes(const std::string& contents, const std::vector<std::size_t>& left, const std::vector<Source>& pictures) {
    std::string text = contents + '\0';
    for (const std::size_t shard : left) text += std::to_string(shard) + ' ';
    text += '\0';
    for (const Source& picture : pictures) {
        text += examples::path_bytes(picture.path) + '\0';
        text += picture.stamp + '\0';
    }
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}
void from_bytes(const Bytes& bytes, std::string& contents, std::vector<std::size_t>& left,
                std::vector<Source>& pictures) {
    std::istringstream text(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    std::string part;
    std::getline(text, contents, '\0');
    std::getline(text, part, '\0');
    std::istringstream numbers(part);
    for (std::size_t shard = 0; numbers >> shard;) left.push_back(shard);
    while (std::getline(text, part, '\0')) {
        Source picture{examples::path_from_bytes(part), {}};
        std::getline(text, picture.stamp, '\0');
        pictures.push_back(std::move(picture));
    }
}

/// The shards in `left`, as many as this rank comes to do.
void fill_shards(const examples::ShardPlan& plan, const std::vector<std::size_t>& left, Embedder& embedder,
                 Ranks& ranks, bool show_progress) {
    std::size_t count = 0;
    for (const std::size_t shard : left) count += plan.end(shard) - plan.begin(shard);
    examples::Progress progress(ranks.rank() == 0 ? count : 0, show_progress);
    examples::PictureLog log("embed", count, progress);
    const auto finish = [&](int pictures) {
        const auto done = static_cast<std::size_t>(ranks.finish(pictures));
        if (ranks.rank() == 0) progress.to(done);
        return done;
    };
    for (std::int64_t next = 0; (next = ranks.claim()) < static_cast<std::int64_t>(left.size());) {
        const std::size_t number = left[static_cast<std::size_t>(next)];
        examples::Shard shard;
        for (std::size_t i = plan.begin(number); i < plan.end(number); ++i) {
            log.attempt(plan.pictures()[i].path,
                        [&](const ev::Image& image) { shard.add(i, image.size(), embedder(image)); });
            finish(1);
        }
        std::move(shard).save(plan.path(number), embedder.output(), plan.about(number));
    }
    while (ranks.rank() == 0 && finish(0) < count) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ranks.meet();  // the last shards are on disk
}

/// shard-00000000.safetensors, … and index.csv. Rank 0 plans, all fill, rank 0 writes the index. `work` is what rank 0
/// has said to the others; rank 0 says it here.
int sharded(const cxxopts::ParseResult& arguments, Ranks& ranks, Bytes& work) {
    const fs::path folder = arguments["output"].as<std::string>();
    const bool first = ranks.rank() == 0;
    std::vector<std::size_t> left;
    std::vector<Source> pictures;
    std::string contents;
    Bytes weights;
    std::unique_ptr<Embedder> embedder;
    if (first) {
        // All that can be wrong is found before the others begin.
        pictures = examples::sources_of(pictures_of(arguments));
        const ev::StateDict read = examples::read_weights(arguments);
        contents = examples::contents_of(read);
        embedder = std::make_unique<Embedder>(arguments, read, contents, ranks.size_here());
        // One file, whatever they were read from: the others may not see it, nor the parts of an index.
        if (ranks.size() > 1) weights = ev::serialize_safetensors(read);
        const examples::OutputFolder made(folder, {});
        const examples::ShardPlan plan(folder, pictures, pictures_a_shard(arguments), embedder->about());
        plan.remove_leftovers();
        for (std::size_t shard = 0; shard < plan.shards(); ++shard) {
            if (arguments.count("overwrite") != 0 || !plan.is_done(shard)) left.push_back(shard);
        }
        work = to_bytes(contents, left, pictures);
        ranks.broadcast(work);
    } else {
        from_bytes(work, contents, left, pictures);
    }
    try {
        ranks.broadcast(weights);
        if (!first) {
            const ev::StateDict parsed = ev::parse_safetensors(weights, examples::weights_of(arguments).string());
            embedder = std::make_unique<Embedder>(arguments, parsed, contents, ranks.size_here());
        }
        weights = {};
        const examples::ShardPlan plan(folder, pictures, pictures_a_shard(arguments), embedder->about());
        fill_shards(plan, left, *embedder, ranks, arguments.count("progress") != 0);
        if (!first) return EXIT_SUCCESS;

        const std::size_t unreadable = plan.write_index();
        std::cout << left.size() << " shards written, " << plan.shards() - left.size() << " there already, in "
                  << examples::shown(folder) << '\n';
        if (unreadable == 0) return EXIT_SUCCESS;
        std::cerr << "embed: " << unreadable << " of " << pictures.size() << " pictures could not be read\n";
        return EXIT_FAILURE;
    } catch (const std::exception& error) {
        if (ranks.size() == 1) throw;
        // The others wait for this one.
        std::cerr << "embed, rank " << ranks.rank() << ": " << examples::reason(error) << std::endl;
        ranks.abort();
    }
}

int embed(const cxxopts::ParseResult& arguments, Ranks& ranks, Bytes& work) {
    if (arguments.count("shard") != 0) return sharded(arguments, ranks, work);
    if (ranks.size() > 1) throw examples::UsageError("several processes write shards: say --shard N");
    const std::vector<fs::path> paths = pictures_of(arguments);
    const ev::StateDict weights = examples::read_weights(arguments);
    Embedder embedder(arguments, weights, examples::contents_of(weights), 1);
    return one_by_one(arguments, embedder, paths);
}

}  // namespace

int main(int argc, char** argv) {
    Ranks ranks(argc, argv);
    Bytes work;
    if (ranks.rank() != 0) {
        ranks.broadcast(work);
        if (work.empty()) return EXIT_SUCCESS;  // rank 0 had --help to print, or a mistake to say
    }
    cxxopts::Options options(
        "embed",
        "Writes the features of pictures: SAM's image embeddings, the last stage of a backbone or what --features\n"
        "says, as\n"
        "NAME.safetensors (which also says of which model) and NAME.npy. Started again, it goes on where it was;\n"
        "what is there of changed pictures or of other weights under the same name is made again.\n");
    examples::add_common_options(options);
    options.add_options()                                                                                       //
        ("list", "a file that names pictures, one a line", cxxopts::value<std::string>(), "FILE")               //
        ("output", "folder to write to", cxxopts::value<std::string>()->default_value("embedded"), "FOLDER")    //
        ("format", "safetensors, npy or both", cxxopts::value<std::string>()->default_value("both"), "FORMAT")  //
        ("shard", "N pictures a file, shard-00000000.safetensors, ..., and index.csv; embed_mpi's ranks share them",
         cxxopts::value<int>(), "N")  //
        ("features",
         "image_embeddings, stage_final, stage0, stage1, ..., or pre_logits: what a classifier's last layer reads",
         cxxopts::value<std::string>()->default_value(""), "NAME")  //
        ("size",
         "rows and columns that a backbone sees, the middle of the picture; 224 if not said; of pre_logits as the "
         "model's name says",
         cxxopts::value<int>(), "N")  //
        ("crop-ratio", "of pre_logits: part of the short side that is seen; else what the model was published with",
         cxxopts::value<double>(), "R")                                                     //
        ("progress", "show how far it is even where that is no terminal, as under mpirun")  //
        ("overwrite", "compute what is there already, too");
    const int status = examples::run("embed", options, argc, argv, [&](const cxxopts::ParseResult& arguments) {
        return embed(arguments, ranks, work);
    });
    if (ranks.rank() == 0 && work.empty()) ranks.broadcast(work);
    return status;
}
