// SPDX-License-Identifier: Apache-2.0

/** What went wrong, in the words of the library. */
export class EfficientViTError extends Error {}

/** Whether this engine multiplies and adds in one step (relaxed SIMD). */
export function hasRelaxedSimd(): boolean;

/** ImageData, or what looks like it: rows of red, green, blue, alpha. */
export interface Picture {
    readonly width: number;
    readonly height: number;
    readonly data: Uint8ClampedArray | Uint8Array;
}

/** NCHW numbers. */
export interface Output {
    shape: [number, number, number, number];
    data: Float32Array;
}

export interface Prediction {
    index: number;
    /** '' where it is not known. */
    name: string;
    /** Softmax over all classes. */
    probability: number;
}

export interface LabelMap {
    width: number;
    height: number;
    /** A class for each pixel, row by row. */
    labels: Uint8Array;
    /** Of the classes that are there, by label. */
    names: Record<number, string>;
}

export interface Mask {
    width: number;
    height: number;
    /** 0 or 1 for each pixel, row by row. */
    pixels: Uint8Array;
    /** How good the mask is thought to be. */
    iou: number;
}

export interface Prompt {
    /** In the picture's pixels; label 1, the default, for the object, 0 for what is not it. */
    points?: { x: number; y: number; label?: 0 | 1 }[];
    /** x0, y0, x1, y1. */
    box?: [number, number, number, number];
    /** Three masks, for an ambiguous prompt; else one. The default is true. */
    multimask?: boolean;
}

export interface LoadOptions {
    /** 'cls_b0', 'sam_l0' …; without a name, what the weights look like. */
    network?: string;
    /** What weights are in memory: 4, 2 or 1 bytes each. */
    precision?: 'f32' | 'bf16_weights' | 'int8';
    /** Called as weights arrive; total is 0 where the server does not tell. */
    onProgress?(progress: { loaded: number; total: number }): void;
    /** In place of the module beside this file. */
    wasm?: string | URL | ArrayBuffer | Uint8Array | WebAssembly.Module;
}

export interface NetworkInfo {
    name: string;
    task: 'backbone' | 'classification' | 'segmentation' | 'image_encoder' | 'sam';
    /** 0 where there are none. */
    nClasses: number;
    /** Of the usual input. */
    height: number;
    width: number;
    mean?: [number, number, number];
    std?: [number, number, number];
    /** 'wasm', or 'scalar'. */
    isa: string;
}

/**
 * A network with its weights, in a memory of its own. Every method rejects with EfficientViTError. Where the module
 * itself was stopped, by lack of memory perhaps, its instance is thrown away and the next call loads the weights again.
 */
export class Network {
    private constructor();
    readonly info: NetworkInfo;
    /** Every output of a picture, preprocessed as the network wants it. */
    run(image: Picture): Promise<Record<string, Output>>;
    /** Every output of a tensor of shape [n, c, h, w]. */
    forward(data: Float32Array, shape: [number, number, number, number]): Promise<Record<string, Output>>;
    /** The k likeliest classes of a picture. */
    classify(image: Picture, k?: number): Promise<Prediction[]>;
    /** The same of the last run or forward. */
    topK(k?: number): Promise<Prediction[]>;
    /** A class for each pixel. */
    segment(image: Picture): Promise<LabelMap>;
    /** SAM: encodes a picture, once for all prompts about it. */
    setImage(image: Picture): Promise<void>;
    /** SAM: masks for a prompt, the likeliest first. */
    predict(prompt: Prompt): Promise<Mask[]>;
    /** Gives the memory back. */
    close(): void;
}

/** A network with weights from a URL, a File or Blob, or bytes: safetensors or what PyTorch saves. */
export function load(
    source: string | URL | Blob | ArrayBuffer | ArrayBufferView,
    options?: LoadOptions,
): Promise<Network>;
