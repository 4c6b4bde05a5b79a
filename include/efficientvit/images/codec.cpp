// SPDX-License-Identifier: Apache-2.0
//
// The decoders and the encoder behind <efficientvit/images/codec.hpp>: compile it once in a program that reads or
// writes pictures, and link libjpeg-turbo and libpng (-ljpeg -lpng). With CMake, efficientvit::codec has it. No other
// file includes the headers of these two libraries, which are C and full of macros.
//
// Both report errors by longjmp. It never leaves a frame that owns something: a step of the work runs in guarded(),
// and steps have pointers and numbers only; what owns the libraries' memory lives outside and frees it.
#include <efficientvit/images/codec_library.hpp>

#if !__has_include(<jpeglib.h>) || !__has_include(<png.h>)
#error \
    "efficientvit/images/codec.cpp needs libjpeg-turbo and libpng: install libjpeg-dev and libpng-dev (Debian, Ubuntu)"
#endif

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include <jpeglib.h>
#include <png.h>

EFFICIENTVIT_BEGIN_PLAIN_NAMESPACE
namespace codec_library {
namespace {

constexpr const char* cut_short = "the file ends before the picture does";

/// Runs steps of a C library's work, and comes back where the library reports an error.
class LongJumps {
public:
    /// Whether `step` came to its end. It must own nothing: an error leaves it without destructors.
    template <class Step>
    bool guarded(const Step& step) {
        if (setjmp(return_) != 0) return false;
        step();
        return true;
    }
    [[noreturn]] void jump() { std::longjmp(return_, 1); }

    /// The error's text.
    char message[256] = "";

private:
    std::jmp_buf return_;
};

// ---- JPEG -----------------------------------------------------------------------------------------------------------

/// A file in memory, decompressed as Pillow does it: libjpeg's defaults, and a file that ends too soon is an error.
class JpegDecoder : LongJumps {
public:
    JpegDecoder(const std::byte* file, std::size_t bytes) {
        static_assert(sizeof(message) >= JMSG_LENGTH_MAX);
        info_.err = jpeg_std_error(&errors_);
        errors_.error_exit = [](j_common_ptr info) {
            info->err->format_message(info, self(info).message);
            self(info).jump();
        };
        errors_.output_message = [](j_common_ptr) {};  // warnings, which go to standard error by default
        info_.client_data = this;
        source_.next_input_byte = reinterpret_cast<const JOCTET*>(file);
        source_.bytes_in_buffer = bytes;
        source_.init_source = source_.term_source = [](j_decompress_ptr) {};
        source_.resync_to_restart = jpeg_resync_to_restart;
        source_.fill_input_buffer = [](j_decompress_ptr) -> boolean { return FALSE; };  // there is no more
        source_.skip_input_data = [](j_decompress_ptr info, long count) {
            if (count <= 0) return;
            const std::size_t skipped = std::min(static_cast<std::size_t>(count), info->src->bytes_in_buffer);
            info->src->next_input_byte += skipped;
            info->src->bytes_in_buffer -= skipped;
        };
        progress_.progress_monitor = [](j_common_ptr info) {
            // Each scan passes over the whole picture: thousands of empty ones would take hours.
            if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= most_scans) return;
            std::snprintf(self(info).message, sizeof(message), "it has more than %d scans", most_scans);
            self(info).jump();
        };
    }
    JpegDecoder(const JpegDecoder&) = delete;
    JpegDecoder& operator=(const JpegDecoder&) = delete;
    ~JpegDecoder() { jpeg_destroy_decompress(&info_); }

    void decode(PixelMemory memory) {
        read_header();
        start();
        std::uint8_t* to = nullptr;
        const std::size_t row_bytes = std::size_t{3} * info_.output_width;
        for (JDIMENSION y = 0; y < info_.output_height; ++y) {
            run([this] { whole_ = jpeg_read_scanlines(&info_, row_, 1) == 1; });
            // A header may say anything: memory for the picture is taken when there is a first row of it.
            if (to == nullptr) to = memory.take(memory.owner, int(info_.output_height), int(info_.output_width));
            if (info_.output_components == 4) {
                inverted_cmyk_to_rgb(row_[0], to);
            } else {
                std::memcpy(to, row_[0], row_bytes);
            }
            to += row_bytes;
        }
    }

private:
    static constexpr int most_scans = 500;

    static JpegDecoder& self(j_common_ptr info) { return *static_cast<JpegDecoder*>(info->client_data); }

    [[noreturn]] static void fail(std::string_view what) {
        throw ImageError(detail::concat({"broken JPEG (", what, ")"}));
    }

    /// Throws what a step reports, or that it wanted more of the file.
    template <class Step>
    void run(const Step& step) {
        whole_ = true;
        if (!guarded(step)) fail(message);
        if (!whole_) fail(cut_short);
    }

    void read_header() {
        run([this] {
            jpeg_create_decompress(&info_);
            info_.mem->max_memory_to_use = 0;  // in place of what the environment may say
            info_.src = &source_;
            info_.progress = &progress_;
            whole_ = jpeg_read_header(&info_, TRUE) == JPEG_HEADER_OK;
        });
        detail::check_size({static_cast<int>(info_.image_height), static_cast<int>(info_.image_width)}, "JPEG");
        if (info_.data_precision != 8) {
            fail(detail::concat({"samples of ", std::to_string(info_.data_precision), " bits; read are those of 8"}));
        }
        if (info_.num_components != 1 && info_.num_components != 3 && info_.num_components != 4) {
            fail(detail::concat({std::to_string(info_.num_components), " components; read are 1, 3 and 4"}));
        }
    }

    void start() {
        run([this] {
            info_.out_color_space = info_.num_components == 4 ? JCS_CMYK : JCS_RGB;
            whole_ = jpeg_start_decompress(&info_) != FALSE;
            if (!whole_) return;
            const auto samples = info_.output_width * static_cast<JDIMENSION>(info_.output_components);
            row_ = info_.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&info_), JPOOL_IMAGE, samples, 1);
        });
    }

    /// Four components are taken for Adobe's, which are inverted, whether or not the file says so; then Pillow's
    /// arithmetic from CMYK to RGB.
    void inverted_cmyk_to_rgb(const std::uint8_t* from, std::uint8_t* to) const {
        for (JDIMENSION x = 0; x < info_.output_width; ++x, from += 4, to += 3) {
            const int light = from[3];
            for (int c = 0; c < 3; ++c) {
                const int product = (255 - from[c]) * light + 128;
                to[c] = static_cast<std::uint8_t>(std::max(light - (((product >> 8) + product) >> 8), 0));
            }
        }
    }

    jpeg_decompress_struct info_{};
    jpeg_error_mgr errors_{};
    jpeg_source_mgr source_{};
    jpeg_progress_mgr progress_{};
    JSAMPARRAY row_ = nullptr;
    bool whole_ = true;
};

// ---- PNG ------------------------------------------------------------------------------------------------------------

/// libpng's struct of either direction, with its errors.
class PngLibrary : protected LongJumps {
public:
    PngLibrary() = default;
    PngLibrary(const PngLibrary&) = delete;
    PngLibrary& operator=(const PngLibrary&) = delete;

protected:
    static void on_error(png_structp png, const char* text) {
        auto& self = *static_cast<PngLibrary*>(png_get_error_ptr(png));
        std::snprintf(self.message, sizeof(self.message), "%s", text);
        self.jump();
    }

    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
};

/// A file in memory to RGB: 16 bits lose the lower 8, transparency is dropped, gamma and profiles are passed over.
class PngDecoder : PngLibrary {
public:
    PngDecoder(const std::byte* file, std::size_t bytes) : next_(file), left_(bytes), bytes_(bytes) {}
    ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

    void decode(PixelMemory memory) {
        read_header();
        pixels_ = memory.take(memory.owner, height_, width_);
        run([this] {
            png_set_expand(png_);
            png_set_strip_16(png_);
            png_set_gray_to_rgb(png_);
            png_set_strip_alpha(png_);
            passes_ = png_set_interlace_handling(png_);
            png_read_update_info(png_, info_);
            if (png_get_rowbytes(png_, info_) != row_bytes()) png_error(png_, "rows of another length than expected");
            in_rows_ = true;
            for (int pass = 0; pass < passes_; ++pass) {
                for (int y = 0; y < height_; ++y) {
                    png_read_row(png_, pixels_ + static_cast<std::size_t>(y) * row_bytes(), nullptr);
                }
            }
        });
        // Not as far as the file's end: what stands behind the pixels may be anything, for Pillow too.
        if (message[0] != '\0') fail(message);
    }

private:
    [[noreturn]] static void fail(std::string_view what) {
        throw ImageError(detail::concat({"broken PNG (", what, ")"}));
    }

    template <class Step>
    void run(const Step& step) {
        if (!guarded(step)) fail(message);
    }

    std::size_t row_bytes() const { return std::size_t{3} * static_cast<std::size_t>(width_); }

    void read_header() {
        run([this] {
            png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, static_cast<PngLibrary*>(this), on_error, on_warning);
            info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
        });
        if (info_ == nullptr) throw std::bad_alloc();
        run([this] {
            png_set_read_fn(png_, this, [](png_structp png, png_bytep to, std::size_t count) {
                auto& self = *static_cast<PngDecoder*>(png_get_io_ptr(png));
                if (count > self.left_) png_error(png, cut_short);
                std::memcpy(to, self.next_, count);
                self.next_ += count;
                self.left_ -= count;
            });
            png_set_user_limits(png_, 0x7fffffff, 0x7fffffff);                       // check_size() has ours
            png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);  // all but those of the pixels
            png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
            png_read_info(png_, info_);
            width_ = static_cast<int>(png_get_image_width(png_, info_));
            height_ = static_cast<int>(png_get_image_height(png_, info_));
        });
        detail::check_size({height_, width_}, "PNG");
        // A header may say anything; nothing deflates to less than a 1032nd.
        const std::size_t row = png_get_rowbytes(png_, info_) + 1;
        if (row * static_cast<std::size_t>(height_) / 1040 > bytes_) fail(cut_short);
    }

    /// Of what libpng lets pass while it reads pixels only data behind the last of them does: their checksum counts.
    static void on_warning(png_structp png, const char* text) {
        auto& self = static_cast<PngDecoder&>(*static_cast<PngLibrary*>(png_get_error_ptr(png)));
        const std::string_view what = text;
        if (!self.in_rows_ || what.ends_with("Extra compressed data") || what.ends_with("Too much image data")) return;
        std::snprintf(self.message, sizeof(self.message), "%s", text);
    }

    const std::byte* next_;
    std::size_t left_, bytes_;
    int width_ = 0, height_ = 0, passes_ = 1;
    std::uint8_t* pixels_ = nullptr;
    bool in_rows_ = false;
};

class PngEncoder : PngLibrary {
public:
    explicit PngEncoder(ByteSink sink) : sink_(sink) {}
    ~PngEncoder() { png_destroy_write_struct(&png_, &info_); }

    void encode(const std::uint8_t* pixels, int height, int width, int channels) {
        run([this] {
            png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, static_cast<PngLibrary*>(this), on_error, nullptr);
            info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
        });
        if (info_ == nullptr) throw std::bad_alloc();
        run([&] {
            png_set_user_limits(png_, 0x7fffffff, 0x7fffffff);
            png_set_write_fn(png_, this, on_bytes, [](png_structp) {});
            png_set_IHDR(png_, info_, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                         channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                         PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
            png_set_compression_level(png_, 3);  // a quarter of the time of 6, files a tenth larger
            png_write_info(png_, info_);
            const std::size_t row = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
            for (int y = 0; y < height; ++y) png_write_row(png_, pixels + static_cast<std::size_t>(y) * row);
            png_write_end(png_, nullptr);
        });
    }

private:
    template <class Step>
    void run(const Step& step) {
        if (guarded(step)) return;
        if (out_of_memory_) throw std::bad_alloc();
        throw ImageError(detail::concat({"cannot be encoded as PNG (", message, ")"}));
    }

    static void on_bytes(png_structp png, png_bytep bytes, std::size_t count) {
        auto& self = *static_cast<PngEncoder*>(png_get_io_ptr(png));
        try {
            self.sink_.append(self.sink_.owner, bytes, count);
        } catch (const std::bad_alloc&) {
            self.out_of_memory_ = true;
        }
        if (self.out_of_memory_) png_error(png, "out of memory");  // not within catch, which it would never leave
    }

    ByteSink sink_;
    bool out_of_memory_ = false;
};

}  // namespace

void decode_jpeg(const std::byte* file, std::size_t bytes, PixelMemory memory) {
    JpegDecoder(file, bytes).decode(memory);
}

void decode_png(const std::byte* file, std::size_t bytes, PixelMemory memory) {
    PngDecoder(file, bytes).decode(memory);
}

void encode_png(const std::uint8_t* pixels, int height, int width, int channels, ByteSink sink) {
    PngEncoder(sink).encode(pixels, height, width, channels);
}

}  // namespace codec_library
EFFICIENTVIT_END_PLAIN_NAMESPACE
