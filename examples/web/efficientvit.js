// SPDX-License-Identifier: Apache-2.0
//
// EfficientViT in a browser, in Node.js and in web workers: networks on pictures and tensors, by a WebAssembly module.
// No dependencies. Computes on the calling thread: a page that must not stand still calls it from a worker (worker.js).

/** What went wrong, in the words of the library. */
export class EfficientViTError extends Error {
    name = 'EfficientViTError';
}

// (module (func (param v128) (result v128) (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0))))
const relaxedProbe = Uint8Array.of(
    0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 123, 1, 123, 3, 2, 1, 0,
    10, 13, 1, 11, 0, 32, 0, 32, 0, 32, 0, 253, 133, 2, 11);

/** Whether this engine multiplies and adds in one step (relaxed SIMD). */
export function hasRelaxedSimd() {
    return WebAssembly.validate(relaxedProbe);
}

/** By ev_load's numbers. */
const precisions = ['f32', 'bf16_weights', 'int8'];

const modules = new Map();

/** The compiled module: of a URL, of bytes, or the one beside this file that suits the engine. */
function compiled(wasm) {
    if (wasm instanceof WebAssembly.Module) return Promise.resolve(wasm);
    if (wasm !== undefined && !(wasm instanceof URL) && typeof wasm !== 'string') return WebAssembly.compile(wasm);
    const url = new URL(wasm ?? (hasRelaxedSimd() ? 'efficientvit-relaxed.wasm' : 'efficientvit.wasm'), import.meta.url);
    if (!modules.has(url.href)) {
        const module = fetchBytes(url).then((bytes) => WebAssembly.compile(bytes));
        module.catch(() => modules.delete(url.href));  // to be tried again
        modules.set(url.href, module);
    }
    return modules.get(url.href);
}

async function fetchBytes(url) {
    if (url.protocol === 'file:') return (await import('node:fs/promises')).readFile(url);
    return new Uint8Array(await (await fetched(url)).arrayBuffer());
}

async function fetched(url) {
    const response = await fetch(url).catch((cause) => {
        throw new EfficientViTError(`${url}: cannot be fetched: ${cause.message}`, { cause });
    });
    if (!response.ok) throw new EfficientViTError(`${url}: the server answers ${response.status} ${response.statusText}`);
    return response;
}

/** The bytes of weights, as they come: a stream and how many are expected, 0 where nobody knows. */
async function opened(source) {
    if (source instanceof ArrayBuffer) source = new Uint8Array(source);
    if (ArrayBuffer.isView(source)) {
        const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
        return { total: bytes.length, chunks: [bytes] };
    }
    if (typeof Blob !== 'undefined' && source instanceof Blob) {
        return { total: source.size, chunks: read(source.stream()) };
    }
    const url = new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href ?? import.meta.url);
    if (url.protocol === 'file:') return opened(await fetchBytes(url));
    const response = await fetched(url);
    // What is compressed on its way has another length.
    const whole = !response.headers.get('content-encoding');
    const total = whole ? Number(response.headers.get('content-length') ?? 0) : 0;
    return { total, chunks: read(response.body) };
}

async function* read(stream) {
    const reader = stream.getReader();
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
    }
}

/** Whether an error left the module as no exception of the library does: a trap, a full stack, a foreign exception. */
function stopped(error) {
    return error instanceof WebAssembly.RuntimeError || error instanceof WebAssembly.Exception ||
        error instanceof RangeError;
}

/** One instance of the module: its memory, and what it calls. */
class Instance {
    #printed = '';

    static async make(wasm) {
        const module = await compiled(wasm);
        const instance = new Instance();
        const system = {};
        for (const { module: from, name } of WebAssembly.Module.imports(module)) {
            (system[from] ??= {})[name] = instance.#import(name);
        }
        const { exports } = await WebAssembly.instantiate(module, system);
        instance.exports = exports;
        exports._initialize();
        return instance;
    }

    /** WASI, as far as a module without files needs it. */
    #import(name) {
        const view = () => new DataView(this.exports.memory.buffer);
        const known = {
            environ_sizes_get: (count, size) => {
                view().setUint32(count, 0, true);
                view().setUint32(size, 0, true);
                return 0;
            },
            environ_get: () => 0,
            clock_time_get: (clock, precision, to) => {
                view().setBigUint64(to, BigInt(Math.round(performance.now() * 1e6)), true);
                return 0;
            },
            fd_write: (file, parts, count, written) => {
                let sum = 0;
                for (let i = 0; i < count; ++i) {
                    const at = view().getUint32(parts + 8 * i, true), size = view().getUint32(parts + 8 * i + 4, true);
                    this.#printed += new TextDecoder().decode(new Uint8Array(this.exports.memory.buffer, at, size));
                    sum += size;
                }
                view().setUint32(written, sum, true);
                return 0;
            },
            proc_exit: (code) => {
                throw new WebAssembly.RuntimeError(`it ended with ${code}`);
            },
        };
        return known[name] ?? (() => 52);  // not here
    }

    get bytes() {
        return new Uint8Array(this.exports.memory.buffer);
    }

    text(at) {
        const bytes = this.bytes;
        return new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
    }

    /** Room for `size` bytes. */
    alloc(size) {
        const at = this.exports.ev_alloc(size);
        if (at === 0) throw new EfficientViTError(`no memory for ${size} bytes`);
        return at >>> 0;
    }

    /** f(address) with a copy of `bytes` there. */
    with(bytes, f) {
        const at = this.alloc(bytes.byteLength);
        try {
            this.bytes.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), at);
            return f(at);
        } finally {
            this.exports.ev_free(at);
        }
    }

    /** What a function gave, which is an error where it is 0. */
    checked(result) {
        if (result === 0) throw new EfficientViTError(this.text(this.exports.ev_error()));
        return result;
    }

    /** What stopped the module where no exception of the library did. */
    failure(cause) {
        const printed = this.#printed.trim();
        return new EfficientViTError(`the module stopped: ${cause.message}${printed && `: ${printed}`}`, { cause });
    }
}

/** A network with its weights. Made by load(). */
export class Network {
    #source;
    #options;
    #instance;
    #session;
    #info;
    #opening;

    constructor(source, options) {
        this.#source = source;
        this.#options = options;
    }

    async #make() {
        const { wasm, network = '', precision = 'f32', onProgress } = this.#options;
        if (!precisions.includes(precision)) {
            throw new EfficientViTError(`the precision is '${precision}', known are ${precisions.join(', ')}`);
        }
        const instance = await Instance.make(wasm);
        const { total, chunks } = await opened(this.#source);
        let { size, at } = await received(instance, total, chunks, onProgress);
        try {
            const name = new TextEncoder().encode(`${network}\0`);
            this.#session = instance.checked(
                instance.with(name, (to) => instance.exports.ev_load(at, size, to, precisions.indexOf(precision))));
        } catch (error) {
            throw stopped(error) ? instance.failure(error) : error;
        }
        instance.exports.ev_free(at);
        this.#instance = instance;
        this.#info = JSON.parse(instance.text(instance.checked(instance.exports.ev_info(this.#session))));
    }

    /** Runs f(instance, session). An instance that was stopped is thrown away; the next call makes another and loads again. */
    async #call(f) {
        if (this.#source === undefined) throw new EfficientViTError('this network is closed');
        if (this.#instance === undefined) {
            this.#opening ??= this.#make().finally(() => { this.#opening = undefined; });
            await this.#opening;
        }
        try {
            return f(this.#instance, this.#session);
        } catch (error) {
            if (!stopped(error)) throw error;
            const failure = this.#instance.failure(error);
            this.#instance = undefined;
            throw failure;
        }
    }

    /** Loads; load() has done so. */
    async open() {
        await this.#call(() => {});
        return this;
    }

    /** What it is. */
    get info() {
        return this.#info;
    }

    /** Every output of a picture (ImageData), preprocessed as the network wants it. */
    run(image) {
        return this.#call((instance, session) => {
            withImage(instance, image, (at) =>
                instance.checked(instance.exports.ev_run_image(session, at, image.width, image.height)));
            return outputs(instance, session);
        });
    }

    /** Every output of a tensor: Float32Array, shape [n, c, h, w]. */
    forward(data, shape) {
        return this.#call((instance, session) => {
            if (shape.length !== 4 || shape.reduce((a, b) => a * b) !== data.length) {
                throw new EfficientViTError(`forward: ${data.length} numbers for the shape [${shape}]`);
            }
            instance.with(data, (at) => instance.checked(instance.exports.ev_run_tensor(session, at, ...shape)));
            return outputs(instance, session);
        });
    }

    /** The k likeliest classes of a picture: [{ index, name, probability }], the name '' where it is not known. */
    async classify(image, k = 5) {
        await this.run(image);
        return this.topK(k);
    }

    /** The same of the last run or forward. */
    topK(k = 5) {
        return this.#call((instance, session) => {
            const at = instance.alloc(16 * k);
            try {
                const count = instance.checked(instance.exports.ev_top_k(session, k, at));
                const found = new Float64Array(instance.exports.memory.buffer, at, 2 * count);
                return Array.from(found.slice()).reduce((out, value, i) => {
                    if (i % 2 === 0) out.push({ index: value, name: className(instance, session, value) });
                    else out.at(-1).probability = value;
                    return out;
                }, []);
            } finally {
                instance.exports.ev_free(at);
            }
        });
    }

    /** A class for each pixel of a picture: { width, height, labels: Uint8Array, names by label }. */
    segment(image) {
        return this.#call((instance, session) => {
            const { width, height } = image;
            const at = withImage(instance, image, (from) =>
                instance.checked(instance.exports.ev_segment(session, from, width, height)));
            const labels = instance.bytes.slice(at, at + width * height);
            const names = {};
            for (const label of new Set(labels)) names[label] = className(instance, session, label);
            return { width, height, labels, names };
        });
    }

    #size;

    /** SAM: encodes a picture, once for all prompts about it. */
    setImage(image) {
        return this.#call((instance, session) => {
            withImage(instance, image, (at) =>
                instance.checked(instance.exports.ev_sam_set_image(session, at, image.width, image.height)));
            this.#size = { width: image.width, height: image.height };
        });
    }

    /**
     * SAM: masks for points [{ x, y, label }] and a box [x0, y0, x1, y1] in the picture's pixels, the likeliest first:
     * [{ width, height, pixels: Uint8Array of 0 and 1, iou }]. Three, or one with multimask: false.
     */
    predict({ points = [], box, multimask = true }) {
        return this.#call((instance, session) => {
            const numbers = Float64Array.from(points.flatMap(({ x, y, label = 1 }) => [x, y, label]));
            const ask = (at, boxAt) =>
                instance.checked(instance.exports.ev_sam_predict(session, at, points.length, boxAt, multimask ? 1 : 0));
            const count = instance.with(numbers, (at) =>
                box === undefined ? ask(at, 0) : instance.with(Float64Array.from(box), (boxAt) => ask(at, boxAt)));
            const { width, height } = this.#size;
            const masks = Array.from({ length: count }, (_, i) => {
                const at = instance.exports.ev_sam_mask(session, i);
                const iou = instance.exports.ev_sam_iou(session, i);
                return { width, height, pixels: instance.bytes.slice(at, at + width * height), iou };
            });
            return masks.sort((a, b) => b.iou - a.iou);
        });
    }

    /** Gives the memory back. */
    close() {
        this.#instance = this.#source = undefined;
    }
}

/** Weights in the instance's memory: { at, size }. */
async function received(instance, total, chunks, onProgress) {
    let at = instance.alloc(total || 1 << 20), room = total || 1 << 20, size = 0;
    for await (const chunk of chunks) {
        if (size + chunk.length > room) {
            const more = Math.max(2 * room, size + chunk.length), to = instance.alloc(more);
            instance.bytes.copyWithin(to, at, at + size);
            instance.exports.ev_free(at);
            [at, room] = [to, more];
        }
        instance.bytes.set(chunk, at + size);
        size += chunk.length;
        onProgress?.({ loaded: size, total });
    }
    return { at, size };
}

function withImage(instance, image, f) {
    const { data, width, height } = image;
    if (!(width > 0 && height > 0) || data?.length !== 4 * width * height) {
        throw new EfficientViTError('expected a picture as ImageData has it: width, height and data of 4 bytes a pixel');
    }
    return instance.with(data, f);
}

function className(instance, session, index) {
    return instance.text(instance.exports.ev_class_name(session, index));
}

function outputs(instance, session) {
    const shapeAt = instance.alloc(16), out = {};
    try {
        for (let i = 0; i < instance.exports.ev_outputs(session); ++i) {
            const name = instance.text(instance.checked(instance.exports.ev_output_name(session, i)));
            const at = instance.checked(instance.exports.ev_output(session, i, shapeAt));
            const shape = Array.from(new Int32Array(instance.exports.memory.buffer, shapeAt, 4));
            const size = shape.reduce((a, b) => a * b);
            out[name] = { shape, data: new Float32Array(instance.exports.memory.buffer, at, size).slice() };
        }
        return out;
    } finally {
        instance.exports.ev_free(shapeAt);
    }
}

/**
 * A network with weights from a URL, a File or Blob, or bytes: safetensors or what PyTorch saves.
 * Options: network (its name; else what the weights look like), precision ('f32', 'bf16_weights', 'int8'), onProgress({
 * loaded, total }), wasm (URL, bytes or WebAssembly.Module in place of the module beside this file).
 */
export function load(source, options = {}) {
    return new Network(source, options).open();
}
