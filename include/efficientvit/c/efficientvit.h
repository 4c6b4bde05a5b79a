/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The library for C, and for every language that calls C. C89 and later, C++.
 *
 * Link efficientvit::c (static) or efficientvit::c_shared with CMake, or compile compiled/kernels.cpp, models.cpp,
 * sams.cpp and c.cpp with -DEFFICIENTVIT_COMPILED. examples/guides/c.md has programs, and declarations for Rust and C#.
 *
 * Errors. A call that can fail returns an ev_status and takes an ev_error last, which may be NULL. On failure it writes
 * the status and the message there; what the call would have written elsewhere is undefined then. No exception leaves a
 * call, and none ends the program.
 *
 * Lifetime. ..._load, ..._new and ev_sam_generate_masks give a handle, ..._free takes it back; NULL is freed too. Handles
 * may be freed in any order: a predictor keeps the weights of its SAM. Nothing keeps a pointer of the caller's beyond a
 * call. Strings that calls return live as long as the handle, or for ever where there is none.
 *
 * Threads. Any number of threads may use a handle at the same time: each call takes scratch memory and helper threads
 * of its own, which the handle keeps for later calls. Only ..._free, and what changes a predictor (set_image,
 * set_embedding, reset), must be alone.
 *
 * Options. ..._init fills a structure with the defaults. NULL in place of options stands for the defaults too.
 *
 * Tensors are NCHW, float, row-major, without gaps: N images, C channels, H rows, W columns. Counts are of elements.
 * Paths are the bytes that fopen takes; on Windows they are UTF-8.
 */
#ifndef EFFICIENTVIT_C_EFFICIENTVIT_H
#define EFFICIENTVIT_C_EFFICIENTVIT_H

#include <stddef.h>

#if !defined(EV_SHARED)
/** Stands before each function. EV_SHARED is defined where the library is a shared one. */
#define EV_API
#elif defined(_WIN32) && defined(EV_BUILDING)
#define EV_API __declspec(dllexport)
#elif defined(_WIN32)
#define EV_API __declspec(dllimport)
#else
#define EV_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Of this header. It changes where a program compiled with an older header would no longer run. */
#define EV_ABI_VERSION 1

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

/** One of the constants below. */
typedef int ev_status;
enum {
    EV_OK = 0,             /**< the call did what it should */
    EV_ERROR = 1,          /**< an error of no kind below */
    EV_ERROR_WEIGHTS = 2,  /**< weights that cannot be read or are another network's */
    EV_ERROR_SHAPE = 3,    /**< a tensor whose shape does not fit, memory that has not the room */
    EV_ERROR_CONFIG = 4,   /**< an option that makes no sense or that this machine cannot honour, an unknown network */
    EV_ERROR_PROMPT = 5,   /**< a prompt that says nothing or points out of the picture, or one without a picture */
    EV_ERROR_IMAGE = 6,    /**< a picture of a size that none has */
    EV_ERROR_ARGUMENT = 7, /**< NULL where something is needed, an index out of range */
    EV_ERROR_MEMORY = 8    /**< out of memory */
};

/** What went wrong. It owns nothing and needs no initialisation; longer messages are cut. */
typedef struct ev_error {
    ev_status status;   /**< as the call returned it; written on failure alone */
    char message[4092]; /**< what was found, what was expected and where; UTF-8, ends with a 0 */
} ev_error;

/* ---- The library ----------------------------------------------------------------------------------------------- */

/** EV_ABI_VERSION of the library that the program runs with. */
EV_API int ev_abi_version(void);
/** "0.1.0" */
EV_API const char* ev_version(void);
/** Writes version, compiler, flags, CPU and instruction set, for reports: at most `size` bytes with the 0 at the end.
 * Returns how many bytes all of it takes, as snprintf does. */
EV_API size_t ev_build_info(char* text, size_t size);
/** The name of network `index`, from 0: "cls_b0", "backbone_b0", ... NULL behind the last. */
EV_API const char* ev_network(int index);

/* ---- Networks -------------------------------------------------------------------------------------------------- */

/** What products are computed in. */
enum {
    EV_F32 = 0,          /**< float throughout */
    EV_BF16_WEIGHTS = 1, /**< weights rounded to bfloat16 */
    EV_BF16 = 2,         /**< and what they are multiplied by */
    EV_INT8 = 3,         /**< 8-bit integers, quantized without calibration data */
    EV_F16 = 4           /**< IEEE halves, for Arm with FP16; EV_ERROR_CONFIG elsewhere */
};

/** The instruction set that weights are packed for. */
enum {
    EV_ISA_BEST = 0, /**< the best that this CPU has, or what the environment variable EFFICIENTVIT_ISA says */
    EV_ISA_SCALAR = 1,
    EV_ISA_AVX2 = 2,
    EV_ISA_AVX512 = 3,
    EV_ISA_NEON = 4
};

/** How weights are loaded and networks computed. */
typedef struct ev_load_options {
    size_t size;         /**< of the structure, as ev_load_options_init was given it */
    const char* network; /**< a name of ev_network or one it is published by; NULL: what the weights look like */
    const char* entry;   /**< of a PyTorch checkpoint: what to read, such as "ema"; NULL: the state dict */
    const char* prefix;  /**< only tensors whose names begin so are looked at; NULL: all */
    int threads;         /**< that work on one call, the calling one included; 0: as many as there are CPUs for. 1 */
    int precision;       /**< EV_F32, ... EV_F32 */
    int isa;             /**< EV_ISA_BEST, ... EV_ISA_BEST */
} ev_load_options;

/** Fills `options` with the defaults; `size` is sizeof(ev_load_options). */
EV_API void ev_load_options_init(ev_load_options* options, size_t size);

/** Extents of a tensor. */
typedef struct ev_shape {
    int n; /**< images */
    int c; /**< channels */
    int h; /**< rows */
    int w; /**< columns */
} ev_shape;

/** A network with its weights: backbone, classifier, segmenter or SAM's image encoder. */
typedef struct ev_model ev_model;

/** Loads safetensors, their index, or what torch.save wrote: the first bytes tell. EV_ERROR_WEIGHTS, EV_ERROR_CONFIG. */
EV_API ev_status ev_model_load(const char* path, const ev_load_options* options, ev_model** model, ev_error* error);
/** The same from a file's bytes, which may go afterwards. */
EV_API ev_status ev_model_load_bytes(const void* bytes, size_t size, const ev_load_options* options, ev_model** model,
                                     ev_error* error);
/** Takes the handle back. */
EV_API void ev_model_free(ev_model* model);

/** What a network is for. */
enum {
    EV_BACKBONE = 0,       /**< outputs "stage0", "stage1", ...; the last is "stage_final" too */
    EV_CLASSIFICATION = 1, /**< output "logits", (N, n_classes, 1, 1); by name "pre_logits" too, (N, features, 1, 1) */
    EV_SEGMENTATION = 2,   /**< output "segout", (N, n_classes, H / 8, W / 8) */
    EV_IMAGE_ENCODER = 3   /**< output "image_embeddings", (N, 256, 64, 64): SAM's */
};

/** What a network is, and the pictures that it was trained on. */
typedef struct ev_model_info {
    const char* network;   /**< as ev_network has it */
    int task;              /**< EV_BACKBONE, ... */
    int in_channels;       /**< of its input */
    int n_classes;         /**< 0 where there are none; a classifier then gives "pre_logits" */
    int height;            /**< of the usual input */
    int width;             /**< of the usual input */
    int size_multiple;     /**< what H and W must be multiples of */
    int outputs;           /**< how many there are */
    double crop_ratio;     /**< of classification: the input's share of the resized picture's short side */
    float mean[3];         /**< R, G, B in [0, 1] are normalised by these */
    float std[3];          /**< likewise */
    const char* isa;       /**< that the weights are packed for: "avx512" */
    const char* precision; /**< what multiplies: "f32", "bf16 (AMX)" */
} ev_model_info;

/** Fills `info`; `size` is sizeof(ev_model_info). */
EV_API ev_status ev_model_get_info(const ev_model* model, ev_model_info* info, size_t size, ev_error* error);
/** The name of an output, from 0; NULL behind the last. */
EV_API const char* ev_model_output_name(const ev_model* model, int output);
/** The shape that the output of this name has for an input of this shape; NULL: the last. EV_ERROR_SHAPE. */
EV_API ev_status ev_model_output_shape(const ev_model* model, const char* output, ev_shape input, ev_shape* shape,
                                       ev_error* error);

/** Computes the last output of x, which has this shape, into y, which has room for y_count floats: stage_final of a
 * backbone, all there is of other networks. EV_ERROR_SHAPE. */
EV_API ev_status ev_model_forward(const ev_model* model, const float* x, ev_shape shape, float* y, size_t y_count,
                                  ev_error* error);

/** An output that is asked for, and where it goes. */
typedef struct ev_output {
    const char* name; /**< "stage2" */
    float* data;      /**< the first float */
    size_t count;     /**< how many floats there is room for */
} ev_output;

/** The same of `count` outputs at once. Of a backbone no later stage is computed than one that is asked for alone. */
EV_API ev_status ev_model_forward_outputs(const ev_model* model, const float* x, ev_shape shape,
                                          const ev_output* outputs, int count, ev_error* error);

/* ---- Pictures -------------------------------------------------------------------------------------------------- */

/** A picture: three bytes a pixel, red, green, blue, row by row from the top left. */
typedef struct ev_image {
    const unsigned char* pixels; /**< the first byte */
    int height;                  /**< rows */
    int width;                   /**< columns */
    ptrdiff_t stride;            /**< bytes from a row to the next; 0: 3 * width */
} ev_image;

/** How a picture becomes an input. */
enum {
    /** As the published accuracy was measured: for classifiers and backbones resized and cut from the middle, for
     * segmenters as the data set's evaluation resizes, for image encoders fitted into their square. */
    EV_FIT_PUBLISHED = 0,
    /** The whole picture at its own size, for segmenters padded to what they take. Not for image encoders. */
    EV_FIT_WHOLE = 1
};

/** How a picture becomes an input. */
typedef struct ev_preprocess_options {
    size_t size;       /**< of the structure, as ev_preprocess_options_init was given it */
    int fit;           /**< EV_FIT_PUBLISHED, ... EV_FIT_PUBLISHED */
    int side;          /**< rows and columns that a classifier or backbone sees; 0: what the network's name says. 0 */
    double crop_ratio; /**< the input's share of the resized picture's side; 0: what the network's name says. 0 */
} ev_preprocess_options;

/** Fills `options` with the defaults; `size` is sizeof(ev_preprocess_options). */
EV_API void ev_preprocess_options_init(ev_preprocess_options* options, size_t size);

/** The shape of the input that a picture of this size becomes. EV_ERROR_IMAGE, EV_ERROR_CONFIG. */
EV_API ev_status ev_model_input_shape(const ev_model* model, int height, int width,
                                      const ev_preprocess_options* options, ev_shape* shape, ev_error* error);
/** Makes that input of a picture, in x, which has room for x_count floats. */
EV_API ev_status ev_model_preprocess(const ev_model* model, const ev_image* image, const ev_preprocess_options* options,
                                     float* x, size_t x_count, ev_error* error);
/** The class of each pixel of a picture, height * width bytes: preprocessing, a segmenter's forward, and its logits
 * enlarged to the picture's size. EV_ERROR_CONFIG where the network is no segmenter. */
EV_API ev_status ev_model_segment(const ev_model* model, const ev_image* image, const ev_preprocess_options* options,
                                  unsigned char* labels, size_t labels_count, ev_error* error);

/* ---- Segment anything ------------------------------------------------------------------------------------------ */

/** A whole EfficientViT-SAM with its weights. */
typedef struct ev_sam ev_sam;

/** Loads the weights of a whole SAM, as ev_model_load does; networks are "sam_l0", ... EV_ERROR_WEIGHTS,
 * EV_ERROR_CONFIG. */
EV_API ev_status ev_sam_load(const char* path, const ev_load_options* options, ev_sam** sam, ev_error* error);
/** The same from a file's bytes, which may go afterwards. */
EV_API ev_status ev_sam_load_bytes(const void* bytes, size_t size, const ev_load_options* options, ev_sam** sam,
                                   ev_error* error);
/** Takes the handle back. */
EV_API void ev_sam_free(ev_sam* sam);

/** What a SAM is. */
typedef struct ev_sam_info {
    const char* network;   /**< "sam_l0", ... */
    int image_size;        /**< rows and columns of the image encoder's input */
    ev_shape embedding;    /**< of a picture: (1, 256, 64, 64) */
    int low_res;           /**< rows and columns of low-resolution masks: 256 */
    const char* isa;       /**< that the weights are packed for */
    const char* precision; /**< what multiplies */
} ev_sam_info;

/** Fills `info`; `size` is sizeof(ev_sam_info). */
EV_API ev_status ev_sam_get_info(const ev_sam* sam, ev_sam_info* info, size_t size, ev_error* error);

/** Answers prompts about one picture at a time. */
typedef struct ev_sam_predictor ev_sam_predictor;

/** A predictor without a picture. */
EV_API ev_status ev_sam_predictor_new(const ev_sam* sam, ev_sam_predictor** predictor, ev_error* error);
/** Takes the handle back. */
EV_API void ev_sam_predictor_free(ev_sam_predictor* predictor);
/** Encodes a picture. EV_ERROR_IMAGE. */
EV_API ev_status ev_sam_predictor_set_image(ev_sam_predictor* predictor, const ev_image* image, ev_error* error);
/** An embedding of before in place of a picture of this size; `count` floats. EV_ERROR_SHAPE, EV_ERROR_IMAGE. */
EV_API ev_status ev_sam_predictor_set_embedding(ev_sam_predictor* predictor, const float* embedding, size_t count,
                                                int height, int width, ev_error* error);
/** Copies the picture's embedding to where there is room for `count` floats. EV_ERROR_PROMPT without a picture. */
EV_API ev_status ev_sam_predictor_get_embedding(const ev_sam_predictor* predictor, float* embedding, size_t count,
                                                ev_error* error);
/** Forgets the picture. */
EV_API void ev_sam_predictor_reset(ev_sam_predictor* predictor);

/** A point of a picture. */
typedef struct ev_sam_point {
    double x;  /**< pixels to the right */
    double y;  /**< pixels down */
    int label; /**< 1: object, 0: background, -1: no point */
} ev_sam_point;

/** What is asked: points, a box, a mask of before, or some of these together. */
typedef struct ev_sam_prompt {
    size_t size;                /**< of the structure, as ev_sam_prompt_init was given it */
    const ev_sam_point* points; /**< in the picture's pixels. NULL */
    int n_points;               /**< how many. 0 */
    const double* box;          /**< x0, y0, x1, y1 around the object; NULL: none. NULL */
    const float* mask_input;    /**< low_res of an earlier answer, one mask of it; NULL: none. NULL */
    int multimask_output;       /**< 1: three masks, for an ambiguous prompt such as a point; 0: one. 1 */
} ev_sam_prompt;

/** Fills `prompt` with the defaults; `size` is sizeof(ev_sam_prompt). */
EV_API void ev_sam_prompt_init(ev_sam_prompt* prompt, size_t size);

/** Where the answer to a prompt goes: C masks, three or with multimask_output = 0 one, of the picture's H and W. What is
 * NULL is left out. */
typedef struct ev_sam_answer {
    size_t size;          /**< of the structure, as ev_sam_answer_init was given it */
    unsigned char* masks; /**< (C, H, W), 1 where the logit is above 0. NULL */
    size_t masks_count;   /**< how many bytes there is room for. 0 */
    float* iou;           /**< (C), how good each mask is thought to be. NULL */
    size_t iou_count;     /**< how many floats there is room for. 0 */
    float* low_res;       /**< (C, 256, 256), logits. NULL */
    size_t low_res_count; /**< how many floats there is room for. 0 */
    float* logits;        /**< (C, H, W). NULL */
    size_t logits_count;  /**< how many floats there is room for. 0 */
} ev_sam_answer;

/** Fills `answer` with NULL and 0; `size` is sizeof(ev_sam_answer). */
EV_API void ev_sam_answer_init(ev_sam_answer* answer, size_t size);

/** Answers `count` prompts, answers[i] to prompts[i]; they are shared out among the handle's threads. EV_ERROR_PROMPT,
 * EV_ERROR_SHAPE. */
EV_API ev_status ev_sam_predictor_predict(const ev_sam_predictor* predictor, const ev_sam_prompt* prompts,
                                          const ev_sam_answer* answers, int count, ev_error* error);

/** The arguments of the automatic mask generator, named as in the reference. */
typedef struct ev_mask_generator_options {
    size_t size;                        /**< of the structure, as ev_mask_generator_options_init was given it */
    int points_per_side;                /**< of a square grid of points over the picture. 32 */
    int points_per_batch;               /**< points that are shared out among the threads at a time. 64 */
    double pred_iou_thresh;             /**< a mask's predicted IoU must be above; 0: all are. 0.88 */
    double stability_score_thresh;      /**< a mask's stability must be at least this; 0: all are. 0.95 */
    double stability_score_offset;      /**< how much thresholds are moved to measure it. 1 */
    double box_nms_thresh;              /**< IoU of boxes above which the worse mask is a duplicate. 0.7 */
    int crop_n_layers;                  /**< layers of crops; layer i has 2^i by 2^i of them. 0 */
    double crop_nms_thresh;             /**< as box_nms_thresh, between crops. 0.7 */
    double crop_overlap_ratio;          /**< how much crops of the first layer overlap, of the short side. 512 / 1500 */
    int crop_n_points_downscale_factor; /**< in layer i there are points_per_side / factor^i points a side. 1 */
    int min_mask_region_area;           /**< holes and islands of fewer pixels are removed. 0 */
} ev_mask_generator_options;

/** Fills `options` with the defaults; `size` is sizeof(ev_mask_generator_options). */
EV_API void ev_mask_generator_options_init(ev_mask_generator_options* options, size_t size);

/** The masks that were found in a picture. */
typedef struct ev_mask_list ev_mask_list;

/** Masks of everything in a picture. EV_ERROR_CONFIG, EV_ERROR_IMAGE. */
EV_API ev_status ev_sam_generate_masks(const ev_sam* sam, const ev_image* image,
                                       const ev_mask_generator_options* options, ev_mask_list** masks, ev_error* error);
/** Takes the handle back. */
EV_API void ev_mask_list_free(ev_mask_list* masks);
/** How many there are. */
EV_API size_t ev_mask_list_count(const ev_mask_list* masks);

/** A mask that was found. */
typedef struct ev_mask_record {
    const unsigned char* segmentation; /**< (height, width), 0 or 1; lives as long as the list */
    int height;                        /**< of the picture */
    int width;                         /**< of the picture */
    size_t area;                       /**< pixels that are set */
    int bbox[4];                       /**< x, y, width, height */
    float predicted_iou;               /**< how good the model thinks the mask is */
    float stability_score;             /**< IoU of the masks at moved thresholds */
    double point_coords[2];            /**< the point that was asked: x, y */
    int crop_box[4];                   /**< of the crop that it was found in: x, y, width, height */
} ev_mask_record;

/** Fills `record` with mask `index`; `size` is sizeof(ev_mask_record). EV_ERROR_ARGUMENT. */
EV_API ev_status ev_mask_list_get(const ev_mask_list* masks, size_t index, ev_mask_record* record, size_t size,
                                  ev_error* error);

#ifdef __cplusplus
}
#endif

#endif
