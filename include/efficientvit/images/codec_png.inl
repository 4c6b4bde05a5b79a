// SPDX-License-Identifier: Apache-2.0
//
// PNG by libpng: a part of codec.cpp.

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
