/* SPDX-License-Identifier: Apache-2.0
 *
 * The C interface as a program in C89 uses it: the same bits as in C++ (reference.cpp wrote them), every error, handles
 * freed in any order, many threads on one handle. Compiled as C++ too. argv[1] is the folder of the files.
 */
#include <efficientvit/c/efficientvit.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <pthread.h>
#endif

static int failures = 0;
static const char* folder;

static void check(int right, const char* what) {
    if (right) return;
    ++failures;
    printf("wrong: %s\n", what);
}

static void succeeded(ev_status status, const ev_error* error, const char* what) {
    if (status == EV_OK) return;
    ++failures;
    printf("wrong: %s: status %d, %s\n", what, status, error->message);
}

static void failed(ev_status status, ev_status expected, const ev_error* error, const char* text) {
    const int right = status == expected && error->status == expected && strstr(error->message, text) != NULL;
    if (!right) ++failures;
    printf("%s: %d, %.160s\n", right ? "as it should" : "wrong", status, error->message);
}

static const char* path_of(const char* name) {
    static char path[4096];
    sprintf(path, "%.3000s/%.900s", folder, name);
    return path;
}

static void* read_file(const char* name, size_t* size) {
    FILE* file = fopen(path_of(name), "rb");
    void* bytes;
    if (file == NULL) {
        printf("cannot read %s\n", name);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*size + 1);
    if (fread(bytes, 1, *size, file) != *size) exit(1);
    fclose(file);
    return bytes;
}

static void same_as_file(const void* found, size_t size, const char* name) {
    size_t expected;
    void* bytes = read_file(name, &expected);
    check(size == expected && memcmp(found, bytes, size) == 0, name);
    free(bytes);
}

static size_t count_of(ev_shape s) { return (size_t)s.n * (size_t)s.c * (size_t)s.h * (size_t)s.w; }

static ev_model* loaded(const char* name, const ev_load_options* options) {
    ev_error error;
    ev_model* model = NULL;
    succeeded(ev_model_load(path_of(name), options, &model, &error), &error, name);
    if (model == NULL) exit(1);
    return model;
}

/* ---- The library ---- */

static void library(void) {
    char text[64];
    int networks = 0;
    size_t size;
    check(ev_abi_version() == EV_ABI_VERSION, "ev_abi_version");
    check(strchr(ev_version(), '.') != NULL, "ev_version");
    size = ev_build_info(NULL, 0);
    check(size > sizeof text && ev_build_info(text, sizeof text) == size, "ev_build_info");
    check(strlen(text) == sizeof text - 1 && strncmp(text, "efficientvit", 12) == 0, "the text of ev_build_info");
    while (ev_network(networks) != NULL) ++networks;
    check(networks >= 32 && strcmp(ev_network(0), "backbone_b0") == 0, "ev_network");
    check(ev_network(-1) == NULL && ev_network(networks + 1) == NULL, "ev_network out of range");
}

/* ---- Networks ---- */

static const ev_shape input_shape = {1, 3, 64, 96};

static void classifier(const float* x) {
    ev_model* model = loaded("cls_b0.safetensors", NULL);
    ev_load_options options;
    ev_model_info info;
    ev_error error;
    ev_shape shape;
    ev_output outputs[2] = {{"pre_logits", NULL, 1280}, {"logits", NULL, 1000}};
    float logits[1000], pre_logits[1280];
    size_t size, i;
    int rounded;
    void* bytes;

    succeeded(ev_model_get_info(model, &info, sizeof info, &error), &error, "info");
    check(strcmp(info.network, "cls_b0") == 0 && info.task == EV_CLASSIFICATION && info.n_classes == 1000, "network");
    check(info.in_channels == 3 && info.height == 224 && info.width == 224 && info.outputs == 1, "input");
    check(info.crop_ratio == 0.95 && info.std[2] == 0.225f && strcmp(info.precision, "f32") == 0, "the rest of info");
    check(strcmp(ev_model_output_name(model, 0), "logits") == 0, "the output's name");
    check(ev_model_output_name(model, 1) == NULL && ev_model_output_name(model, -1) == NULL, "no output");
    succeeded(ev_model_output_shape(model, "logits", input_shape, &shape, &error), &error, "shape");
    check(shape.n == 1 && shape.c == 1000 && shape.h == 1 && shape.w == 1, "output shape");
    succeeded(ev_model_forward(model, x, input_shape, logits, 1000, &error), &error, "forward");
    same_as_file(logits, sizeof logits, "logits.f32");

    succeeded(ev_model_output_shape(model, "pre_logits", input_shape, &shape, &error), &error, "shape");
    check(count_of(shape) == 1280 && shape.c == 1280, "the shape of pre_logits");
    memset(logits, 0, sizeof logits);
    outputs[0].data = pre_logits;
    outputs[1].data = logits;
    succeeded(ev_model_forward_outputs(model, x, input_shape, outputs, 2, &error), &error, "pre_logits");
    same_as_file(pre_logits, sizeof pre_logits, "pre_logits.f32");
    same_as_file(logits, sizeof logits, "logits.f32");
    ev_model_free(model);

    /* from bytes that go, on two threads, under a name of its own */
    ev_load_options_init(&options, sizeof options);
    options.threads = 2;
    options.network = "efficientvit_b0.r224_in1k";
    bytes = read_file("cls_b0.safetensors", &size);
    succeeded(ev_model_load_bytes(bytes, size, &options, &model, &error), &error, "bytes");
    memset(bytes, 0, size);
    free(bytes);
    succeeded(ev_model_forward(model, x, input_shape, logits, 1000, NULL), &error, "forward");
    same_as_file(logits, sizeof logits, "logits.f32");
    ev_model_free(model);

    /* plain C++ and rounded numbers give nearly the same */
    options.isa = EV_ISA_SCALAR;
    for (rounded = 0; rounded < 3; ++rounded) {
        float largest = 0, difference = 0;
        float* expected;
        static const int precisions[] = {EV_BF16_WEIGHTS, EV_INT8, EV_F16};
        static const char* const names[] = {"bf16_weights", "int8 (scalar)", "f16 (scalar)"};
        options.precision = precisions[rounded];
        model = loaded("cls_b0.safetensors", &options);
        succeeded(ev_model_get_info(model, &info, sizeof info, &error), &error, "info");
        check(strcmp(info.isa, "scalar") == 0, "isa");
        check(strcmp(info.precision, names[rounded]) == 0, "precision");
        succeeded(ev_model_forward(model, x, input_shape, logits, 1000, NULL), &error, "forward");
        expected = (float*)(bytes = read_file("logits.f32", &size));
        for (i = 0; i < 1000; ++i) {
            const float d = logits[i] > expected[i] ? logits[i] - expected[i] : expected[i] - logits[i];
            if (d > difference) difference = d;
            if (expected[i] > largest) largest = expected[i];
        }
        free(bytes);
        check(difference > 0 && difference < 0.05f * largest, "rounded numbers");
        ev_model_free(model);
    }
}

static void backbone(const float* x) {
    ev_model* model = loaded("backbone_b0.safetensors", NULL);
    ev_error error;
    ev_output outputs[3];
    ev_shape shapes[3];
    int i;
    outputs[0].name = "stage3";
    outputs[1].name = "stage1";
    outputs[2].name = "stage_final";
    for (i = 0; i < 3; ++i) {
        succeeded(ev_model_output_shape(model, outputs[i].name, input_shape, &shapes[i], &error), &error, "shape");
        outputs[i].count = count_of(shapes[i]);
        outputs[i].data = (float*)malloc(outputs[i].count * sizeof(float));
    }
    check(shapes[2].c == 128 && shapes[2].h == 2 && shapes[2].w == 3, "the shape of stage_final");
    succeeded(ev_model_forward_outputs(model, x, input_shape, outputs, 3, &error), &error, "stages");
    same_as_file(outputs[0].data, outputs[0].count * sizeof(float), "stage3.f32");
    same_as_file(outputs[1].data, outputs[1].count * sizeof(float), "stage1.f32");
    same_as_file(outputs[2].data, outputs[2].count * sizeof(float), "stage4.f32");
    memset(outputs[2].data, 0, outputs[2].count * sizeof(float));
    succeeded(ev_model_forward(model, x, input_shape, outputs[2].data, outputs[2].count, &error), &error, "final");
    same_as_file(outputs[2].data, outputs[2].count * sizeof(float), "stage4.f32");
    succeeded(ev_model_forward_outputs(model, x, input_shape, NULL, 0, &error), &error, "no output");
    memset(outputs[1].data, 0, outputs[1].count * sizeof(float));
    succeeded(ev_model_forward_outputs(model, x, input_shape, &outputs[1], 1, &error), &error, "one stage");
    same_as_file(outputs[1].data, outputs[1].count * sizeof(float), "stage1.f32");
    for (i = 0; i < 3; ++i) free(outputs[i].data);
    ev_model_free(model);
}

/* ---- Errors ---- */

static void errors(const float* x) {
    ev_model* model = (ev_model*)&failures;
    ev_load_options options;
    ev_model_info info;
    ev_error error;
    ev_shape shape = input_shape;
    ev_output output;
    float y[1000];
    char old[sizeof options];

    failed(ev_model_load("no such file", NULL, &model, &error), EV_ERROR_WEIGHTS, &error, "no such file");
    check(model == NULL, "the handle after a failure");
    check(ev_model_load("no such file", NULL, &model, NULL) == EV_ERROR_WEIGHTS, "without an error");
    failed(ev_model_load(NULL, NULL, &model, &error), EV_ERROR_ARGUMENT, &error, "path is NULL");
    failed(ev_model_load("x", NULL, NULL, &error), EV_ERROR_ARGUMENT, &error, "model is NULL");
    failed(ev_model_load(path_of("input.f32"), NULL, &model, &error), EV_ERROR_WEIGHTS, &error, "input.f32");
    failed(ev_model_load_bytes("no weights", 10, NULL, &model, &error), EV_ERROR_WEIGHTS, &error, "bytes");
    failed(ev_model_load_bytes(NULL, 10, NULL, &model, &error), EV_ERROR_ARGUMENT, &error, "bytes is NULL");

    ev_load_options_init(&options, sizeof options);
    options.network = "cls_b9";
    failed(ev_model_load(path_of("cls_b0.safetensors"), &options, &model, &error), EV_ERROR_CONFIG, &error, "cls_b");
    options.network = "cls_b1";
    failed(ev_model_load(path_of("cls_b0.safetensors"), &options, &model, &error), EV_ERROR_WEIGHTS, &error, "cls_b0");
    check(strlen(error.message) == sizeof error.message - 1, "a long message fills the room");
    check(strcmp(error.message + sizeof error.message - 5, " ...") == 0, "and says that it is cut");
    options.network = NULL;
    options.threads = -1;
    failed(ev_model_load(path_of("cls_b0.safetensors"), &options, &model, &error), EV_ERROR_CONFIG, &error, "threads");
    options.threads = 1;
    options.precision = 77;
    failed(ev_model_load(path_of("cls_b0.safetensors"), &options, &model, &error), EV_ERROR_CONFIG, &error, "77");
    options.precision = EV_F32;
    options.isa = -1;
    failed(ev_model_load(path_of("cls_b0.safetensors"), &options, &model, &error), EV_ERROR_CONFIG, &error, "-1");
    memset(&options, 0, sizeof options);
    failed(ev_model_load(path_of("cls_b0.safetensors"), &options, &model, &error), EV_ERROR_CONFIG, &error, "_init");
    ev_load_options_init(&options, sizeof options);
    options.size += 8;
    failed(ev_model_load(path_of("cls_b0.safetensors"), &options, &model, &error), EV_ERROR_CONFIG, &error, "at most");

    /* a program that knows only the first members */
    memset(old, 0x7f, sizeof old);
    ev_load_options_init((ev_load_options*)(void*)old, offsetof(ev_load_options, threads));
    memcpy(&options, old, sizeof options);
    check(options.size == offsetof(ev_load_options, threads) && options.network == NULL, "a smaller structure");
    check(options.threads == 0x7f7f7f7f, "what is behind a smaller structure");
    model = loaded("cls_b0.safetensors", &options);

    failed(ev_model_forward(model, NULL, shape, y, 1000, &error), EV_ERROR_ARGUMENT, &error, "x is NULL");
    failed(ev_model_forward(model, x, shape, NULL, 1000, &error), EV_ERROR_ARGUMENT, &error, "y is NULL");
    failed(ev_model_forward(model, x, shape, y, 999, &error), EV_ERROR_SHAPE, &error, "999");
    failed(ev_model_forward(NULL, x, shape, y, 1000, &error), EV_ERROR_ARGUMENT, &error, "model is NULL");
    shape.c = 4;
    failed(ev_model_forward(model, x, shape, y, 1000, &error), EV_ERROR_SHAPE, &error, "4");
    shape.c = 3;
    shape.h = 0;
    failed(ev_model_forward(model, x, shape, y, 1000, &error), EV_ERROR_SHAPE, &error, "0");
    shape.h = -64;
    failed(ev_model_forward(model, x, shape, y, 1000, &error), EV_ERROR_SHAPE, &error, "-64");
    shape.n = shape.h = shape.w = 0x7fffffff;
    failed(ev_model_forward(model, x, shape, y, 1000, &error), EV_ERROR_SHAPE, &error, "too large");
    output.name = "stage2";
    output.data = y;
    output.count = 1000;
    failed(ev_model_forward_outputs(model, x, input_shape, &output, 1, &error), EV_ERROR_CONFIG, &error, "stage2");
    failed(ev_model_forward_outputs(model, x, input_shape, &output, -1, &error), EV_ERROR_ARGUMENT, &error, "count");
    failed(ev_model_output_shape(model, "stage_final", input_shape, &shape, &error), EV_ERROR_CONFIG, &error, "final");
    failed(ev_model_get_info(model, NULL, 0, &error), EV_ERROR_ARGUMENT, &error, "info");
    memset(&info, 1, sizeof info);
    succeeded(ev_model_get_info(model, &info, offsetof(ev_model_info, task), &error), &error, "a smaller info");
    check(info.task == 0x01010101, "what is behind a smaller info");
    ev_model_free(model);
    ev_model_free(NULL);
}

/* ---- Pictures ---- */

static ev_image picture(void* bytes) {
    ev_image image;
    image.pixels = (const unsigned char*)bytes;
    image.height = 60;
    image.width = 90;
    image.stride = 0;
    return image;
}

static void pictures(void) {
    ev_model* cls = loaded("cls_b0.safetensors", NULL);
    ev_model* seg = loaded("seg_b0.safetensors", NULL);
    ev_preprocess_options options;
    ev_error error;
    ev_shape shape;
    size_t size;
    void* bytes = read_file("picture.rgb", &size);
    unsigned char* wide = (unsigned char*)malloc(60 * 400);
    unsigned char labels[60 * 90];
    ev_image image = picture(bytes);
    float* x = (float*)malloc(224 * 224 * 3 * sizeof(float));
    int y;

    succeeded(ev_model_input_shape(cls, 60, 90, NULL, &shape, &error), &error, "input shape");
    check(count_of(shape) == 3 * 224 * 224 && shape.c == 3, "a classifier's input");
    succeeded(ev_model_preprocess(cls, &image, NULL, x, count_of(shape), &error), &error, "preprocess");
    same_as_file(x, 3 * 224 * 224 * sizeof(float), "cls_input.f32");
    failed(ev_model_preprocess(cls, &image, NULL, x, 10, &error), EV_ERROR_SHAPE, &error, "room for 10");

    /* rows that are further apart */
    for (y = 0; y < 60; ++y) memcpy(wide + 400 * y, image.pixels + 270 * y, 270);
    image.pixels = wide;
    image.stride = 400;
    ev_preprocess_options_init(&options, sizeof options);
    options.fit = EV_FIT_WHOLE;
    succeeded(ev_model_input_shape(seg, 60, 90, &options, &shape, &error), &error, "input shape");
    check(shape.h == 64 && shape.w == 96, "a segmenter's input");
    succeeded(ev_model_preprocess(seg, &image, &options, x, count_of(shape), &error), &error, "preprocess");
    same_as_file(x, count_of(shape) * sizeof(float), "seg_input.f32");
    succeeded(ev_model_segment(seg, &image, &options, labels, sizeof labels, &error), &error, "segment");
    same_as_file(labels, sizeof labels, "labels.u8");

    failed(ev_model_segment(cls, &image, NULL, labels, sizeof labels, &error), EV_ERROR_CONFIG, &error, "segmenter");
    failed(ev_model_segment(seg, &image, NULL, labels, 100, &error), EV_ERROR_SHAPE, &error, "room for 100");
    image.height = 0;
    failed(ev_model_preprocess(cls, &image, NULL, x, 10, &error), EV_ERROR_IMAGE, &error, "0 x 90");
    failed(ev_model_preprocess(cls, NULL, NULL, x, 10, &error), EV_ERROR_ARGUMENT, &error, "image is NULL");
    options.fit = 5;
    failed(ev_model_input_shape(seg, 60, 90, &options, &shape, &error), EV_ERROR_CONFIG, &error, "5");
    free(x);
    free(wide);
    free(bytes);
    ev_model_free(cls);
    ev_model_free(seg);
}

/* ---- Segment anything ---- */

typedef struct answer_memory {
    ev_sam_answer answer;
    unsigned char masks[3 * 60 * 90];
    float iou[3], low_res[3 * 256 * 256], logits[3 * 60 * 90];
} answer_memory;

static void point_to(answer_memory* memory, size_t masks) {
    ev_sam_answer* a = &memory->answer;
    ev_sam_answer_init(a, sizeof *a);
    a->masks = memory->masks;
    a->masks_count = masks * 60 * 90;
    a->iou = memory->iou;
    a->iou_count = masks;
    a->low_res = memory->low_res;
    a->low_res_count = masks * 256 * 256;
    a->logits = memory->logits;
    a->logits_count = masks * 60 * 90;
}

static void same_answer(const ev_sam_answer* a, const char* name) {
    char file[64];
    sprintf(file, "%s_masks.u8", name);
    same_as_file(a->masks, a->masks_count, file);
    sprintf(file, "%s_iou.f32", name);
    same_as_file(a->iou, a->iou_count * sizeof(float), file);
    sprintf(file, "%s_low_res.f32", name);
    same_as_file(a->low_res, a->low_res_count * sizeof(float), file);
    sprintf(file, "%s_logits.f32", name);
    same_as_file(a->logits, a->logits_count * sizeof(float), file);
}

static void prompts_of(ev_sam_predictor* predictor) {
    static answer_memory first, second;
    static ev_sam_point points[2] = {{30, 20, 1}, {5, 50, 0}};
    static const double box[4] = {10, 12.5, 60, 40};
    ev_sam_prompt prompts[2];
    ev_sam_answer answers[2];
    ev_error error;

    ev_sam_prompt_init(&prompts[0], sizeof prompts[0]);
    prompts[0].points = points;
    prompts[0].n_points = 2;
    point_to(&first, 3);
    succeeded(ev_sam_predictor_predict(predictor, prompts, &first.answer, 1, &error), &error, "predict");
    same_answer(&first.answer, "point");

    prompts[1] = prompts[0];
    prompts[1].n_points = 1;
    prompts[1].box = box;
    prompts[1].mask_input = first.low_res;
    prompts[1].multimask_output = 0;
    point_to(&second, 1);
    succeeded(ev_sam_predictor_predict(predictor, &prompts[1], &second.answer, 1, &error), &error, "predict");
    same_answer(&second.answer, "box");

    /* both at once: the iou alone of the first */
    ev_sam_answer_init(&answers[0], sizeof answers[0]);
    answers[0].iou = first.iou;
    answers[0].iou_count = 3;
    answers[1] = second.answer;
    memset(second.masks, 9, sizeof second.masks);
    succeeded(ev_sam_predictor_predict(predictor, prompts, answers, 2, &error), &error, "two prompts");
    same_answer(&second.answer, "box");
    same_as_file(first.iou, sizeof first.iou, "point_iou.f32");

    second.answer.masks_count = 10;
    failed(ev_sam_predictor_predict(predictor, prompts, &second.answer, 1, &error), EV_ERROR_SHAPE, &error, "room");
    points[0].x = 1000;
    failed(ev_sam_predictor_predict(predictor, prompts, &first.answer, 1, &error), EV_ERROR_PROMPT, &error, "1000");
    points[0].x = 30;
    prompts[0].points = NULL;
    failed(ev_sam_predictor_predict(predictor, prompts, &first.answer, 1, &error), EV_ERROR_ARGUMENT, &error, "points");
    succeeded(ev_sam_predictor_predict(predictor, NULL, NULL, 0, &error), &error, "no prompt");
}

static void segment_anything(void) {
    ev_load_options load;
    ev_mask_generator_options options;
    ev_mask_record record;
    ev_sam_info info;
    ev_error error;
    ev_sam* sam = NULL;
    ev_sam_predictor* predictor = NULL;
    ev_mask_list* masks = NULL;
    size_t size, i;
    void* bytes = read_file("picture.rgb", &size);
    unsigned char* all;
    ev_image image = picture(bytes);
    float* embedding = (float*)malloc(256 * 64 * 64 * sizeof(float));

    failed(ev_sam_load(path_of("cls_b0.safetensors"), NULL, &sam, &error), EV_ERROR_CONFIG, &error, "cls_b0");
    ev_load_options_init(&load, sizeof load);
    load.threads = 2;
    succeeded(ev_sam_load(path_of("sam_l0.safetensors"), &load, &sam, &error), &error, "sam");
    succeeded(ev_sam_get_info(sam, &info, sizeof info, &error), &error, "info");
    check(strcmp(info.network, "sam_l0") == 0 && info.image_size == 512 && info.low_res == 256, "info");
    check(count_of(info.embedding) == 256 * 64 * 64, "embedding");
    succeeded(ev_sam_predictor_new(sam, &predictor, &error), &error, "predictor");
    failed(ev_sam_predictor_get_embedding(predictor, embedding, 0, &error), EV_ERROR_PROMPT, &error, "no picture");
    succeeded(ev_sam_predictor_set_image(predictor, &image, &error), &error, "set_image");
    prompts_of(predictor);

    succeeded(ev_sam_predictor_get_embedding(predictor, embedding, 256 * 64 * 64, &error), &error, "embedding");
    same_as_file(embedding, 256 * 64 * 64 * sizeof(float), "embedding.f32");
    ev_sam_predictor_reset(predictor);
    succeeded(ev_sam_predictor_set_embedding(predictor, embedding, 256 * 64 * 64, 60, 90, &error), &error, "embedding");

    ev_mask_generator_options_init(&options, sizeof options);
    check(options.points_per_side == 32 && options.pred_iou_thresh == 0.88, "the generator's defaults");
    options.points_per_side = 3;
    options.pred_iou_thresh = options.stability_score_thresh = 0;
    succeeded(ev_sam_generate_masks(sam, &image, &options, &masks, &error), &error, "masks");
    size = ev_mask_list_count(masks);
    check(size > 0, "some masks");
    all = (unsigned char*)malloc(size * 60 * 90);
    for (i = 0; i < size; ++i) {
        succeeded(ev_mask_list_get(masks, i, &record, sizeof record, &error), &error, "record");
        check(record.height == 60 && record.width == 90, "a record's size");
        memcpy(all + i * 60 * 90, record.segmentation, 60 * 90);
    }
    same_as_file(all, size * 60 * 90, "everything.u8");
    failed(ev_mask_list_get(masks, size, &record, sizeof record, &error), EV_ERROR_ARGUMENT, &error, "of only");
    ev_mask_list_free(masks);
    options.points_per_side = 0;
    failed(ev_sam_generate_masks(sam, &image, &options, &masks, &error), EV_ERROR_CONFIG, &error, "points_per_side");
    check(masks == NULL, "the handle after a failure");

    ev_sam_free(sam); /* before its predictor */
    prompts_of(predictor);
    ev_sam_predictor_free(predictor);
    ev_sam_free(NULL);
    ev_sam_predictor_free(NULL);
    ev_mask_list_free(NULL);
    free(all);
    free(embedding);
    free(bytes);
}

/* ---- Many threads on one handle ---- */

#if !defined(_WIN32)
typedef struct shared_work {
    const ev_model* model;
    const float* x;
    const void* expected;
    int wrong;
} shared_work;

static void* work(void* argument) {
    shared_work* mine = (shared_work*)argument;
    float logits[1000];
    int i;
    for (i = 0; i < 20; ++i) {
        logits[0] = 0;
        mine->wrong += ev_model_forward(mine->model, mine->x, input_shape, logits, 1000, NULL) != EV_OK;
        mine->wrong += memcmp(logits, mine->expected, sizeof logits) != 0;
    }
    return NULL;
}

static void threads(const float* x) {
    ev_load_options options;
    ev_model* model;
    pthread_t ids[4];
    shared_work works[4];
    size_t size;
    void* expected = read_file("logits.f32", &size);
    int i;
    ev_load_options_init(&options, sizeof options);
    options.threads = 2;
    model = loaded("cls_b0.safetensors", &options);
    for (i = 0; i < 4; ++i) {
        works[i].model = model;
        works[i].x = x;
        works[i].expected = expected;
        works[i].wrong = 0;
        if (pthread_create(&ids[i], NULL, work, &works[i]) != 0) exit(1);
    }
    for (i = 0; i < 4; ++i) {
        pthread_join(ids[i], NULL);
        check(works[i].wrong == 0, "a thread");
    }
    free(expected);
    ev_model_free(model);
}
#else
static void threads(const float* x) { (void)x; }
#endif

int main(int argc, char** argv) {
    size_t size;
    float* x;
    if (argc != 2) return 2;
    folder = argv[1];
    x = (float*)read_file("input.f32", &size);
    library();
    classifier(x);
    backbone(x);
    errors(x);
    pictures();
    segment_anything();
    threads(x);
    free(x);
    printf("%d wrong\n", failures);
    return failures != 0;
}
