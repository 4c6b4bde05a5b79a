// SPDX-License-Identifier: Apache-2.0
//
// tests/golden_values.hpp in JavaScript: weights made from their names, as a safetensors file.

const mask = (1n << 64n) - 1n;

function values(name, shape) {
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const [offset, scale] = name.endsWith('running_mean') || name.endsWith('bias') ? [0, 0.1]
        : name.endsWith('running_var') ? [1, 0.5]
        : name.endsWith('gaussian_matrix') ? [0, 2]
        : shape.length !== 1 ? [0, Math.sqrt(6 / fanIn)]
        : name.includes('_module.') ? [0.15, 0.1] : [0.85, 0.2];
    let state = 0xcbf29ce484222325n;
    for (const byte of new TextEncoder().encode(name)) state = ((state ^ BigInt(byte)) * 0x100000001b3n) & mask;
    const out = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < out.length; ++i) {
        state = (state + 0x9e3779b97f4a7c15n) & mask;
        let z = state;
        z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
        z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
        z ^= z >> 31n;
        out[i] = offset + scale * (Number(z >> 40n) / 2 ** 23 - 1);
    }
    return out;
}

/** The bytes of a file with tensors of these names and shapes: { name: shape }. */
export function goldenFile(shapes) {
    const header = {}, parts = [];
    let size = 0;
    for (const [name, shape] of Object.entries(shapes)) {
        const data = values(name, shape);
        header[name] = { dtype: 'F32', shape, data_offsets: [size, size += data.byteLength] };
        parts.push(Buffer.from(data.buffer));
    }
    const text = Buffer.from(JSON.stringify(header)), length = Buffer.alloc(8);
    length.writeUInt32LE(text.length);
    return Buffer.concat([length, text, ...parts]);
}

/** The small SAM of examples/segment_anything. */
export const shapesSam = async (readFile) =>
    goldenFile(JSON.parse(await readFile(new URL('../data/names/keys_sam_shapes.json', import.meta.url))));

/** A picture in colors that change with each pixel. */
export function picture(width, height) {
    const data = new Uint8ClampedArray(4 * width * height);
    for (let y = 0; y < height; ++y) {
        for (let x = 0; x < width; ++x) data.set([x & 255, y & 255, (x * y) & 255, 255], 4 * (y * width + x));
    }
    return { width, height, data };
}

/**
 * What the native library gives with AVX-512 for a click at (320, 200) on picture(640, 400), with shapesSam: predicted IoU,
 * the best first, and pixels of each mask.
 */
export const nativeMasks = [[0.322984, 98905], [-2.033428, 236326], [-2.290741, 14440]];

/** The same of the trained small SAM for a click on the page's first drawing, where `keys` move the cursor: at (104.96, 64). */
export const nativeShape = {
    keys: [...Array(8).fill('ArrowRight'), 'Enter'],
    iou: 0.950678,
    counts: [  // of its 490 pixels, see maskOf()
        10830, 1, 123, 6, 120, 9, 118, 10, 114, 16, 110, 18, 110, 16, 111, 17, 111, 16, 112, 16, 112, 16, 112,
        16, 111, 17, 111, 17, 111, 17, 110, 17, 110, 18, 110, 18, 110, 17, 111, 17, 111, 17, 112, 16, 113, 15,
        113, 15, 113, 15, 114, 14, 114, 14, 114, 13, 115, 13, 115, 13, 116, 12, 117, 11, 118, 9, 120, 8, 120,
        7, 123, 3, 1079,
    ],
};

/** A mask, 0 or 1 for each pixel row by row, of COCO's run lengths, which go column by column. */
export function maskOf(counts, { width, height }) {
    const mask = new Uint8Array(width * height);
    let at = 0;
    counts.forEach((count, i) => {
        for (const end = at + count; at < end; ++at) mask[(at % height) * width + Math.floor(at / height)] = i % 2;
    });
    return mask;
}

/** Intersection over union of two masks. */
export function overlap(a, b) {
    let both = 0, either = 0;
    for (let i = 0; i < a.length; ++i) {
        both += a[i] & b[i];
        either += a[i] | b[i];
    }
    return both / either;
}
