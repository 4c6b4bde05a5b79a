// SPDX-License-Identifier: Apache-2.0
//
// Part of compiled/c.cpp: segment anything of efficientvit.h.
EFFICIENTVIT_BEGIN_NAMESPACE
namespace c_interface {

/// What one call on a SAM uses.
struct SamCall {
    explicit SamCall(const ContextOptions& options) : context(options) {}
    Context context;
    std::vector<SamPrediction> answers{};
};

/// A SAM and what its predictors share.
struct SharedSam {
    std::unique_ptr<AnySam> sam;
    detail::CallPool<SamCall> calls;
    std::string isa, precision;
};

using SamLease = detail::CallPool<SamCall>::Lease;

}  // namespace c_interface
EFFICIENTVIT_END_NAMESPACE

struct ev_sam {
    std::shared_ptr<efficientvit::c_interface::SharedSam> shared;
};

struct ev_sam_predictor {
    std::shared_ptr<efficientvit::c_interface::SharedSam> shared;
    efficientvit::SamPredictor predictor;
};

struct ev_mask_list {
    std::vector<efficientvit::MaskRecord> records;
};

EFFICIENTVIT_BEGIN_NAMESPACE
namespace c_interface {

inline ev_sam* new_sam(const Weights& weights, const ev_load_options& options) {
    const ContextOptions context = context_options_of(options);
    std::unique_ptr<AnySam> sam = compiled::make_sam(weights.network);
    sam->load_state_dict(weights.tensors, load_options_of(options));
    std::string isa(isa_name(sam->isa())), precision(sam->precision());
    return new ev_sam{std::shared_ptr<SharedSam>(new SharedSam{
        std::move(sam), detail::CallPool<SamCall>([context] { return std::make_unique<SamCall>(context); }),
        std::move(isa), std::move(precision)})};
}

inline ev_sam_prompt default_prompt() { return {sizeof(ev_sam_prompt), nullptr, 0, nullptr, nullptr, 1}; }

inline SamPrompt prompt_of(const ev_sam_prompt& from, const Shape& mask) {
    SamPrompt out;
    if (from.n_points < 0) throw ArgumentError("n_points is negative");
    if (from.n_points > 0) given(from.points, "points");
    for (int i = 0; i < from.n_points; ++i) {
        out.points.push_back({from.points[i].x, from.points[i].y, from.points[i].label});
    }
    if (from.box != nullptr) out.box = Box{from.box[0], from.box[1], from.box[2], from.box[3]};
    if (from.mask_input != nullptr) out.mask_input = ConstTensorView{from.mask_input, mask};
    out.multimask_output = from.multimask_output != 0;
    return out;
}

/// Element i of the caller's array of structures, which are as large as the first one says.
template <class T>
const T* element(const T* first, int i) {
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(first) + static_cast<std::size_t>(i) * first->size);
}

/// Throws ShapeError where an answer has not the room.
inline void check_answer(const ev_sam_answer& to, std::size_t count, std::size_t pixels, std::size_t low_res) {
    if (to.masks != nullptr) check_room(to.masks, to.masks_count, count * pixels, "masks");
    if (to.iou != nullptr) check_room(to.iou, to.iou_count, count, "iou");
    if (to.low_res != nullptr) check_room(to.low_res, to.low_res_count, count * low_res, "low_res");
    if (to.logits != nullptr) check_room(to.logits, to.logits_count, count * pixels, "logits");
}

inline void write_answer(const SamPrediction& from, const ev_sam_answer& to) {
    if (to.masks != nullptr) {
        unsigned char* masks = to.masks;
        for (const Mask& mask : from.masks) masks = std::copy(mask.pixels.begin(), mask.pixels.end(), masks);
    }
    if (to.iou != nullptr) std::copy(from.iou.begin(), from.iou.end(), to.iou);
    if (to.low_res != nullptr) std::copy_n(from.low_res.data(), from.low_res.size(), to.low_res);
    if (to.logits != nullptr) std::copy_n(from.logits.data(), from.logits.size(), to.logits);
}

inline void predict(const ev_sam_predictor& p, const ev_sam_prompt* prompts, const ev_sam_answer* answers, int count) {
    const ImageSize size = p.predictor.original_size(), low = p.predictor.low_res_size();
    const auto pixels = [](ImageSize s) {
        return static_cast<std::size_t>(s.height) * static_cast<std::size_t>(s.width);
    };
    std::vector<SamPrompt> asked;
    std::vector<ev_sam_answer> to;
    SamPredictOptions options;
    for (int i = 0; i < count; ++i) {
        asked.push_back(prompt_of(read_struct(element(prompts, i), default_prompt(), "ev_sam_prompt"),
                                  {1, 1, low.height, low.width}));
        to.push_back(read_struct(element(answers, i), ev_sam_answer{}, "ev_sam_answer"));
        check_answer(to.back(), asked.back().multimask_output ? 3U : 1U, pixels(size), pixels(low));
        options.return_logits = options.return_logits || to.back().logits != nullptr;
    }
    const SamLease lease(p.shared->calls);
    lease->answers.resize(asked.size());
    p.predictor.predict(asked, lease->answers, options, lease->context);
    for (std::size_t i = 0; i < to.size(); ++i) write_answer(lease->answers[i], to[i]);
}

inline ev_mask_generator_options default_generator_options() {
    const MaskGeneratorOptions d;
    return {sizeof(ev_mask_generator_options),
            d.points_per_side,
            d.points_per_batch,
            d.pred_iou_thresh,
            d.stability_score_thresh,
            d.stability_score_offset,
            d.box_nms_thresh,
            d.crop_n_layers,
            d.crop_nms_thresh,
            d.crop_overlap_ratio,
            d.crop_n_points_downscale_factor,
            d.min_mask_region_area};
}

inline MaskGeneratorOptions generator_options_of(const ev_mask_generator_options* options) {
    const ev_mask_generator_options from =
        read_struct(options, default_generator_options(), "ev_mask_generator_options");
    MaskGeneratorOptions out;
    out.points_per_side = from.points_per_side;
    out.points_per_batch = from.points_per_batch;
    out.pred_iou_thresh = from.pred_iou_thresh;
    out.stability_score_thresh = from.stability_score_thresh;
    out.stability_score_offset = from.stability_score_offset;
    out.box_nms_thresh = from.box_nms_thresh;
    out.crop_n_layers = from.crop_n_layers;
    out.crop_nms_thresh = from.crop_nms_thresh;
    out.crop_overlap_ratio = from.crop_overlap_ratio;
    out.crop_n_points_downscale_factor = from.crop_n_points_downscale_factor;
    out.min_mask_region_area = from.min_mask_region_area;
    return out;
}

}  // namespace c_interface
EFFICIENTVIT_END_NAMESPACE

extern "C" {

ev_status ev_sam_load(const char* path, const ev_load_options* options, ev_sam** sam, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_load_options o = ev_c::read_struct(options, ev_c::default_load_options(), "ev_load_options");
        ev_c::given(sam, "sam") = nullptr;
        *sam = ev_c::new_sam(ev_c::read_weights(path, o), o);
    });
}

ev_status ev_sam_load_bytes(const void* bytes, size_t size, const ev_load_options* options, ev_sam** sam,
                            ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_load_options o = ev_c::read_struct(options, ev_c::default_load_options(), "ev_load_options");
        ev_c::given(sam, "sam") = nullptr;
        *sam = ev_c::new_sam(ev_c::parse_weights(bytes, size, o), o);
    });
}

void ev_sam_free(ev_sam* sam) { delete sam; }

ev_status ev_sam_get_info(const ev_sam* sam, ev_sam_info* info, size_t size, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_c::SharedSam& shared = *ev_c::given(sam, "sam").shared;
        ev_c::given(info, "info");
        const efficientvit::SamPredictor predictor(*shared.sam);
        ev_sam_info out{};
        out.network = shared.sam->name().c_str();
        out.image_size = shared.sam->image_size();
        out.embedding = ev_c::to_c(predictor.embedding_shape());
        out.low_res = predictor.low_res_size().height;
        out.isa = shared.isa.c_str();
        out.precision = shared.precision.c_str();
        ev_c::write_struct(out, info, size);
    });
}

ev_status ev_sam_predictor_new(const ev_sam* sam, ev_sam_predictor** predictor, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_sam& s = ev_c::given(sam, "sam");
        ev_c::given(predictor, "predictor") = nullptr;
        *predictor = new ev_sam_predictor{s.shared, efficientvit::SamPredictor(*s.shared->sam)};
    });
}

void ev_sam_predictor_free(ev_sam_predictor* predictor) { delete predictor; }

ev_status ev_sam_predictor_set_image(ev_sam_predictor* predictor, const ev_image* image, ev_error* error) {
    return ev_c::call(error, [&] {
        ev_sam_predictor& p = ev_c::given(predictor, "predictor");
        p.predictor.reset();
        const efficientvit::Image picture = ev_c::image_of(image);
        const ev_c::SamLease lease(p.shared->calls);
        p.predictor.set_image(picture, lease->context);
    });
}

ev_status ev_sam_predictor_set_embedding(ev_sam_predictor* predictor, const float* embedding, size_t count, int height,
                                         int width, ev_error* error) {
    return ev_c::call(error, [&] {
        ev_sam_predictor& p = ev_c::given(predictor, "predictor");
        const efficientvit::Shape shape = p.predictor.embedding_shape();
        ev_c::check_room(embedding, count, ev_c::element_count(shape), "embedding");
        const ev_c::SamLease lease(p.shared->calls);
        p.predictor.set_embedding({embedding, shape}, {height, width}, lease->context);
    });
}

ev_status ev_sam_predictor_get_embedding(const ev_sam_predictor* predictor, float* embedding, size_t count,
                                         ev_error* error) {
    return ev_c::call(error, [&] {
        const efficientvit::Tensor& from = ev_c::given(predictor, "predictor").predictor.get_embedding();
        ev_c::check_room(embedding, count, static_cast<std::size_t>(from.size()), "embedding");
        std::copy_n(from.data(), from.size(), embedding);
    });
}

void ev_sam_predictor_reset(ev_sam_predictor* predictor) {
    if (predictor != nullptr) predictor->predictor.reset();
}

void ev_sam_prompt_init(ev_sam_prompt* prompt, size_t size) { ev_c::init_struct(ev_c::default_prompt(), prompt, size); }

void ev_sam_answer_init(ev_sam_answer* answer, size_t size) { ev_c::init_struct(ev_sam_answer{}, answer, size); }

ev_status ev_sam_predictor_predict(const ev_sam_predictor* predictor, const ev_sam_prompt* prompts,
                                   const ev_sam_answer* answers, int count, ev_error* error) {
    return ev_c::call(error, [&] {
        const ev_sam_predictor& p = ev_c::given(predictor, "predictor");
        if (count < 0) throw ev_c::ArgumentError("count is negative");
        if (count == 0) return;
        ev_c::given(prompts, "prompts");
        ev_c::given(answers, "answers");
        ev_c::predict(p, prompts, answers, count);
    });
}

void ev_mask_generator_options_init(ev_mask_generator_options* options, size_t size) {
    ev_c::init_struct(ev_c::default_generator_options(), options, size);
}

ev_status ev_sam_generate_masks(const ev_sam* sam, const ev_image* image, const ev_mask_generator_options* options,
                                ev_mask_list** masks, ev_error* error) {
    return ev_c::call(error, [&] {
        ev_c::SharedSam& shared = *ev_c::given(sam, "sam").shared;
        ev_c::given(masks, "masks") = nullptr;
        const efficientvit::MaskGeneratorOptions how = ev_c::generator_options_of(options);
        efficientvit::SamPredictor predictor(*shared.sam);
        const ev_c::SamLease lease(shared.calls);
        auto list = std::make_unique<ev_mask_list>();
        list->records = efficientvit::generate_masks(predictor, ev_c::image_of(image), how, lease->context);
        *masks = list.release();
    });
}

void ev_mask_list_free(ev_mask_list* masks) { delete masks; }

size_t ev_mask_list_count(const ev_mask_list* masks) { return masks == nullptr ? 0 : masks->records.size(); }

ev_status ev_mask_list_get(const ev_mask_list* masks, size_t index, ev_mask_record* record, size_t size,
                           ev_error* error) {
    return ev_c::call(error, [&] {
        const std::vector<efficientvit::MaskRecord>& records = ev_c::given(masks, "masks").records;
        ev_c::given(record, "record");
        if (index >= records.size()) {
            throw ev_c::ArgumentError(efficientvit::detail::concat(
                {"mask ", std::to_string(index), " of only ", std::to_string(records.size())}));
        }
        const efficientvit::MaskRecord& from = records[index];
        ev_mask_record out{};
        out.segmentation = from.segmentation.pixels.data();
        out.height = from.segmentation.height;
        out.width = from.segmentation.width;
        out.area = static_cast<std::size_t>(from.area);
        std::copy(from.bbox.begin(), from.bbox.end(), out.bbox);
        out.predicted_iou = from.predicted_iou;
        out.stability_score = from.stability_score;
        out.point_coords[0] = from.point_coords.x;
        out.point_coords[1] = from.point_coords.y;
        std::copy(from.crop_box.begin(), from.crop_box.end(), out.crop_box);
        ev_c::write_struct(out, record, size);
    });
}

}  // extern "C"
