// SPDX-License-Identifier: Apache-2.0
//
// JPEG by libjpeg-turbo: a part of codec.cpp.

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
